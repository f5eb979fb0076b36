//! Who signed the images of an object. Pure: nothing is fetched, so it works where no registry can be reached.
//!
//! The signatures are cosign's of "simple signing": a payload that names the digest of an image, and the signature of these bytes.
//! The object carries them in an annotation, as `cosign download signature` prints them. The kubelet pulls what is named by a digest
//! only if it has that digest, so who signed the digest signed what runs. That an image was signed says nothing about how old it is.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use koinon_api::labels::annotation;
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde::Deserialize;
use serde_json::Value;

/// Signatures that are looked at; hashing and checking one takes some 0.1 ms for each key.
const MOST_SIGNATURES: usize = 64;

/// Longest payload, base64: cosign's has some 300 bytes.
const MOST_PAYLOAD: usize = 8 * 1024;

/// What a payload of this kind says of itself.
const TYPE: &str = "cosign container image signature";

/// Why an image is not allowed; goes on from "the policy does not allow".
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsigned {
    #[error("anything while a key of its signers cannot be read (PEM, ECDSA on P-256)")]
    Key,
    #[error("image {0:?} without its digest: who signed it is told by that (name@sha256:…)")]
    Tag(String),
    #[error("image {0:?} without a signature of one of its signers in the annotation {annotation}", annotation = annotation::IMAGE_SIGNATURES)]
    Missing(String),
}

/// One line of `cosign download signature`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Signature {
    base64_signature: String,
    payload: String,
}

/// What was signed.
#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Checks that one of `keys` signed each image of an object.
///
/// # Errors
/// Names the first that none of them signed.
pub(super) fn signed(keys: &[String], images: &[&str], object: &Value) -> Result<(), Unsigned> {
    if images.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = keys
        .iter()
        .map(|pem| key(pem))
        .collect::<Option<_>>()
        .ok_or(Unsigned::Key)?;
    let text = object
        .pointer("/metadata/annotations")
        .and_then(|all| all.get(annotation::IMAGE_SIGNATURES))
        .and_then(Value::as_str)
        .unwrap_or_default();
    let good: Vec<String> = signatures(text)
        .filter_map(|signature| signature.of_any(&keys))
        .collect();
    for image in images {
        let digest = digest(image).ok_or_else(|| Unsigned::Tag((*image).to_owned()))?;
        if !good.iter().any(|signed| signed == digest) {
            return Err(Unsigned::Missing((*image).to_owned()));
        }
    }
    Ok(())
}

fn key(pem: &str) -> Option<ParsedPublicKey> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?;
    ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &der).ok()
}

/// The digest that an image is named by: there is no other one that every runtime checks.
fn digest(image: &str) -> Option<&str> {
    let (_, digest) = image.rsplit_once('@')?;
    let hex = digest.strip_prefix("sha256:")?;
    let is_hex = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then_some(digest)
}

/// Reads one JSON object after the other, up to the first that makes no sense.
fn signatures(text: &str) -> impl Iterator<Item = Signature> {
    let all = serde_json::Deserializer::from_str(text).into_iter();
    all.map_while(Result::ok).take(MOST_SIGNATURES)
}

