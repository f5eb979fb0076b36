//! Who this agent is to the hub: a key, a certificate, and whom it trusts. Kept in the Secret `hub-identity`.

mod certificate;
mod csr;
mod enrol;
mod pem;
mod pinned;
mod renew;
mod store;

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

pub use certificate::{Validity, fingerprint};
pub use enrol::{Anew, Enroller, TokenSource};
pub use renew::{Renewer, SharedIdentity};
pub use store::{IdentityStore, SECRET, Stored};

/// A complete identity.
pub struct Identity {
    /// Private key, PKCS#8.
    pub key: PrivatePkcs8KeyDer<'static>,
    /// Certificate chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// CA certificates of the hub.
    pub trust: Vec<CertificateDer<'static>>,
    /// Hex fingerprint of the CA that the join token named: names this hub for good.
    pub hub_hash: String,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone_key(),
            chain: self.chain.clone(),
            trust: self.trust.clone(),
            hub_hash: self.hub_hash.clone(),
        }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("hub_hash", &self.hub_hash)
            .finish_non_exhaustive()
    }
}
