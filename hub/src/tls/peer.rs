use std::net::SocketAddr;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::pki::{Enrolled, MANAGED_CLUSTERS};

/// Who is on the other end of a connection, as TLS proved it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The verified client certificate, if one was shown.
    pub certificate: Option<Certificate>,
}

/// What a verified client certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Common name; empty if there is none.
    pub common_name: String,
    /// All organizations.
    pub organizations: Vec<String>,
    /// Set if the certificate is an agent's, by its URI.
    pub agent: Option<Enrolled>,
    /// Serial number.
    pub serial: Vec<u8>,
    /// End of validity, seconds since the epoch.
    pub not_after: i64,
}

impl Peer {
    /// Returns the agent that this peer is, if it is one.
    #[must_use]
    pub fn agent(&self) -> Option<&Enrolled> {
        self.certificate.as_ref()?.agent.as_ref()
    }
}

impl Certificate {
    /// Reads a certificate that TLS has verified already; `None` if it does not parse.
    pub(super) fn parse(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let text = |name: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            name.as_str().ok().map(str::to_owned)
        };
        let common_name = subject
            .iter_common_name()
            .find_map(text)
            .unwrap_or_default();
        let organizations: Vec<_> = subject.iter_organization().filter_map(text).collect();
        let names = certificate.subject_alternative_name().ok().flatten();
        let uri = names
            .iter()
            .flat_map(|names| &names.value.general_names)
            .find_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            });
        // All three must agree: each is ours, so disagreement means that this is no agent certificate.
        let agent = uri.and_then(Enrolled::from_uri).filter(|agent| {
            agent.subject.common_name() == common_name
                && organizations.iter().any(|o| o == MANAGED_CLUSTERS)
        });
        Some(Self {
            common_name,
            organizations,
            agent,
            serial: certificate.raw_serial().to_vec(),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pki::{
        Authority, Material,
        approve::{Subject, approve},
    };

    #[test]
    fn certificates_read_back_as_they_were_issued() {
        let authority = Authority::load(&Material::generate().unwrap()).unwrap();
        let subject = Subject {
            cluster: "east".to_owned(),
            agent: "a1".to_owned(),
        };
        let agent = Enrolled {
            subject: subject.clone(),
            uid: uuid::Uuid::new_v4(),
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let csr = rcgen::CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        let proven = approve(csr.der(), &subject).unwrap();
        let issued = authority
            .issue_agent(&agent, &proven, Duration::from_secs(60))
            .unwrap();
        let read = Certificate::parse(&issued.chain[0].clone().into()).unwrap();
        assert_eq!(read.agent, Some(agent));
        assert_eq!(read.organizations, [MANAGED_CLUSTERS]);
        assert_eq!(
            (read.serial, read.not_after),
            (issued.serial, issued.not_after)
        );

        let admin = authority.issue_admin(Duration::from_secs(60)).unwrap();
        let admin = Certificate::parse(&admin.chain[0].clone().into()).unwrap();
        assert_eq!(
            (admin.common_name.as_str(), admin.agent),
            ("koinon-admin", None)
        );
        assert_eq!(admin.organizations, ["system:masters"]);
    }
}
