use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::{Error, fingerprint, issue};

/// Ten years: rolling the CA over is an operator's decision, not something that happens by surprise.
const CA_LIFETIME: time::Duration = time::Duration::days(3650);

/// A certificate authority as it is stored.
pub struct Material {
    /// The CA's certificate, DER.
    pub certificate: Vec<u8>,
    /// Its private key, PKCS#8 DER.
    pub key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

impl Material {
    /// Generates a new authority.
    ///
    /// # Errors
    ///
    /// If the system cannot generate or use a key.
    pub fn generate() -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(Error::Key)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "koinon-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params.serial_number = Some(issue::serial());
        (params.not_before, params.not_after) = issue::validity(CA_LIFETIME);
        let certificate = params.self_signed(&key).map_err(Error::Sign)?;
        Ok(Self {
            certificate: certificate.der().to_vec(),
            key: Zeroizing::new(key.serialize_der()),
        })
    }
}

/// Signs certificates.
pub struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Loads an authority.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if the material does not parse.
    pub fn load(material: &Material) -> Result<Self, Error> {
        let key = KeyPair::try_from(material.key.as_slice()).map_err(Error::Damaged)?;
        let certificate = CertificateDer::from(material.certificate.clone());
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(Error::Damaged)?;
        Ok(Self {
            issuer,
            certificate,
        })
    }

    /// Returns the CA's certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Returns the SHA-256 of the CA's certificate in hex: the last part of a join token.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.certificate)
    }
}
