//! The objects that the benchmark writes.

use serde_json::{Value, json};

/// A ConfigMap of about one kilobyte: the usual size of a small object.
pub(super) fn config_map(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "labels": { "app": "bench" } },
        "data": { "payload": "x".repeat(900) },
    })
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
