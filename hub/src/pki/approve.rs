//! What may be signed: a pure decision over a certificate request.
//!
//! Nothing of a request is copied into a certificate but its public key. A request that nevertheless asks for
//! more than an agent may have is refused, so that an attempt is seen and not silently trimmed.

use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::ParsedExtension,
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
    },
    prelude::FromDer as _,
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

use super::MANAGED_CLUSTERS;

/// Largest request that is looked at; a 4096-bit RSA request is about 1.7 KB.
const MAX_REQUEST: usize = 16 * 1024;

/// Who an agent certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Name of the managed cluster.
    pub cluster: String,
    /// Name of the agent within it.
    pub agent: String,
}

impl Subject {
    /// Returns the common name, as OCM writes it.
    #[must_use]
    pub fn common_name(&self) -> String {
        format!(
            "system:open-cluster-management:{}:{}",
            self.cluster, self.agent
        )
    }
}

/// A public key whose owner proved to hold the private one: DER of its `SubjectPublicKeyInfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenKey(Vec<u8>);

impl ProvenKey {
    /// Returns the DER of the key.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// Returns the SHA-256 of the DER in hex.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        super::fingerprint(&self.0)
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not PKCS#10.
    #[error("the certificate request does not parse")]
    Malformed,
    /// Signed by another key than the one it carries.
    #[error("the certificate request is not signed by its own key")]
    Unproven,
    /// Not one of the accepted kinds of key.
    #[error("the key must be P-256, Ed25519, or RSA of at least 2048 bits")]
    WeakKey,
    /// Asks for a name, usage or power that an agent may not have.
    #[error("the certificate request asks for {0}, which an agent may not have")]
    Excess(&'static str),
}

/// Decides on a request for `subject`.
///
/// # Errors
///
/// With the reason if the request is to be refused.
pub fn approve(csr_der: &[u8], subject: &Subject) -> Result<ProvenKey, Refusal> {
    if csr_der.len() > MAX_REQUEST {
        return Err(Refusal::Malformed);
    }
    let (rest, csr) =
        X509CertificationRequest::from_der(csr_der).map_err(|_| Refusal::Malformed)?;
    if !rest.is_empty() {
        return Err(Refusal::Malformed);
    }
    let info = &csr.certification_request_info;
    if !is_strong(&info.subject_pki) {
        return Err(Refusal::WeakKey);
    }
    csr.verify_signature().map_err(|_| Refusal::Unproven)?;
    let common_name = subject.common_name();
    for name in info
        .subject
        .iter_common_name()
        .filter_map(|name| name.as_str().ok())
    {
        if name.starts_with("system:") && name != common_name {
            return Err(Refusal::Excess("the name of somebody else"));
        }
    }
    let own_group = format!("system:open-cluster-management:{}", subject.cluster);
    for group in info.subject.iter_organization() {
        if !group
            .as_str()
            .is_ok_and(|group| group == MANAGED_CLUSTERS || group == own_group)
        {
            return Err(Refusal::Excess("membership in a group"));
        }
    }
    for extension in csr.requested_extensions().into_iter().flatten() {
        check_extension(extension)?;
    }
    Ok(ProvenKey(info.subject_pki.raw.to_vec()))
}

fn is_strong(key: &SubjectPublicKeyInfo<'_>) -> bool {
    let algorithm = &key.algorithm;
    if algorithm.algorithm == OID_SIG_ED25519 {
        return true;
    }
    if algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = algorithm
            .parameters
            .as_ref()
            .and_then(|parameters| parameters.as_oid().ok());
        return curve.is_some_and(|curve| curve == OID_EC_P256);
    }
    if algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
        return matches!(key.parsed(), Ok(PublicKey::RSA(rsa)) if rsa.key_size() >= 2048);
    }
    false
}

fn check_extension(extension: &ParsedExtension<'_>) -> Result<(), Refusal> {
    match extension {
        ParsedExtension::BasicConstraints(constraints) if constraints.ca => {
            Err(Refusal::Excess("to be an authority"))
        }
        ParsedExtension::BasicConstraints(_) => Ok(()),
        ParsedExtension::KeyUsage(usage) if usage.key_cert_sign() || usage.crl_sign() => {
            Err(Refusal::Excess("to sign certificates"))
        }
        ParsedExtension::KeyUsage(_) => Ok(()),
        ParsedExtension::ExtendedKeyUsage(usage) => {
            let more = usage.any
                || usage.server_auth
                || usage.code_signing
                || usage.email_protection
                || usage.time_stamping
                || usage.ocsp_signing
                || !usage.other.is_empty();
            if more {
                Err(Refusal::Excess("a usage beyond client authentication"))
            } else {
                Ok(())
            }
        }
        // The URI of an agent has the uid of its cluster in it, which no agent knows before it has enrolled.
        ParsedExtension::SubjectAlternativeName(_) => Err(Refusal::Excess("an alternative name")),
        _ => Err(Refusal::Excess("an extension")),
    }
}

#[cfg(test)]
mod tests;
