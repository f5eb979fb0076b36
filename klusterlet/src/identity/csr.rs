use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::PrivatePkcs8KeyDer;

/// Makes a P-256 key.
pub(super) fn new_key() -> anyhow::Result<PrivatePkcs8KeyDer<'static>> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?
        .serialize_der()
        .into())
}

/// Makes a certificate request, DER. The hub takes the proven public key from it and decides the rest itself.
pub(super) fn request(
    key: &PrivatePkcs8KeyDer<'_>,
    cluster: &str,
    agent: &str,
) -> anyhow::Result<Vec<u8>> {
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(key, &PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(
        DnType::CommonName,
        format!("system:open-cluster-management:{cluster}:{agent}"),
    );
    Ok(params.serialize_request(&pair)?.der().to_vec())
}
