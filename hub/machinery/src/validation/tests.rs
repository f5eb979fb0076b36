use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    FieldPath, NameRule, dns_label, dns_subdomain, generate_name, label_value, labels_fit,
    metadata_create, metadata_update, path_segment, qualified_name,
};
use crate::{Object, ResourceInfo};

fn configmaps() -> ResourceInfo {
    ResourceInfo::from_type::<ConfigMap>(false, &[]).unwrap()
}

fn object(metadata: Value) -> Object {
    Object::from_value(json!({ "metadata": metadata })).unwrap()
}

fn created(metadata: Value) -> Vec<String> {
    let causes = metadata_create(&object(metadata), &configmaps(), NameRule::default());
    causes.iter().map(ToString::to_string).collect()
}

#[test]
fn names_are_judged_by_kubernetes_rules() {
    let long = "a".repeat(64);
    let very_long = format!("{}.{}", "a".repeat(63), "b".repeat(200));
    for good in ["a", "a-b", "1", "0a-9z"] {
        assert!(dns_label(good).is_empty(), "{good}");
    }
    for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ä", long.as_str()] {
        assert!(!dns_label(bad).is_empty(), "{bad}");
    }
    for good in ["a", "a.b", "a-b.c", "1.2.3"] {
        assert!(dns_subdomain(good).is_empty(), "{good}");
    }
    for bad in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a.-b",
        "A.b",
        very_long.as_str(),
    ] {
        assert!(!dns_subdomain(bad).is_empty(), "{bad}");
    }
    for good in ["a", "A_b.C-d", "example.com/Name", "1"] {
        assert!(qualified_name(good).is_empty(), "{good}");
    }
    for bad in [
        "",
        "/",
        "a/",
        "/a",
        "a/b/c",
        "UPPER.com/a",
        "-a",
        "a b",
        "a/-b",
        long.as_str(),
    ] {
        assert!(!qualified_name(bad).is_empty(), "{bad}");
    }
    for good in ["", "a", "A_b.C-d", "123"] {
        assert!(label_value(good).is_empty(), "{good}");
    }
    for bad in ["-", "a b", "a/b", "_a", "a.", long.as_str()] {
        assert!(!label_value(bad).is_empty(), "{bad}");
    }
    assert!(path_segment("system:node").is_empty());
    assert!(
        ["..", "a/b", "a%b", "a\nb"]
            .iter()
            .all(|bad| !path_segment(bad).is_empty())
    );
}

