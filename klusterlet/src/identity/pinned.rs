//! Trust for the first call: the join token names the hub's CA by fingerprint.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use sha2::{Digest as _, Sha256};

/// Accepts a server whose chain ends in the CA with this fingerprint, and nothing else.
#[derive(Debug)]
struct Pinned {
    ca_sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

/// Returns a TLS configuration that trusts only that CA, for this server's name.
pub(super) fn config(ca_sha256: [u8; 32]) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(Pinned {
        ca_sha256,
        provider: provider.clone(),
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The server shows its CA as part of the chain; only the one that the token names becomes a root. Everything else,
        // the server's name included, is then verified as usual.
        let ca = intermediates
            .iter()
            .find(|certificate| Sha256::digest(certificate).as_slice() == self.ca_sha256)
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::client::danger::ServerCertVerifier as _;

    use super::*;

    struct Hub {
        ca: CertificateDer<'static>,
        leaf: CertificateDer<'static>,
    }

    fn hub() -> Hub {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let leaf = CertificateParams::new(vec!["hub.test".to_owned()])
            .unwrap()
            .signed_by(&KeyPair::generate().unwrap(), &ca)
            .unwrap();
        Hub {
            ca: ca.der().clone(),
            leaf: leaf.der().clone(),
        }
    }

    fn verify(
        pin: &Hub,
        leaf: &Hub,
        chain: &[CertificateDer<'static>],
        name: &str,
    ) -> Result<(), Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let pinned = Pinned {
            ca_sha256: Sha256::digest(&pin.ca).into(),
            provider,
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        pinned
            .verify_server_cert(&leaf.leaf, chain, &name, &[], UnixTime::now())
            .map(|_| ())
    }

    #[test]
    fn only_the_named_ca_and_the_right_name_are_trusted() {
        let (good, evil) = (hub(), hub());
        assert_eq!(
            verify(&good, &good, std::slice::from_ref(&good.ca), "hub.test"),
            Ok(())
        );
        assert!(
            verify(&good, &good, std::slice::from_ref(&good.ca), "other.test").is_err(),
            "another name"
        );
        assert!(
            verify(&good, &evil, std::slice::from_ref(&evil.ca), "hub.test").is_err(),
            "another CA"
        );
        assert!(
            verify(
                &good,
                &evil,
                &[evil.ca.clone(), good.ca.clone()],
                "hub.test"
            )
            .is_err(),
            "the right CA shown, but not the issuer"
        );
        assert!(
            verify(&good, &good, &[], "hub.test").is_err(),
            "no CA shown"
        );
    }
}
