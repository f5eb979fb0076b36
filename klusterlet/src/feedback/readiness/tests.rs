use serde_json::json;

use super::*;

/// `T`, `F`, `U`, or `-` where nothing is said, for available, progressing, degraded.
fn short(object: &Value) -> String {
    let readiness = assess(object);
    [
        readiness.available,
        readiness.progressing,
        readiness.degraded,
    ]
    .into_iter()
    .map(|finding| finding.map_or('-', |f| f.truth.as_str().chars().next().unwrap_or('?')))
    .collect()
}

fn object(api_version: &str, kind: &str, spec: Value, status: Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a", "generation": 2}, "spec": spec, "status": status})
}

fn check(cases: &[(&str, &str, Value, Value, &str)]) {
    for (api_version, kind, spec, status, expected) in cases {
        let object = object(api_version, kind, spec.clone(), status.clone());
        assert_eq!(short(&object), *expected, "{object}");
    }
}

#[test]
fn workloads_are_judged_as_by_rollout_status() {
    let deployment = |status: Value, expected| {
        (
            "apps/v1",
            "Deployment",
            json!({"replicas": 3}),
            status,
            expected,
        )
    };
    let sts =
        |spec: Value, status: Value, expected| ("apps/v1", "StatefulSet", spec, status, expected);
    let ds = |status: Value, expected| ("apps/v1", "DaemonSet", json!({}), status, expected);
    check(&[
        deployment(json!({}), "FTF"),
        deployment(
            json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}),
            "TTF",
        ),
        deployment(
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}),
            "TFF",
        ),
        deployment(
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 3}),
            "TTF",
        ),
        deployment(
            json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 3, "availableReplicas": 4}),
            "TTF",
        ),
        deployment(
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 2, "conditions": [{"type": "Available", "status": "True"}]}),
            "TTF",
        ),
        deployment(
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 0, "conditions": [
            {"type": "Available", "status": "False"}, {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}),
            "FTT",
        ),
        deployment(
            json!({"observedGeneration": 2, "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}]}),
            "FTT",
        ),
        (
            "apps/v1",
            "Deployment",
            json!({"replicas": 0}),
            json!({"observedGeneration": 2}),
            "TFF",
        ),
        sts(
            json!({"replicas": 2}),
            json!({"observedGeneration": 2, "replicas": 2, "availableReplicas": 2, "updateRevision": "b", "currentRevision": "b"}),
            "TFF",
        ),
        sts(
            json!({"replicas": 2}),
            json!({"observedGeneration": 2, "replicas": 2, "availableReplicas": 2, "updatedReplicas": 1, "updateRevision": "b", "currentRevision": "a"}),
            "TTF",
        ),
        sts(
            json!({"replicas": 2, "updateStrategy": {"type": "OnDelete"}}),
            json!({"observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "updateRevision": "b", "currentRevision": "a"}),
            "TFF",
        ),
        sts(
            json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}),
            json!({"observedGeneration": 2, "replicas": 3, "availableReplicas": 3, "updatedReplicas": 1, "updateRevision": "b", "currentRevision": "a"}),
            "TFF",
        ),
        sts(
            json!({}),
            json!({"observedGeneration": 2, "replicas": 1, "availableReplicas": 0}),
            "FTF",
        ),
        ds(json!({}), "FTF"),
        ds(
            json!({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}),
            "TFF",
        ),
        ds(
            json!({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 1, "numberAvailable": 2}),
            "TTF",
        ),
        ds(json!({"observedGeneration": 2}), "TFF"),
        (
            "apps/v1",
            "ReplicaSet",
            json!({"replicas": 2}),
            json!({"observedGeneration": 2, "replicas": 2, "availableReplicas": 1}),
            "FTF",
        ),
    ]);
}