impl Signature {
    /// The digest that it is about, if it is by one of these keys. Nothing of the payload is read before that is known.
    fn of_any(&self, keys: &[ParsedPublicKey]) -> Option<String> {
        if self.payload.len() > MOST_PAYLOAD {
            return None;
        }
        let payload = STANDARD.decode(&self.payload).ok()?;
        let signature = STANDARD.decode(&self.base64_signature).ok()?;
        keys.iter()
            .any(|key| key.verify_sig(&payload, &signature).is_ok())
            .then_some(())?;
        let Critical { image, kind } = serde_json::from_slice::<Payload>(&payload).ok()?.critical;
        (kind == TYPE).then_some(image.digest)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Made with OpenSSL, as cosign's documentation has it: `openssl dgst -sha256 -sign`.
    const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE1+LFG6l0IWyst37fsWLwObQSurRO\nvu7+HRNuvB8SS0gUtWsi4F1sixoCvPe65NrbRCDrz9DIZPElgk+gw38Tbw==\n-----END PUBLIC KEY-----";
    const OTHER_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEmiTlLSFhuIKxEqSYK+rwk/L3DXL/\nT2HhXL4JBaLo8Z9RsenrB4R1LCDBYIp8DmFQUuCsb1NeF6KPQmDqlnm4yg==\n-----END PUBLIC KEY-----";
    const SIGNATURE: &str = "MEQCICD1Tt7F7m1E2cU7UaTZOjiu2dKo7srTD8VROJrg8l+SAiBaoRH/R+J1dkInl/hKTB1DwyhSrR68teGfPFsAsSQavw==";
    const OTHER_TYPE: &str = "MEQCIDw1DOltu6QX113ZbX58baq6FaS04pL5zILqQi5ltOtIAiAyegBi8EV3SFtzQ0dKL/BmHGoALD6UWP01ZnxelSSEmg==";

    fn payload(digit: &str, kind: &str) -> String {
        STANDARD.encode(format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"registry.example.com/web"}},"image":{{"docker-manifest-digest":"sha256:{}"}},"type":"{kind}"}},"optional":null}}"#,
            digit.repeat(64)
        ))
    }

    fn line(payload: &str, signature: &str) -> String {
        let line =
            json!({"Base64Signature": signature, "Payload": payload, "Cert": null, "Chain": null});
        format!("{line}\n")
    }

    fn check(keys: &[&str], image: &str, annotation: &str) -> Result<(), String> {
        let keys: Vec<String> = keys.iter().map(|&key| key.into()).collect();
        let object =
            json!({"metadata": {"annotations": {"koinon.dev/image-signatures": annotation}}});
        signed(&keys, &[image], &object).map_err(|unsigned| unsigned.to_string())
    }

    #[test]
    fn an_image_is_allowed_that_one_of_the_keys_signed() {
        let pinned = |name: &str, digit: &str| format!("{name}@sha256:{}", digit.repeat(64));
        let image = &pinned("registry.example.com/web", "1");
        let good = &line(&payload("1", TYPE), SIGNATURE);
        let two = &format!("{}{good}", line(&payload("3", TYPE), "AAAA"));
        let flipped = &line(&payload("1", TYPE).replace('c', "d"), SIGNATURE);
        for (keys, image, signatures, expected) in [
            (&[KEY][..], image, good, ""),
            (&[OTHER_KEY, KEY], image, two, ""),
            // A mirror, and a tag beside the digest, change nothing of what runs.
            (&[KEY], &pinned("mirror.local/web:2", "1"), good, ""),
            (&[OTHER_KEY], image, good, "without a signature"),
            (&[], image, good, "without a signature"),
            (
                &[KEY],
                &pinned("registry.example.com/web", "2"),
                good,
                "without a signature",
            ),
            (&[KEY], image, &String::new(), "without a signature"),
            (&[KEY], image, &"no JSON".to_owned(), "without a signature"),
            (&[KEY], image, flipped, "without a signature"),
            // Another's signature beside a payload that names the image.
            (
                &[KEY],
                &pinned("web", "2"),
                &line(&payload("2", TYPE), SIGNATURE),
                "without a signature",
            ),
            // Signed, but not as an image.
            (
                &[KEY],
                &pinned("web", "2"),
                &line(&payload("2", "something else"), OTHER_TYPE),
                "without a signature",
            ),
            (
                &[KEY],
                &"registry.example.com/web:1".to_owned(),
                good,
                "without its digest",
            ),
            (
                &[KEY],
                &"web@sha256:11".to_owned(),
                good,
                "without its digest",
            ),
            (
                &[KEY],
                &"web@sha512:11".to_owned(),
                good,
                "without its digest",
            ),
            (&[KEY, "no key"], image, good, "cannot be read"),
        ] {
            let words = check(keys, image, signatures).err().unwrap_or_default();
            assert_eq!(
                words.is_empty(),
                expected.is_empty(),
                "{image} {signatures} {words}"
            );
            assert!(words.contains(expected), "{image} {words}");
        }
        // That one was not refused for its bytes.
        let key = key(KEY).unwrap();
        let other = STANDARD.decode(payload("2", "something else")).unwrap();
        assert!(
            key.verify_sig(&other, &STANDARD.decode(OTHER_TYPE).unwrap())
                .is_ok()
        );
    }

    #[test]
    fn an_object_without_images_needs_no_signature() {
        assert_eq!(signed(&["no key".into()], &[], &json!({})), Ok(()));
    }

    #[test]
    fn what_is_looked_at_is_bounded() {
        let good = line(&payload("1", TYPE), SIGNATURE);
        let image = format!("web@sha256:{}", "1".repeat(64));
        let many = line("AAAA", "AAAA").repeat(MOST_SIGNATURES) + &good;
        assert!(check(&[KEY], &image, &many).is_err());
        let long = line(&"A".repeat(MOST_PAYLOAD + 4), "AAAA") + &good;
        assert!(check(&[KEY], &image, &long).is_ok());
    }
}
