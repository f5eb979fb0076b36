use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SanType, SignatureAlgorithm,
};

use super::*;

fn subject() -> Subject {
    Subject {
        cluster: "east".to_owned(),
        agent: "a1".to_owned(),
    }
}

fn csr_with(
    algorithm: &'static SignatureAlgorithm,
    change: impl FnOnce(&mut CertificateParams),
) -> Vec<u8> {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    change(&mut params);
    params.serialize_request(&key).unwrap().der().to_vec()
}

fn csr(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    csr_with(&PKCS_ECDSA_P256_SHA256, change)
}

#[test]
fn a_plain_request_is_approved_for_every_strong_key() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519, &PKCS_RSA_SHA256] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let csr = CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        let proven = approve(csr.der(), &subject()).unwrap();
        use rcgen::PublicKeyData as _;
        assert_eq!(proven.der(), key.subject_public_key_info());
    }
}

#[test]
fn a_request_may_name_what_it_will_get_anyway() {
    let csr = csr(|params| {
        params
            .distinguished_name
            .push(DnType::CommonName, subject().common_name());
        params
            .distinguished_name
            .push(DnType::OrganizationName, MANAGED_CLUSTERS);
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ClientAuth);
        params.key_usages.push(KeyUsagePurpose::DigitalSignature);
    });
    assert!(approve(&csr, &subject()).is_ok());
}

#[test]
fn a_request_that_asks_for_more_is_refused() {
    type Ask = Box<dyn FnOnce(&mut CertificateParams)>;
    let other = "spiffe://koinon/cluster/west/uid/6f1c2a52-8f0e-4f3b-9d52-0d9a3f1f7c11/agent/a1";
    let cases: Vec<(&str, Ask)> = vec![
        (
            "authority",
            Box::new(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        ),
        (
            "authority of depth 0",
            Box::new(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))),
        ),
        (
            "cert sign",
            Box::new(|p| p.key_usages.push(KeyUsagePurpose::KeyCertSign)),
        ),
        (
            "crl sign",
            Box::new(|p| p.key_usages.push(KeyUsagePurpose::CrlSign)),
        ),
        (
            "server auth",
            Box::new(|p| {
                p.extended_key_usages
                    .push(ExtendedKeyUsagePurpose::ServerAuth)
            }),
        ),
        (
            "any usage",
            Box::new(|p| p.extended_key_usages.push(ExtendedKeyUsagePurpose::Any)),
        ),
        (
            "odd usage",
            Box::new(|p| {
                p.extended_key_usages
                    .push(ExtendedKeyUsagePurpose::Other(vec![1, 2, 3]))
            }),
        ),
        (
            "dns name",
            Box::new(|p| {
                p.subject_alt_names
                    .push(SanType::DnsName("hub.example".try_into().unwrap()))
            }),
        ),
        (
            "address",
            Box::new(|p| {
                p.subject_alt_names
                    .push(SanType::IpAddress([127, 0, 0, 1].into()))
            }),
        ),
        (
            "uri",
            Box::new(move |p| {
                p.subject_alt_names
                    .push(SanType::URI(other.try_into().unwrap()))
            }),
        ),
        (
            "masters",
            Box::new(|p| {
                p.distinguished_name
                    .push(DnType::OrganizationName, "system:masters")
            }),
        ),
        (
            "another cluster's group",
            Box::new(|p| {
                p.distinguished_name.push(
                    DnType::OrganizationName,
                    "system:open-cluster-management:west",
                )
            }),
        ),
        (
            "another cluster's name",
            Box::new(|p| {
                p.distinguished_name
                    .push(DnType::CommonName, "system:open-cluster-management:west:a1")
            }),
        ),
        (
            "an unknown extension",
            Box::new(|p| {
                p.custom_extensions.push(CustomExtension::from_oid_content(
                    &[1, 3, 6, 1, 4, 1, 9, 9],
                    vec![5, 0],
                ))
            }),
        ),
    ];
    for (name, ask) in cases {
        assert!(
            matches!(approve(&csr(ask), &subject()), Err(Refusal::Excess(_))),
            "{name}"
        );
    }
}

#[test]
fn other_keys_are_refused() {
    assert_eq!(
        approve(&csr_with(&PKCS_ECDSA_P384_SHA384, |_| ()), &subject()),
        Err(Refusal::WeakKey)
    );
}

#[test]
fn damage_is_refused() {
    let good = csr(|_| ());
    assert_eq!(approve(&[], &subject()), Err(Refusal::Malformed));
    assert_eq!(
        approve(&[good.clone(), vec![0]].concat(), &subject()),
        Err(Refusal::Malformed)
    );
    assert_eq!(
        approve(&vec![0x30; MAX_REQUEST + 1], &subject()),
        Err(Refusal::Malformed)
    );
    // The signature's algorithm stands outside of what is signed; all before it is covered.
    let (_, parsed) = X509CertificationRequest::from_der(&good).unwrap();
    for at in 0..parsed.certification_request_info.raw.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x01;
        assert!(
            approve(&bad, &subject()).is_err(),
            "flipped bit in byte {at}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        let _ = approve(&bytes, &subject());
    }
}
