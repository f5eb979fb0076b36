//! Objects as OCM's users write them are read, and written back as Go would write them.

#![allow(clippy::unwrap_used)]

use k8s_openapi::jiff::Timestamp;
use koinon_api::{
    ManagedCluster, ManagedClusterSet, ManifestWork, ManifestWorkReplicaSet, Placement,
    PlacementDecision, meta,
    work::{DeletePropagationPolicy, UpdateStrategyType},
    workset::RolloutType,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn read<K: DeserializeOwned>(object: &Value) -> K {
    serde_json::from_value(object.clone()).unwrap()
}

/// Reads the object and writes it back.
fn through<K: DeserializeOwned + Serialize>(object: &Value) -> Value {
    serde_json::to_value(read::<K>(object)).unwrap()
}

#[test]
fn a_cluster_without_anything_has_what_go_would_write() {
    let bare = json!({ "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster", "metadata": { "name": "east" }, "spec": {} });
    let mut expected = bare.clone();
    expected["spec"] = json!({ "hubAcceptsClient": false, "leaseDurationSeconds": 60 });
    assert_eq!(through::<ManagedCluster>(&bare), expected);
}

#[test]
fn a_full_cluster_comes_back_unchanged() {
    let full = json!({
        "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
        "metadata": { "name": "east", "labels": { "region": "eu" } },
        "spec": {
            "hubAcceptsClient": true, "leaseDurationSeconds": 10,
            "managedClusterClientConfigs": [{ "url": "https://east:6443", "caBundle": "Y2E=" }],
            "taints": [{ "key": "maintenance", "value": "soon", "effect": "NoSelectIfNew", "timeAdded": "2026-01-02T03:04:05Z" }],
        },
        "status": {
            "conditions": [{ "type": "ManagedClusterJoined", "status": "True", "reason": "ManagedClusterJoined", "message": "Managed cluster joined", "lastTransitionTime": "2026-01-02T03:04:05Z" }],
            "capacity": { "cpu": "8", "memory": "32Gi" }, "allocatable": { "cpu": "7500m" },
            "version": { "kubernetes": "v1.33.1" },
            "clusterClaims": [{ "name": "id.k8s.io", "value": "u-1" }],
            "managedNamespaces": [{ "name": "apps", "clusterSet": "default" }],
        },
    });
    assert_eq!(through::<ManagedCluster>(&full), full);
}

#[test]
fn a_placement_comes_back_unchanged() {
    let placement = json!({
        "apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "Placement",
        "metadata": { "name": "two", "namespace": "apps" },
        "spec": {
            "numberOfClusters": 2, "clusterSets": ["prod"],
            "predicates": [{ "requiredClusterSelector": {
                "labelSelector": { "matchLabels": { "region": "eu" }, "matchExpressions": [{ "key": "tier", "operator": "In", "values": ["a", "b"] }] },
                "claimSelector": { "matchExpressions": [{ "key": "platform.open-cluster-management.io", "operator": "Exists" }] },
            } }],
            "prioritizerPolicy": { "mode": "Exact", "configurations": [
                { "scoreCoordinate": { "type": "BuiltIn", "builtIn": "Steady" }, "weight": 3 },
                { "scoreCoordinate": { "type": "AddOn", "addOn": { "resourceName": "demo", "scoreName": "cpu" } } },
            ] },
            "tolerations": [{ "key": "cluster.open-cluster-management.io/unreachable", "operator": "Exists", "tolerationSeconds": 30 }],
            "decisionStrategy": { "groupStrategy": { "clustersPerDecisionGroup": 1, "decisionGroups": [
                { "groupName": "canary", "groupClusterSelector": { "labelSelector": { "matchLabels": { "canary": "true" } } } },
            ] } },
        },
        "status": { "numberOfSelectedClusters": 1, "decisionGroups": [{ "decisionGroupIndex": 0, "decisionGroupName": "", "decisions": ["two-decision-1"], "clusterCount": 1 }] },
    });
    assert_eq!(through::<Placement>(&placement), placement);
}

#[test]
fn a_decision_has_no_spec_and_keeps_an_empty_reason() {
    let decision = json!({
        "apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "PlacementDecision",
        "metadata": { "name": "two-decision-1", "namespace": "apps" },
        "status": { "decisions": [{ "clusterName": "east", "reason": "" }] },
    });
    assert_eq!(through::<PlacementDecision>(&decision), decision);
    let bare = json!({ "metadata": { "name": "x" } });
    assert!(read::<PlacementDecision>(&bare).status.is_none());
}

#[test]
fn manifests_are_kept_to_the_last_field() {
    let work = json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
        "metadata": { "name": "web", "namespace": "east" },
        "spec": {
            "workload": { "manifests": [{ "apiVersion": "example.com/v1", "kind": "Anything", "metadata": { "name": "a" }, "spec": { "x": [1, null, { "y": 1.5 }] } }] },
            "deleteOption": { "propagationPolicy": "SelectivelyOrphan", "selectivelyOrphans": { "orphaningRules": [{ "resource": "configmaps", "namespace": "d", "name": "keep" }] } },
            "manifestConfigs": [{
                "resourceIdentifier": { "group": "apps", "resource": "deployments", "namespace": "d", "name": "web" },
                "feedbackRules": [{ "type": "JSONPaths", "jsonPaths": [{ "name": "n", "path": ".status.n" }] }, { "type": "WellKnownStatus" }],
                "updateStrategy": { "type": "ServerSideApply", "serverSideApply": { "force": true, "ignoreFields": [{ "condition": "OnSpokeChange", "jsonPaths": [".spec.replicas"] }] } },
                "conditionRules": [{ "condition": "Ok", "type": "CEL", "celExpressions": ["true"] }],
            }],
            "executor": { "subject": { "type": "ServiceAccount", "serviceAccount": { "namespace": "d", "name": "deployer" } } },
        },
        "status": { "resourceStatus": { "manifests": [{
            "resourceMeta": { "ordinal": 0, "group": "apps", "version": "v1", "kind": "Deployment", "resource": "deployments", "name": "web", "namespace": "d" },
            "conditions": [],
            "statusFeedback": { "values": [{ "name": "n", "fieldValue": { "type": "Integer", "integer": 3 } }] },
        }] } },
    });
    assert_eq!(through::<ManifestWork>(&work), work);
    let read = read::<ManifestWork>(&work);
    assert_eq!(
        read.spec.delete_option.unwrap().propagation_policy,
        DeletePropagationPolicy::SelectivelyOrphan
    );
    assert_eq!(
        read.spec.manifest_configs[0]
            .update_strategy
            .as_ref()
            .unwrap()
            .type_,
        UpdateStrategyType::ServerSideApply
    );
}

