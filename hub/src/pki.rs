//! The hub's certificate authority.
//!
//! One CA, kept in the registry, signs three kinds of certificate: the hub's own server certificate, the
//! admin's client certificate, and one per agent. A request contributes its proven public key and nothing
//! else ([`approve`]); names, usages and validity are ours ([`issue`]).

pub mod approve;
mod authority;
mod enrolled;
mod issue;
pub mod kubeconfig;

pub use authority::{Authority, Material};
pub use enrolled::Enrolled;
pub use issue::{Issued, Lifetimes};
pub(crate) use kubeconfig::pem;

/// Common name of the admin's certificate.
pub const ADMIN: &str = "koinon-admin";
/// Organization, and so group, of the admin's certificate.
pub const MASTERS: &str = "system:masters";
/// Organization, and so group, of every agent's certificate.
pub const MANAGED_CLUSTERS: &str = "system:open-cluster-management:managed-clusters";

/// What can go wrong when certificates are made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stored authority does not parse.
    #[error("the stored certificate authority is damaged")]
    Damaged(#[source] rcgen::Error),
    /// A key could not be generated.
    #[error("failed to generate a key")]
    Key(#[source] rcgen::Error),
    /// A certificate could not be signed.
    #[error("failed to sign a certificate")]
    Sign(#[source] rcgen::Error),
}

/// Returns the SHA-256 of `bytes` in lower-case hex: how certificates and keys are named in tokens and records.
#[must_use]
pub fn fingerprint(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    use std::fmt::Write as _;
    sha2::Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
