use proptest::prelude::*;
use serde_json::{Value, json};

use super::{faults, json, strict};

#[test]
fn duplicate_keys_are_found_and_the_last_counts() {
    let decoded = json(br#"{"a":1,"b":[{"c":1,"c":2}],"a":{"d":1,"d":3}}"#).unwrap();
    assert_eq!(decoded.value, json!({ "a": { "d": 3 }, "b": [{ "c": 2 }] }));
    assert_eq!(decoded.duplicates, ["b[0].c", "a", "a.d"]);
}

#[test]
fn strict_names_every_fault() {
    let error = strict(&["spec.foo".into()], &["spec.bar".into()]).unwrap();
    assert_eq!(error.code, 400);
    assert_eq!(
        error.message,
        r#"strict decoding error: duplicate field "spec.bar", unknown field "spec.foo""#
    );
    assert_eq!(strict(&[], &[]), None);
    assert_eq!(faults(&["a".into()], &[]), [r#"unknown field "a""#]);
}

#[test]
fn what_is_no_single_document_is_refused() {
    for body in ["", "{", "{} {}", "{\"a\":}", "nul", "{'a':1}"] {
        assert_eq!(json(body.as_bytes()).unwrap_err().code, 400, "{body}");
    }
}

#[test]
fn faults_are_bounded_in_number() {
    let long = "k".repeat(100_000);
    let same = "\"a\":1,".repeat(100_000);
    let body = format!("{{\"{long}\":{{{same}\"a\":2}}}}");
    let decoded = json(body.as_bytes()).unwrap();
    assert_eq!(decoded.duplicates.len(), 100);
    assert_eq!(decoded.value[&long]["a"], 2);
    let unknown = vec!["x".to_owned(); 1000];
    assert_eq!(faults(&unknown, &decoded.duplicates).len(), 100);
}

#[test]
fn depth_is_bounded() {
    let nest = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(json(nest(100).as_bytes()).is_ok());
    assert!(json(nest(101).as_bytes()).is_err());
    assert!(json(nest(1_000_000).as_bytes()).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = json(&bytes);
    }

    #[test]
    fn what_serde_json_reads_is_read_alike(text in r#"[\{\}\[\]a-c0-9":,. -]{0,40}"#) {
        let ours = json(text.as_bytes()).ok().map(|decoded| decoded.value);
        let theirs = serde_json::from_str::<Value>(&text).ok();
        prop_assert_eq!(ours, theirs);
    }
}
