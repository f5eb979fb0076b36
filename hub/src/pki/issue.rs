use std::{net::IpAddr, time::Duration};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{ADMIN, Authority, Enrolled, Error, MANAGED_CLUSTERS, MASTERS, approve::ProvenKey};

/// How long certificates live.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// The hub's own certificate; renewed by the hub at two thirds of it.
    pub server: Duration,
    /// The admin's certificate; renewed at a start of the hub when little is left.
    pub admin: Duration,
    /// An agent's certificate; renewed by the agent.
    pub agent: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Self {
            server: days(90),
            admin: days(365),
            agent: days(30),
        }
    }
}

/// A signed certificate.
pub struct Issued {
    /// Leaf first, then the CA.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8 DER, where the hub made the key; empty where the requester holds it.
    pub key: Zeroizing<Vec<u8>>,
    /// Serial number.
    pub serial: Vec<u8>,
    /// End of validity, seconds since the epoch.
    pub not_after: i64,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Issues a server certificate for `hosts` (names and addresses).
    ///
    /// # Errors
    ///
    /// If a host cannot stand in a certificate, or signing fails.
    pub fn issue_server(&self, hosts: &[String], lifetime: Duration) -> Result<Issued, Error> {
        let mut params = params("koinon-hub", None, lifetime);
        for host in hosts {
            params.subject_alt_names.push(match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(host.as_str().try_into().map_err(Error::Sign)?),
            });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.with_new_key(params)
    }

    /// Issues a client certificate for the hub's admin.
    ///
    /// # Errors
    ///
    /// If signing fails.
    pub fn issue_admin(&self, lifetime: Duration) -> Result<Issued, Error> {
        let mut params = params(ADMIN, Some(MASTERS), lifetime);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.with_new_key(params)
    }

    /// Issues a client certificate for an agent.
    ///
    /// # Errors
    ///
    /// If signing fails.
    pub fn issue_agent(
        &self,
        agent: &Enrolled,
        key: &ProvenKey,
        lifetime: Duration,
    ) -> Result<Issued, Error> {
        let key = SubjectPublicKeyInfo::from_der(key.der()).map_err(Error::Sign)?;
        let common_name = agent.subject.common_name();
        let mut params = params(&common_name, Some(MANAGED_CLUSTERS), lifetime);
        params.subject_alt_names = vec![SanType::URI(agent.uri().try_into().map_err(Error::Sign)?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, &key, Zeroizing::default())
    }

    fn with_new_key(&self, params: CertificateParams) -> Result<Issued, Error> {
        let key = KeyPair::generate().map_err(Error::Key)?;
        let der = Zeroizing::new(key.serialize_der());
        self.sign(params, &key, der)
    }

    fn sign(
        &self,
        params: CertificateParams,
        of: &impl PublicKeyData,
        key: Zeroizing<Vec<u8>>,
    ) -> Result<Issued, Error> {
        let certificate = params.signed_by(of, &self.issuer).map_err(Error::Sign)?;
        let serial = params
            .serial_number
            .as_ref()
            .map(SerialNumber::to_bytes)
            .unwrap_or_default();
        Ok(Issued {
            chain: vec![certificate.der().to_vec(), self.certificate().to_vec()],
            key,
            serial,
            not_after: params.not_after.unix_timestamp(),
        })
    }
}

fn params(common_name: &str, organization: Option<&str>, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(organization) = organization {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
    }
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial());
    (params.not_before, params.not_after) =
        validity(time::Duration::try_from(lifetime).unwrap_or(time::Duration::DAY));
    params
}

/// rcgen's default validity is 1975 to 4096; five minutes back forgive a member's slow clock.
///
/// Less of a short life, whose greater part would lie in the past otherwise: agents renew by the share that is over.
pub(super) fn validity(lifetime: time::Duration) -> (OffsetDateTime, OffsetDateTime) {
    let seconds = crate::clock::now().as_second();
    let now = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let back = time::Duration::minutes(5).min(lifetime / 10);
    (now - back, now + lifetime)
}

/// 127 random bits: positive, and never zero in practice.
pub(super) fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&bytes)
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    use super::*;
    use crate::pki::{
        Material,
        approve::{Subject, approve},
    };

    fn authority() -> Authority {
        Authority::load(&Material::generate().unwrap()).unwrap()
    }

    #[test]
    fn an_agent_gets_our_names_and_usages_only() {
        let authority = authority();
        let subject = Subject {
            cluster: "east".to_owned(),
            agent: "a1".to_owned(),
        };
        let agent = Enrolled {
            subject: subject.clone(),
            uid: uuid::Uuid::new_v4(),
        };
        let key = KeyPair::generate().unwrap();
        let mut wants = CertificateParams::default();
        wants
            .distinguished_name
            .push(DnType::CommonName, "somebody");
        let csr = wants.serialize_request(&key).unwrap();
        let proven = approve(csr.der(), &subject).unwrap();
        let issued = authority
            .issue_agent(&agent, &proven, Duration::from_secs(3600))
            .unwrap();
        let (_, leaf) = X509Certificate::from_der(&issued.chain[0]).unwrap();
        assert_eq!(
            leaf.subject().to_string(),
            format!("O={MANAGED_CLUSTERS}, CN={}", subject.common_name())
        );
        assert!(!leaf.is_ca());
        let names = &leaf
            .subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names;
        assert_eq!(format!("{names:?}"), format!("[URI({:?})]", agent.uri()));
        let usage = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !usage.any);
        assert_eq!(leaf.validity().not_after.timestamp(), issued.not_after);
        assert!(issued.not_after - crate::clock::now().as_second() <= 3600);
        let (_, ca) = X509Certificate::from_der(&issued.chain[1]).unwrap();
        assert!(leaf.verify_signature(Some(ca.public_key())).is_ok());
    }

    #[test]
    fn a_stored_authority_loads_as_the_same() {
        let material = Material::generate().unwrap();
        let one = Authority::load(&material).unwrap();
        let two = Authority::load(&material).unwrap();
        assert_eq!(one.fingerprint(), two.fingerprint());
        assert_eq!(one.fingerprint().len(), 64);
    }

    #[test]
    fn key_material_is_not_in_debug_output() {
        let material = Material::generate().unwrap();
        assert_eq!(format!("{material:?}"), "Material { .. }");
    }
}
