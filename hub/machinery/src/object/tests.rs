use serde_json::json;

use super::{Object, timestamp};

fn object(value: serde_json::Value) -> Object {
    Object::from_value(value).unwrap()
}

#[test]
fn absent_fields_read_as_empty() {
    let object = Object::new("v1", "Namespace");
    assert_eq!((object.api_version(), object.kind()), ("v1", "Namespace"));
    assert_eq!(
        (
            object.name(),
            object.namespace(),
            object.uid(),
            object.resource_version()
        ),
        ("", "", "", "")
    );
    assert_eq!(object.generation(), 0);
    assert_eq!(
        object.labels().count() + object.annotations().count() + object.finalizers().count(),
        0
    );
    assert!(object.owner_references().is_empty() && !object.is_deleting());
}

#[test]
fn metadata_of_the_wrong_type_is_refused() {
    let cases = [
        (
            json!({ "metadata": [] }),
            "ObjectMeta.metadata of type ObjectMeta",
        ),
        (
            json!({ "metadata": { "name": 1 } }),
            "ObjectMeta.metadata.name of type string",
        ),
        (
            json!({ "metadata": { "labels": { "a": true } } }),
            "cannot unmarshal bool",
        ),
        (
            json!({ "metadata": { "labels": ["a"] } }),
            "map[string]string",
        ),
        (
            json!({ "metadata": { "finalizers": [1] } }),
            "metadata.finalizers of type string",
        ),
        (json!({ "metadata": { "generation": "1" } }), "int64"),
        (
            json!({ "metadata": { "creationTimestamp": "yesterday" } }),
            "RFC 3339",
        ),
        (
            json!({ "metadata": { "ownerReferences": ["x"] } }),
            "ownerReferences",
        ),
        (json!({ "kind": 3 }), "kind of type string"),
        (json!("text"), "cannot unmarshal string"),
    ];
    for (value, expected) in cases {
        let error = Object::from_value(value.clone()).unwrap_err();
        assert_eq!(error.code, 400);
        assert!(
            error.message.contains(expected),
            "{value}: {}",
            error.message
        );
    }
}

#[test]
fn nulls_in_metadata_count_as_absent() {
    let object =
        object(json!({ "metadata": { "name": "a", "creationTimestamp": null, "labels": null } }));
    assert_eq!(object.into_value(), json!({ "metadata": { "name": "a" } }));
}

#[test]
fn split_and_join_are_inverse_but_for_the_revision() {
    let value = json!({
        "apiVersion": "v1", "kind": "X", "data": { "a": "b" }, "spec": { "n": 1 }, "status": { "ok": true },
        "metadata": { "name": "x", "resourceVersion": "5" },
    });
    let parts = object(value).split();
    assert_eq!(parts.metadata.len(), 1);
    assert_eq!(
        json!(parts.body),
        json!({ "data": { "a": "b" }, "spec": { "n": 1 } })
    );
    assert_eq!(parts.status, Some(json!({ "ok": true })));
    let joined = Object::join("v1", "X", parts, "7");
    assert_eq!(
        joined.into_value(),
        json!({
            "apiVersion": "v1", "kind": "X", "data": { "a": "b" }, "spec": { "n": 1 }, "status": { "ok": true },
            "metadata": { "name": "x", "resourceVersion": "7" },
        })
    );
}

#[test]
fn only_the_body_decides_about_generations() {
    let old = object(
        json!({ "kind": "X", "metadata": { "name": "x" }, "spec": { "n": 1 }, "status": { "a": 1 } }),
    );
    let mut new = old.clone();
    new.set_label("a", "b");
    new.set_status(None);
    new.set_type("v1", "Y");
    assert!(new.same_body(&old) && old.same_body(&new));
    let grown = object(json!({ "spec": { "n": 1 }, "data": {} }));
    assert!(!grown.same_body(&old) && !old.same_body(&grown));
    assert!(!object(json!({ "spec": { "n": 2 } })).same_body(&old));
}

#[test]
fn labels_and_finalizers_come_and_go_without_a_trace() {
    let mut object = object(json!({ "metadata": { "name": "x" } }));
    let before = object.clone();
    object.set_label("a", "b");
    object.set_annotation("c", "d");
    assert!(object.add_finalizer("e/f") && !object.add_finalizer("e/f"));
    assert_eq!(object.label("a"), Some("b"));
    assert_eq!(object.annotation("c"), Some("d"));
    assert!(object.has_finalizer("e/f"));
    object.remove_label("a");
    object.remove_annotation("c");
    assert!(object.remove_finalizer("e/f") && !object.remove_finalizer("e/f"));
    assert_eq!(object, before);
}

#[test]
fn times_are_written_in_whole_seconds() {
    let at = "2026-11-20T10:00:00.987+02:00".parse().unwrap();
    assert_eq!(timestamp(at), "2026-11-20T08:00:00Z");
    let mut object = Object::default();
    object.set_deletion_timestamp(at);
    assert!(object.is_deleting());
    assert_eq!(object.metadata()["deletionGracePeriodSeconds"], 0);
}
