//! Objects that are nearly right, and bodies that are damaged.

use rand::{RngExt as _, rngs::StdRng};
use serde_json::{Value, json};

const CLUSTER: &str = "cluster.open-cluster-management.io";
const WORK: &str = "work.open-cluster-management.io";

/// A kind: where its objects are, and one of them.
pub(crate) fn kinds() -> Vec<(String, Value)> {
    let of = |path: &str, api: &str, kind: &str, rest: Value| {
        let mut object = json!({ "apiVersion": api, "kind": kind, "metadata": { "name": "odd", "labels": { "a": "b" } } });
        if let (Some(object), Value::Object(rest)) = (object.as_object_mut(), rest) {
            object.extend(rest);
        }
        (path.to_owned(), object)
    };
    let core = |plural: &str| format!("/api/v1/namespaces/default/{plural}");
    let ocm = |group: &str, version: &str, plural: &str| {
        format!("/apis/{group}/{version}/namespaces/default/{plural}")
    };
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let manifest = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "namespace": "n" }, "data": { "a": "1" } });
    vec![
        of(
            &core("configmaps"),
            "v1",
            "ConfigMap",
            json!({ "data": { "k": "v" }, "binaryData": { "b": "Yg==" } }),
        ),
        of(
            &core("secrets"),
            "v1",
            "Secret",
            json!({ "data": { "k": "dg==" }, "stringData": { "s": "t" }, "type": "Opaque" }),
        ),
        of(
            &core("events"),
            "v1",
            "Event",
            json!({ "involvedObject": { "namespace": "default", "name": "x" }, "reason": "R", "message": "m", "count": 1 }),
        ),
        of(
            &core("serviceaccounts"),
            "v1",
            "ServiceAccount",
            json!({ "secrets": [{ "name": "s" }] }),
        ),
        of(
            "/api/v1/namespaces",
            "v1",
            "Namespace",
            json!({ "spec": { "finalizers": ["kubernetes"] } }),
        ),
        of(
            &format!("/apis/{CLUSTER}/v1/managedclusters"),
            &format!("{CLUSTER}/v1"),
            "ManagedCluster",
            json!({ "spec": { "hubAcceptsClient": false, "leaseDurationSeconds": 60, "taints": [{ "key": "a", "value": "b", "effect": "NoSelect" }] } }),
        ),
        of(
            &format!("/apis/{CLUSTER}/v1beta2/managedclustersets"),
            &format!("{CLUSTER}/v1beta2"),
            "ManagedClusterSet",
            json!({ "spec": { "clusterSelector": { "selectorType": "LabelSelector", "labelSelector": { "matchLabels": { "a": "b" } } } } }),
        ),
        of(
            &ocm(CLUSTER, "v1beta1", "placements"),
            &format!("{CLUSTER}/v1beta1"),
            "Placement",
            json!({ "spec": { "numberOfClusters": 1, "predicates": [{ "requiredClusterSelector": { "labelSelector": { "matchExpressions": [{ "key": "a", "operator": "In", "values": ["b"] }] } } }],
                "tolerations": [{ "key": "a", "operator": "Exists", "tolerationSeconds": 5 }] } }),
        ),
        of(
            &ocm(WORK, "v1", "manifestworks"),
            &format!("{WORK}/v1"),
            "ManifestWork",
            json!({ "spec": { "workload": { "manifests": [manifest] }, "manifestConfigs": [{
                "resourceIdentifier": { "group": "", "resource": "configmaps", "name": "c", "namespace": "n" },
                "conditionRules": [{ "type": "CEL", "condition": "x", "celExpressions": ["true"] }] }] } }),
        ),
        of(
            &ocm(WORK, "v1alpha1", "manifestworkreplicasets"),
            &format!("{WORK}/v1alpha1"),
            "ManifestWorkReplicaSet",
            json!({ "spec": { "placementRefs": [{ "name": "p", "rolloutStrategy": { "type": "Progressive", "progressive": { "maxConcurrency": "25%" } } }],
                "manifestWorkTemplate": { "workload": { "manifests": [manifest] } } } }),
        ),
        of(
            &format!("{rbac}/roles"),
            "rbac.authorization.k8s.io/v1",
            "Role",
            json!({ "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] }] }),
        ),
        of(
            &format!("{rbac}/rolebindings"),
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            json!({ "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "odd" }, "subjects": [{ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "ann" }] }),
        ),
        of(
            "/apis/koinon.dev/v1alpha1/jointokens",
            "koinon.dev/v1alpha1",
            "JoinToken",
            json!({ "spec": { "expiresAt": "2099-01-01T00:00:00Z", "uses": 1 } }),
        ),
        of(
            &core("serviceaccounts/default/token"),
            "authentication.k8s.io/v1",
            "TokenRequest",
            json!({ "spec": { "audiences": ["x"], "expirationSeconds": 600 } }),
        ),
        of(
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            "authorization.k8s.io/v1",
            "SubjectAccessReview",
            json!({ "spec": { "user": "ann", "groups": ["g"], "extra": { "k": ["v"] }, "resourceAttributes": { "verb": "get", "resource": "pods", "namespace": "x" } } }),
        ),
        of(
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            "authorization.k8s.io/v1",
            "SelfSubjectRulesReview",
            json!({ "spec": { "namespace": "default" } }),
        ),
        of(
            "/apis/authentication.k8s.io/v1/tokenreviews",
            "authentication.k8s.io/v1",
            "TokenReview",
            json!({ "spec": { "token": "x", "audiences": ["y"] } }),
        ),
    ]
}

/// A value that is at the wrong place almost everywhere.
pub(crate) fn odd(random: &mut StdRng) -> Value {
    match random.random_range(0..16) {
        0 => Value::Null,
        1 => json!(-1),
        2 => json!(1e308),
        3 => json!(u64::MAX),
        4 => json!(i64::MIN),
        5 => json!(0.1),
        6 => json!(""),
        7 => json!("\u{0}\u{202e}\u{fffd}"),
        8 => json!("x".repeat(70_000)),
        9 => json!([]),
        10 => json!({}),
        11 => json!([null, [null], { "": null }]),
        12 => json!({ "": "", "a/b/c": { "~0~1": 1 } }),
        13 => json!(true),
        14 => (0..50).fold(json!(1), |inner, _| json!({ "a": [inner] })),
        _ => json!("99999999999999999999"),
    }
}

/// Puts something odd at a random place.
pub(crate) fn spoil(random: &mut StdRng, value: &mut Value) {
    let here = random.random_bool(0.25);
    match value {
        Value::Object(fields) if !here && !fields.is_empty() => {
            let at = random.random_range(0..fields.len());
            let name = fields.keys().nth(at).cloned().unwrap_or_default();
            match random.random_range(0..6) {
                0 => drop(fields.remove(&name)),
                1 => drop(fields.insert(format!("{name}\u{e9}"), odd(random))),
                _ => {
                    if let Some(below) = fields.get_mut(&name) {
                        spoil(random, below);
                    }
                }
            }
        }
        Value::Array(items) if !here && !items.is_empty() => {
            let at = random.random_range(0..items.len());
            if random.random_bool(0.3) {
                items.push(items[at].clone());
            } else {
                spoil(random, &mut items[at]);
            }
        }
        value => *value = odd(random),
    }
}

/// The text of a value after it was damaged, now and then.
pub(crate) fn damaged(random: &mut StdRng, value: &Value) -> Vec<u8> {
    let mut bytes = value.to_string().into_bytes();
    for _ in 0..random.random_range(0..3) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..3) {
            0 => bytes[at] = random.random(),
            1 => bytes.truncate(at.max(1)),
            _ => drop(bytes.splice(at..at, [0xff, 0x00, b'"'])),
        }
    }
    bytes
}

/// What gzip makes of something.
pub(crate) fn zipped(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes)?;
    Ok(gzip.finish()?)
}
