use proptest::prelude::*;
use serde_json::json;

use super::*;

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    out.extend_from_slice(content);
    out
}

fn body(version: &str, kind: &str, content: &[Vec<u8>]) -> Vec<u8> {
    let of_type = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
    [
        MAGIC.to_vec(),
        field(1, &of_type),
        field(2, &content.concat()),
        field(3, b""),
        field(4, b""),
    ]
    .concat()
}

#[test]
fn what_kubectl_creates_is_read() {
    let metadata = [
        field(1, b"c"),
        field(2, b""),
        field(8, b""),
        field(11, &[field(1, b"k"), field(2, b"v")].concat()),
    ]
    .concat();
    let data = [field(1, b"a"), field(2, b"b")].concat();
    let read = decode(&body(
        "v1",
        "ConfigMap",
        &[field(1, &metadata), field(2, &data)],
    ))
    .unwrap();
    assert_eq!(
        read,
        Some(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "labels": { "k": "v" } }, "data": { "a": "b" },
        }))
    );
    let secret = decode(&body(
        "v1",
        "Secret",
        &[field(2, &data), field(3, b"Opaque")],
    ))
    .unwrap()
    .unwrap();
    assert_eq!(secret["data"]["a"], "Yg==");
}

#[test]
fn the_captured_body_of_kubectl_auth_whoami_is_read() {
    let captured = b"k8s\x00\x0a\x2d\x0a\x18authentication.k8s.io/v1\x12\x11SelfSubjectReview\x12\x1a\x0a\x10\x0a\x00\x12\x00\x1a\x00\x22\x00\x2a\x00\x32\x00\x38\x00\x42\x00\x12\x06\x0a\x04\x0a\x00\x12\x00\x1a\x00\x22\x00";
    let read = decode(captured).unwrap().unwrap();
    assert_eq!(read["kind"], "SelfSubjectReview");
}

#[test]
fn other_kinds_and_damage_are_refused() {
    assert_eq!(decode(&body("v1", "Pod", &[])).unwrap(), None);
    for bad in [&b""[..], b"k8s", b"{}", b"k8s\0\x0a\xff", b"k8s\0\x0f"] {
        assert_eq!(decode(bad).unwrap_err().code, 400, "{bad:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&[MAGIC, &bytes].concat());
        for fields in [CONFIG_MAP, EVENT, ACCESS_REVIEW, DELETE_OPTIONS] {
            let _ = message(&bytes, fields);
        }
    }
}
