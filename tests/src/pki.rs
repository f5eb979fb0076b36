//! Certificates of a member cluster's API server.

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// A certificate authority that lives as long as one member cluster.
#[derive(Debug)]
pub struct Authority {
    pub certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate_pem: String,
    pub key_pem: String,
}

impl Authority {
    /// Makes a new one.
    ///
    /// # Errors
    /// When key generation fails.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let mut params = params(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate()?;
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self {
            certificate_pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// Issues a server certificate for loopback.
    ///
    /// # Errors
    /// When signing fails.
    pub fn server(&self) -> anyhow::Result<Pair> {
        let mut params = params("kube-apiserver", None);
        params.subject_alt_names = ["127.0.0.1", "localhost", "kubernetes.default.svc"]
            .iter()
            .map(|name| {
                CertificateParams::new(vec![(*name).to_owned()]).map(|p| p.subject_alt_names)
            })
            .collect::<Result<Vec<_>, _>>()?
            .concat();
        self.issue(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Issues a client certificate: `user` is the CN, `group` the O.
    ///
    /// # Errors
    /// When signing fails.
    pub fn client(&self, user: &str, group: &str) -> anyhow::Result<Pair> {
        self.issue(
            params(user, Some(group)),
            ExtendedKeyUsagePurpose::ClientAuth,
        )
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> anyhow::Result<Pair> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .context("cannot sign a certificate")?;
        Ok(Pair {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

// rcgen's own validity reaches from 1975 to 4096; some verifiers balk at that.
fn params(name: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(30);
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(group) = group {
        params
            .distinguished_name
            .push(DnType::OrganizationName, group);
    }
    params
}
