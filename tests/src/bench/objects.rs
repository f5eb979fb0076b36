//! The objects that the benchmark writes.

use serde_json::{Value, json};

/// Where the config maps of the benchmark are.
pub(super) const CONFIG_MAPS: &str = "/api/v1/namespaces/bench/configmaps";

/// A ConfigMap of about one kilobyte: the usual size of a small object.
pub(super) fn config_map(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "labels": { "app": "bench" } },
        "data": { "payload": "x".repeat(900) },
    })
}

/// A ConfigMap with next to nothing in it.
pub(super) fn small_config_map(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": "b" },
    })
}

/// A merge patch of a work's status, of the size that an agent reports; each `count` makes another one.
pub(super) fn status(count: usize) -> Value {
    let condition = |kind: &str, reason: &str| {
        json!({
            "type": kind, "status": "True", "reason": reason, "message": format!("report {count}"),
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let both = json!([
        condition("Applied", "AppliedManifestComplete"),
        condition("Available", "ResourceAvailable"),
    ]);
    json!({ "status": {
        "conditions": both,
        "resourceStatus": { "manifests": [{
            "resourceMeta": {
                "ordinal": 0, "group": "apps", "version": "v1", "kind": "Deployment", "resource": "deployments",
                "namespace": "default", "name": "one",
            },
            "statusFeedback": {}, "conditions": both,
        }] },
    } })
}

/// A work with one ConfigMap in it.
pub(super) fn work(name: &str) -> Value {
    let mut manifest = config_map(name);
    manifest["metadata"]["namespace"] = "default".into();
    json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
        "metadata": { "name": name },
        "spec": { "workload": { "manifests": [manifest] } },
    })
}

/// A work with several small ConfigMaps in it.
pub(super) fn several(name: &str, count: usize) -> Value {
    let manifests: Vec<Value> = (0..count)
        .map(|n| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": format!("{name}-{n}"), "namespace": "default", "labels": { "app": "bench" } },
                "data": { "key": "value" },
            })
        })
        .collect();
    json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
        "metadata": { "name": name },
        "spec": { "workload": { "manifests": manifests } },
    })
}

/// A replica set whose manifest carries `version`.
pub(super) fn replica_set(version: &str) -> Value {
    let mut manifest = config_map("fan");
    manifest["metadata"]["namespace"] = "default".into();
    manifest["data"]["version"] = version.into();
    json!({
        "apiVersion": "work.open-cluster-management.io/v1alpha1", "kind": "ManifestWorkReplicaSet",
        "metadata": { "name": "fan", "namespace": "bench" },
        "spec": {
            "placementRefs": [{ "name": "all" }],
            "manifestWorkTemplate": { "workload": { "manifests": [manifest] } },
        },
    })
}
