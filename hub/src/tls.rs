//! TLS on the hub's listeners.
//!
//! Both ports use one configuration: the hub's certificate with its CA behind it (an agent that enrols checks the
//! CA against its token), and client certificates of the same CA, optional at this layer. What a peer may do
//! without one is decided above. There are no session tickets, so a certificate is looked at on every connection.

mod acceptor;
mod fetch;
mod lobby;
mod network;
mod peer;
mod resolver;

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::CertificateDer,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};

pub use acceptor::{Acceptor, Conn};
pub use fetch::{FetchError, Https};
pub use network::network;
pub use peer::{Certificate, Peer};
pub use resolver::{ServerCertificate, renew};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificate or its key is not usable.
    #[error("the server certificate is not usable")]
    Certificate(#[source] rustls::Error),
    /// The authority cannot verify clients.
    #[error("the authority cannot verify client certificates")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// The provider has no usable suites.
    #[error("the TLS provider is not usable")]
    Provider(#[source] rustls::Error),
    /// No certificate could be issued.
    #[error("failed to issue the server certificate")]
    Issue(#[source] crate::pki::Error),
}

/// Returns the one TLS provider of this process.
///
/// # Panics
///
/// If `main` did not install it first.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default()
        .expect("main installs the provider first")
        .clone()
}

/// Installs the process-wide provider.
///
/// # Errors
///
/// If there is one already: two providers in one process make rustls panic at run time.
pub fn install_provider() -> Result<(), &'static str> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| "another TLS provider was installed already")
}

/// Builds the configuration of both ports. `alpn` lists the protocols, the preferred one first.
///
/// # Errors
///
/// If the CA or the provider is not usable.
pub fn server_config(
    ca: &CertificateDer<'static>,
    certificate: Arc<ServerCertificate>,
    alpn: &[&str],
) -> Result<Arc<ServerConfig>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).map_err(Error::Certificate)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider())
        .allow_unauthenticated()
        .build()
        .map_err(Error::Verifier)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Error::Provider)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}