#[test]
fn a_replica_set_gets_its_defaults_when_read() {
    let set: ManifestWorkReplicaSet = read(&json!({
        "metadata": { "name": "web", "namespace": "apps" },
        "spec": { "manifestWorkTemplate": { "workload": { "manifests": [] } }, "placementRefs": [{ "name": "two" }] },
    }));
    let strategy = &set.spec.placement_refs[0].rollout_strategy;
    assert_eq!(strategy.type_, RolloutType::All);
    assert_eq!(
        strategy.all.as_ref().unwrap().progress_deadline.as_deref(),
        Some("None")
    );
    assert_eq!(
        serde_json::to_value(&set).unwrap()["spec"]["cascadeDeletionPolicy"],
        "Background"
    );
}

#[test]
fn a_set_without_a_selector_is_exclusive() {
    let set: ManagedClusterSet = read(&json!({ "metadata": { "name": "prod" }, "spec": {} }));
    assert_eq!(
        serde_json::to_value(&set.spec).unwrap(),
        json!({ "clusterSelector": { "selectorType": "ExclusiveClusterSetLabel" } })
    );
}

#[test]
fn a_transition_time_moves_only_with_the_status() {
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let mut conditions = vec![];
    assert!(meta::set_condition(
        &mut conditions,
        meta::new_condition("Ready", meta::Truth::True, "A", "", at(1))
    ));
    assert!(!meta::set_condition(
        &mut conditions,
        meta::new_condition("Ready", meta::Truth::True, "A", "", at(2))
    ));
    assert!(meta::set_condition(
        &mut conditions,
        meta::new_condition("Ready", meta::Truth::True, "B", "", at(3))
    ));
    assert_eq!(conditions[0].last_transition_time.0, at(1));
    assert!(meta::set_condition(
        &mut conditions,
        meta::new_condition("Ready", meta::Truth::False, "B", "", at(4))
    ));
    assert_eq!(conditions[0].last_transition_time.0, at(4));
    assert!(
        !meta::is_true(&conditions, "Ready")
            && meta::remove_condition(&mut conditions, "Ready")
            && conditions.is_empty()
    );
}
