use k8s_openapi::api::core::v1::ConfigMap;
use koinon_api::Placement;
use kube::CustomResourceExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Patch, merge_into};
use crate::{Object, ResourceInfo, Result};

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

fn configmaps() -> ResourceInfo {
    ResourceInfo::from_type::<ConfigMap>(false, &[]).unwrap()
}

fn patched(media_type: &str, old: Value, patch: &Value) -> Result<Value> {
    let resource = configmaps();
    let old = Object::from_value(old)?;
    let patch = Patch::parse(media_type, patch.to_string().as_bytes(), &resource)?;
    patch
        .apply(&old, &resource, 1 << 20)
        .map(Object::into_value)
}

#[test]
fn json_patches_apply() {
    let old = json!({ "data": { "a": "1", "b": "2" }, "list": [1, 2] });
    let patch = json!([
        { "op": "test", "path": "/data/a", "value": "1" },
        { "op": "replace", "path": "/data/a", "value": "3" },
        { "op": "remove", "path": "/data/b" },
        { "op": "add", "path": "/list/-", "value": 3 },
        { "op": "copy", "from": "/data", "path": "/copied" },
        { "op": "move", "from": "/list", "path": "/moved" },
    ]);
    assert_eq!(
        patched(JSON, old, &patch).unwrap(),
        json!({ "data": { "a": "3" }, "copied": { "a": "3" }, "moved": [1, 2, 3] })
    );
}

#[test]
fn a_json_patch_that_does_not_apply_is_invalid() {
    let old = json!({ "metadata": { "name": "x" }, "data": { "a": "1" } });
    let cases = [
        (
            json!([{ "op": "test", "path": "/data/a", "value": "2" }]),
            "testing path /data/a failed",
        ),
        (
            json!([{ "op": "remove", "path": "/data/b" }]),
            "path is invalid",
        ),
        (
            json!([{ "op": "replace", "path": "/nothing/there", "value": 1 }]),
            "path is invalid",
        ),
        (
            json!([{ "op": "copy", "from": "/no", "path": "/data/c" }]),
            "\"from\" path is invalid",
        ),
    ];
    for (patch, expected) in cases {
        let error = patched(JSON, old.clone(), &patch).unwrap_err();
        assert_eq!(error.code, 422, "{patch}");
        assert!(
            error.message.contains(expected),
            "{patch}: {}",
            error.message
        );
        assert_eq!(error.to_status()["details"]["name"], "x");
    }
}

#[test]
fn what_is_no_patch_is_a_bad_request() {
    let bodies = [
        (JSON, json!({ "op": "add" })),
        (JSON, json!([{ "op": "frobnicate", "path": "/a" }])),
        (MERGE, json!([1])),
        (STRATEGIC, json!("text")),
    ];
    for (media_type, body) in bodies {
        assert_eq!(
            patched(media_type, json!({}), &body).unwrap_err().code,
            400,
            "{body}"
        );
    }
    let bad_metadata = json!({ "metadata": { "labels": 3 } });
    assert_eq!(
        patched(MERGE, json!({}), &bad_metadata).unwrap_err().code,
        400
    );
}

#[test]
fn a_json_patch_cannot_blow_up_a_document() {
    let doubling: Vec<Value> = (0..64)
        .map(|_| json!({ "op": "copy", "from": "/data", "path": "/data/x" }))
        .collect();
    let old = json!({ "data": { "a": "x".repeat(1000) } });
    assert!(patched(JSON, old.clone(), &json!(doubling)).is_err());
    let too_many: Vec<Value> = (0..10_001)
        .map(|_| json!({ "op": "remove", "path": "/a" }))
        .collect();
    assert_eq!(
        patched(JSON, old.clone(), &json!(too_many))
            .unwrap_err()
            .code,
        413
    );
    let deep = json!([{ "op": "add", "path": format!("{}/a", "/a".repeat(200)), "value": 1 }]);
    assert_eq!(patched(JSON, old, &deep).unwrap_err().code, 400);
}

#[test]
fn merge_patches_follow_the_rfc() {
    // The table of RFC 7386, appendix A, as far as it is about objects.
    let cases = [
        (
            json!({ "a": "b" }),
            json!({ "a": "c" }),
            json!({ "a": "c" }),
        ),
        (
            json!({ "a": "b" }),
            json!({ "b": "c" }),
            json!({ "a": "b", "b": "c" }),
        ),
        (json!({ "a": "b" }), json!({ "a": null }), json!({})),
        (
            json!({ "a": "b", "b": "c" }),
            json!({ "a": null }),
            json!({ "b": "c" }),
        ),
        (
            json!({ "a": ["b"] }),
            json!({ "a": "c" }),
            json!({ "a": "c" }),
        ),
        (
            json!({ "a": "c" }),
            json!({ "a": ["b"] }),
            json!({ "a": ["b"] }),
        ),
        (
            json!({ "a": { "b": "c" } }),
            json!({ "a": { "b": "d", "c": null } }),
            json!({ "a": { "b": "d" } }),
        ),
        (
            json!({ "a": [{ "b": "c" }] }),
            json!({ "a": [1] }),
            json!({ "a": [1] }),
        ),
        (
            json!({ "e": null }),
            json!({ "a": 1 }),
            json!({ "e": null, "a": 1 }),
        ),
        (
            json!({}),
            json!({ "a": { "bb": { "ccc": null } } }),
            json!({ "a": { "bb": {} } }),
        ),
    ];
    for (mut target, patch, expected) in cases {
        merge_into(&mut target, &patch);
        assert_eq!(target, expected, "{patch}");
    }
}