#[test]
fn the_words_are_kubernetes_own() {
    assert_eq!(
        dns_label("A"),
        [
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with \
          an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
          '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        ]
    );
    assert_eq!(
        created(json!({ "name": "a", "namespace": "b", "labels": { "c": "@" } })),
        [
            "metadata.labels[c]: Invalid value: \"@\": a valid label must be an empty string or consist of alphanumeric \
          characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
          'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        ]
    );
}

#[test]
fn metadata_is_judged_on_create() {
    let owner =
        |fields: Value| json!({ "name": "a", "namespace": "b", "ownerReferences": [fields] });
    let cases = [
        (
            json!({}),
            "metadata.name: Required value: name or generateName is required",
        ),
        (
            json!({ "name": "A", "namespace": "b" }),
            "metadata.name: Invalid value: \"A\"",
        ),
        (
            json!({ "name": "a", "generateName": "A-", "namespace": "b" }),
            "metadata.generateName: Invalid value",
        ),
        (json!({ "name": "a" }), "metadata.namespace: Required value"),
        (
            json!({ "name": "a", "namespace": "b.c" }),
            "metadata.namespace: Invalid value",
        ),
        (
            json!({ "name": "a", "namespace": "b", "annotations": { "c d": "" } }),
            "metadata.annotations: Invalid value: \"c d\"",
        ),
        (
            json!({ "name": "a", "namespace": "b", "annotations": { "c": "x".repeat(300_000) } }),
            "metadata.annotations: Too long",
        ),
        (
            json!({ "name": "a", "namespace": "b", "finalizers": ["x"] }),
            "neither a standard finalizer name",
        ),
        (
            json!({ "name": "a", "namespace": "b", "finalizers": ["orphan", "foregroundDeletion"] }),
            "cannot be both set",
        ),
        (
            owner(json!({ "apiVersion": "v1", "kind": "X", "name": "y" })),
            "metadata.ownerReferences[0].uid: Invalid value",
        ),
        (
            owner(json!({ "apiVersion": "", "kind": "X", "name": "y", "uid": "z" })),
            "version must not be empty",
        ),
        (
            owner(
                json!({ "apiVersion": "v1", "kind": "X", "name": "y", "uid": "z", "controller": "yes" }),
            ),
            "metadata.ownerReferences[0].controller",
        ),
    ];
    for (metadata, expected) in cases {
        let found = created(metadata.clone());
        assert!(
            found.iter().any(|fault| fault.contains(expected)),
            "{metadata}: {found:?}"
        );
    }
    let good = json!({
        "name": "a.b", "namespace": "c", "generateName": "a.", "labels": { "d.e/f": "g" }, "annotations": { "H": "i j" },
        "finalizers": ["k.l/m", "foregroundDeletion"],
    });
    // `a.` is no good prefix, but `a-` is.
    assert_eq!(created(good.clone()).len(), 1);
    let mut good = good;
    good["generateName"] = "a-".into();
    assert_eq!(created(good), [] as [&str; 0]);
}

#[test]
fn all_labels_together_are_bounded_unless_they_were_there() {
    let with = |labels: Value| object(json!({ "labels": labels }));
    let (none, four, six) = (
        with(json!({})),
        with(json!({ "a": "b", "c": "d" })),
        with(json!({ "a": "b", "c": "def" })),
    );
    for (new, old, good) in [
        (&none, None, true),
        (&four, None, true),
        (&six, None, false),
        (&six, Some(&four), false),
        (&six, Some(&six), true),
        (&four, Some(&six), true),
    ] {
        let causes = labels_fit(new, old, 4);
        let said: Vec<String> = causes.iter().map(ToString::to_string).collect();
        let expected: &[&str] = if good {
            &[]
        } else {
            &["metadata.labels: Too long: may not be more than 4 bytes"]
        };
        assert_eq!(said, expected);
    }
}

#[test]
fn a_cluster_scoped_object_has_no_namespace() {
    let namespaces = ResourceInfo::from_type::<Namespace>(true, &[]).unwrap();
    let causes = metadata_create(
        &object(json!({ "name": "a", "namespace": "b" })),
        &namespaces,
        NameRule::DnsLabel,
    );
    assert_eq!(
        causes[0].to_string(),
        "metadata.namespace: Forbidden: not allowed on this type"
    );
    assert_eq!(
        metadata_create(
            &object(json!({ "name": "a.b" })),
            &namespaces,
            NameRule::DnsLabel
        )
        .len(),
        1
    );
}

#[test]
fn two_controllers_are_one_too_many() {
    let owner = |name: &str| json!({ "apiVersion": "v1", "kind": "X", "name": name, "uid": name, "controller": true });
    let found = created(
        json!({ "name": "a", "namespace": "b", "ownerReferences": [owner("c"), owner("d")] }),
    );
    assert!(
        found[0].contains("Found \"true\" in references for c and d"),
        "{found:?}"
    );
}

#[test]
fn what_the_server_set_stays() {
    let old = object(
        json!({ "name": "a", "uid": "1", "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z" }),
    );
    assert!(metadata_update(&old, &old).is_empty());
    for (field, value) in [
        ("uid", json!("2")),
        ("creationTimestamp", json!("2026-01-02T00:00:00Z")),
        ("generation", json!(1)),
    ] {
        let mut new = old.clone();
        new.metadata_mut().insert(field.into(), value);
        let causes = metadata_update(&new, &old);
        assert_eq!(causes.len(), 1, "{field}");
        assert_eq!(causes[0].field, format!("metadata.{field}"));
    }
}

#[test]
fn a_deleted_object_takes_no_new_finalizers() {
    let old = object(
        json!({ "name": "a", "finalizers": ["x/y", "x/z"], "deletionTimestamp": "2026-01-01T00:00:00Z" }),
    );
    let mut new = old.clone();
    new.remove_finalizer("x/y");
    assert!(metadata_update(&new, &old).is_empty());
    new.add_finalizer("x/new");
    assert!(
        metadata_update(&new, &old)[0]
            .message
            .contains(r#"found new finalizers []string{"x/new"}"#)
    );
}

#[test]
fn paths_are_written_like_kubernetes_writes_them() {
    let path = FieldPath::new("spec")
        .child("taints")
        .index(0)
        .child("labels")
        .key("a/b");
    assert_eq!(path.to_string(), "spec.taints[0].labels[a/b]");
}

proptest! {
    #[test]
    fn generated_names_are_names(prefix in "[a-z]([a-z0-9]{0,80}-)?", entropy: u64) {
        let name = generate_name(&prefix, entropy);
        prop_assert!(dns_label(&name).is_empty(), "{name}");
        prop_assert!(name.len() <= 63);
        prop_assert_eq!(generate_name(&prefix, entropy), name);
    }

    #[test]
    fn any_text_is_judged(text in ".{0,80}", entropy: u64) {
        let _ = (dns_label(&text), dns_subdomain(&text), qualified_name(&text), label_value(&text), path_segment(&text));
        let _ = generate_name(&text, entropy);
    }
}