#[test]
fn what_runs_once_or_is_bound_or_addressed() {
    let job = |status: Value, expected| ("batch/v1", "Job", json!({}), status, expected);
    let pod = |status: Value, expected| ("v1", "Pod", json!({}), status, expected);
    check(&[
        job(json!({"active": 1}), "TTF"),
        job(
            json!({"conditions": [{"type": "Complete", "status": "True"}]}),
            "TFF",
        ),
        job(
            json!({"conditions": [{"type": "Failed", "status": "True", "message": "too often"}]}),
            "FFT",
        ),
        (
            "batch/v1",
            "Job",
            json!({"suspend": true}),
            json!({}),
            "TFF",
        ),
        pod(json!({"phase": "Pending"}), "FTF"),
        pod(
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
            "TFF",
        ),
        pod(
            json!({"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            "FTT",
        ),
        pod(
            json!({"phase": "Pending", "containerStatuses": [
                {"state": {"waiting": {"reason": "ContainerCreating"}}}, {"state": {"waiting": {"reason": "ErrImagePull"}}}]}),
            "FTT",
        ),
        pod(json!({"phase": "Succeeded"}), "TFF"),
        pod(json!({"phase": "Failed", "message": "evicted"}), "FFT"),
        (
            "v1",
            "PersistentVolumeClaim",
            json!({}),
            json!({"phase": "Bound"}),
            "TFF",
        ),
        (
            "v1",
            "PersistentVolumeClaim",
            json!({}),
            json!({"phase": "Pending"}),
            "FTF",
        ),
        (
            "v1",
            "PersistentVolumeClaim",
            json!({}),
            json!({"phase": "Lost"}),
            "FFT",
        ),
        (
            "v1",
            "Service",
            json!({"type": "ClusterIP"}),
            json!({"loadBalancer": {}}),
            "TF-",
        ),
        (
            "v1",
            "Service",
            json!({"type": "LoadBalancer"}),
            json!({"loadBalancer": {}}),
            "FT-",
        ),
        (
            "v1",
            "Service",
            json!({"type": "LoadBalancer"}),
            json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}),
            "TF-",
        ),
        (
            "networking.k8s.io/v1",
            "Ingress",
            json!({}),
            json!({"loadBalancer": {}}),
            "FT-",
        ),
        (
            "v1",
            "Namespace",
            json!({}),
            json!({"phase": "Active"}),
            "T--",
        ),
        (
            "v1",
            "Namespace",
            json!({}),
            json!({"phase": "Terminating"}),
            "F--",
        ),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({}),
            json!({"conditions": [{"type": "Established", "status": "True"}]}),
            "TFF",
        ),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({}),
            json!({"conditions": [{"type": "NamesAccepted", "status": "False"}]}),
            "FFT",
        ),
        // A Deployment of somebody else's group is not ours to understand.
        (
            "example.com/v1",
            "Deployment",
            json!({"replicas": 3}),
            json!({}),
            "---",
        ),
    ]);
}

#[test]
fn other_kinds_are_judged_by_their_usual_conditions() {
    let widget =
        |status: Value, expected| ("example.com/v1", "Widget", json!({}), status, expected);
    let conditions = |all: Value| json!({"observedGeneration": 2, "conditions": all});
    check(&[
        ("v1", "ConfigMap", json!({}), Value::Null, "---"),
        widget(json!({}), "---"),
        widget(
            conditions(json!([{"type": "Ready", "status": "True"}])),
            "TF-",
        ),
        widget(
            conditions(json!([{"type": "Ready", "status": "Unknown"}])),
            "UT-",
        ),
        widget(
            conditions(
                json!([{"type": "Available", "status": "False"}, {"type": "Degraded", "status": "True"}]),
            ),
            "FTT",
        ),
        widget(
            conditions(
                json!([{"type": "Ready", "status": "True"}, {"type": "Reconciling", "status": "True"}]),
            ),
            "TT-",
        ),
        widget(
            conditions(json!([{"type": "Stalled", "status": "True"}])),
            "--T",
        ),
        widget(
            json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}),
            "TT-",
        ),
        widget(
            conditions(
                json!([{"type": "Available", "status": "True"}, {"type": "Progressing", "status": "True", "reason": "NewReplicationControllerAvailable"}]),
            ),
            "TF-",
        ),
        widget(
            conditions(
                json!([{"type": "Available", "status": "True"}, {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]),
            ),
            "TFT",
        ),
        // Many say in each condition which spec it is about, and nowhere else.
        widget(
            json!({"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 2}]}),
            "TF-",
        ),
        widget(
            json!({"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 1}]}),
            "TT-",
        ),
        widget(
            json!({"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 2},
                {"type": "Stalled", "status": "True", "observedGeneration": 1}]}),
            "TFF",
        ),
        // Some put something else where conditions are usual.
        widget(json!({"conditions": "fine"}), "---"),
        widget(json!({"conditions": ["x", {"type": 3}]}), "---"),
    ]);
}