#[test]
fn strategic_patches_merge_by_the_table() {
    let old = json!({
        "data": { "a": "1", "b": "2" },
        "metadata": { "name": "x", "finalizers": ["f/1", "f/2"], "ownerReferences": [{ "uid": "1", "name": "o" }] },
        "status": { "conditions": [{ "type": "A", "status": "True" }, { "type": "B", "status": "True" }] },
    });
    let cases = [
        (
            json!({ "data": { "a": null, "c": "3" } }),
            "/data",
            json!({ "b": "2", "c": "3" }),
        ),
        (
            json!({ "data": { "$patch": "replace", "z": "1" } }),
            "/data",
            json!({ "z": "1" }),
        ),
        (
            json!({ "data": { "$retainKeys": ["a"], "a": "9" } }),
            "/data",
            json!({ "a": "9" }),
        ),
        (
            json!({ "metadata": { "finalizers": ["f/2", "f/3"] } }),
            "/metadata/finalizers",
            json!(["f/1", "f/2", "f/3"]),
        ),
        (
            json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["f/1"] } }),
            "/metadata/finalizers",
            json!(["f/2"]),
        ),
        (
            json!({ "metadata": { "ownerReferences": [{ "uid": "1", "kind": "K" }, { "uid": "2" }] } }),
            "/metadata/ownerReferences",
            json!([{ "uid": "1", "name": "o", "kind": "K" }, { "uid": "2" }]),
        ),
        (
            json!({ "metadata": { "ownerReferences": [{ "uid": "1", "$patch": "delete" }] } }),
            "/metadata/ownerReferences",
            json!([]),
        ),
        (
            json!({ "metadata": { "ownerReferences": [{ "$patch": "replace" }, { "uid": "3" }] } }),
            "/metadata/ownerReferences",
            json!([{ "uid": "3" }]),
        ),
        (
            json!({
                "status": {
                    "$setElementOrder/conditions": [{ "type": "C" }, { "type": "A" }],
                    "conditions": [{ "type": "C", "status": "False" }],
                },
            }),
            "/status/conditions",
            json!([{ "type": "C", "status": "False" }, { "type": "B", "status": "True" }, { "type": "A", "status": "True" }]),
        ),
        (
            json!({ "list": [1], "map": { "a": { "b": null } } }),
            "/map",
            json!({ "a": {} }),
        ),
    ];
    for (patch, pointer, expected) in cases {
        let new = patched(STRATEGIC, old.clone(), &patch).unwrap();
        assert_eq!(new.pointer(pointer), Some(&expected), "{patch}");
    }
}

#[test]
fn a_strategic_patch_that_makes_no_sense_is_refused() {
    for patch in [
        json!({ "data": { "$patch": "explode" } }),
        json!({ "metadata": { "ownerReferences": [{ "name": "no-uid" }] } }),
        json!({ "data": { "$retainKeys": ["a"], "b": "1" } }),
    ] {
        assert_eq!(
            patched(STRATEGIC, json!({ "data": { "a": "1" } }), &patch)
                .unwrap_err()
                .code,
            400,
            "{patch}"
        );
    }
}

#[test]
fn custom_kinds_do_not_merge_strategically() {
    let placements = ResourceInfo::from_crd(&Placement::crd()).unwrap();
    let error = Patch::parse(STRATEGIC, b"{}", &placements).unwrap_err();
    assert_eq!(error.code, 415);
    assert_eq!(
        error.message,
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, \
         application/merge-patch+json, application/apply-patch+yaml"
    );
    assert!(Patch::parse("application/json", b"{}", &configmaps()).is_err());
}

fn small_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i8>().prop_map(Value::from),
        "[ab]".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn merging_twice_is_merging_once(old in small_json(), patch in small_json()) {
        let mut once = old;
        merge_into(&mut once, &patch);
        let mut twice = once.clone();
        merge_into(&mut twice, &patch);
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn an_empty_merge_changes_nothing(old in prop::collection::btree_map("[a-d]", small_json(), 0..4)) {
        let old = Value::Object(old.into_iter().collect());
        let mut new = old.clone();
        merge_into(&mut new, &json!({}));
        prop_assert_eq!(new, old);
    }

    #[test]
    fn arbitrary_patches_apply_or_are_refused(old in small_json(), patch in small_json(), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let resource = configmaps();
        let old = Object::from_value(json!({ "data": old })).unwrap();
        for media_type in Patch::MEDIA_TYPES {
            for body in [patch.to_string().into_bytes(), json!({ "data": patch }).to_string().into_bytes(), bytes.clone()] {
                if let Ok(patch) = Patch::parse(media_type, &body, &resource) {
                    let _ = patch.apply(&old, &resource, 1 << 16);
                }
            }
        }
    }
}
