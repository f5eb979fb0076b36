use koinon_api::ManifestWork;
use serde_json::{Value, json};

use super::{normalized, object, of};

#[test]
fn embedded_objects_keep_everything_but_unknown_metadata() {
    let work = of::<ManifestWork>();
    let manifest = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "creationTimestamp": null },
        "data": { "a": "b" }, "anything": [{ "goes": null }],
    });
    let (value, unknown) = normalized(
        &work.schema,
        json!({ "metadata": { "name": "w" }, "spec": { "workload": { "manifests": [manifest] } } }),
    );
    assert_eq!(unknown, [] as [&str; 0]);
    let kept = &value["spec"]["workload"]["manifests"][0];
    assert_eq!(kept["anything"], json!([{ "goes": null }]));
    assert_eq!(kept["metadata"], json!({ "name": "c" }));
}

#[test]
fn an_embedded_object_needs_a_type() {
    let work = of::<ManifestWork>();
    let object = object(json!({
        "metadata": { "name": "w" },
        "spec": { "workload": { "manifests": [{ "kind": "ConfigMap", "metadata": { "labels": { "a": 1 } } }] } },
    }));
    let causes: Vec<String> = work
        .schema
        .validate(&object, None)
        .iter()
        .map(ToString::to_string)
        .collect();
    // The third says that the rules of works were not judged.
    assert_eq!(causes.len(), 3, "{causes:?}");
    assert_eq!(
        causes[0],
        "spec.workload.manifests[0].apiVersion: Required value: must not be empty"
    );
    assert!(
        causes[1].starts_with("spec.workload.manifests[0].metadata: Invalid value"),
        "{causes:?}"
    );
}

#[test]
fn an_embedded_object_is_judged_as_one_of_its_own() {
    let work = of::<ManifestWork>();
    let causes = |manifest: Value| -> Vec<String> {
        let object = object(json!({
            "metadata": { "name": "w" }, "spec": { "workload": { "manifests": [manifest] } },
        }));
        let causes = work.schema.validate(&object, None);
        causes.iter().map(ToString::to_string).collect()
    };
    let sound = |metadata: Value| json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata });
    for manifest in [
        json!({ "apiVersion": "v1", "kind": "List", "items": [] }),
        sound(json!({})),
        sound(json!({ "generateName": "a-" })),
        sound(
            json!({ "name": "system:node", "namespace": "n", "labels": { "a/b": "" }, "annotations": { "A": "any thing" } }),
        ),
    ] {
        assert_eq!(causes(manifest.clone()), [] as [&str; 0], "{manifest}");
    }
    for (manifest, field) in [
        (json!({ "apiVersion": "a/b/c", "kind": "K" }), "apiVersion"),
        (json!({ "apiVersion": "v1", "kind": "Config Map" }), "kind"),
        (json!({ "apiVersion": "v1", "kind": "1K" }), "kind"),
        (sound(json!({ "name": "a/b" })), "metadata.name"),
        (sound(json!({ "namespace": "N" })), "metadata.namespace"),
        (
            sound(json!({ "labels": { "a b": "c" } })),
            "metadata.labels",
        ),
        (
            sound(json!({ "labels": { "a": "b c" } })),
            "metadata.labels[a]",
        ),
        (
            sound(json!({ "annotations": { "/": "c" } })),
            "metadata.annotations",
        ),
        (
            sound(json!({ "ownerReferences": [{ "kind": "K", "name": "n", "uid": "u" }] })),
            "metadata.ownerReferences[0].apiVersion",
        ),
    ] {
        let wanted = format!("spec.workload.manifests[0].{field}: Invalid value");
        let found = causes(manifest);
        assert!(
            found.iter().any(|cause| cause.starts_with(&wanted)),
            "{wanted}: {found:?}"
        );
    }
}

/// A work from before its manifests were judged so can be let go of, and mended.
#[test]
fn what_does_not_change_is_not_judged_again() {
    let work = of::<ManifestWork>();
    let with = |name: &str, kind: &str| {
        object(json!({
            "metadata": { "name": "w", "labels": { "a": name } },
            "spec": { "workload": { "manifests": [{ "apiVersion": "v1", "kind": kind }] } },
        }))
    };
    let old = with("b", "Config Map");
    let count = |new| work.schema.validate(&new, Some(&old)).len();
    assert_eq!(count(with("c", "Config Map")), 0);
    assert_eq!(count(with("b", "ConfigMap")), 0);
    assert!(count(with("b", "Other Map")) > 0);
    assert!(!work.schema.validate(&old, None).is_empty());
}
