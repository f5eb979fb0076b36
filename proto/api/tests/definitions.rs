//! What the kinds promise to API servers: definitions that are structural and say what OCM's say.

#![allow(clippy::unwrap_used)]

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use koinon_api::{
    AddOnPlacementScore, AppliedManifestWork, ClusterClaim, JoinToken, ManagedCluster,
    ManagedClusterSet, ManagedClusterSetBinding, ManifestWork, ManifestWorkReplicaSet, Placement,
    PlacementDecision, WorkPolicy,
};
use kube::CustomResourceExt;
use serde_json::{Value, json};

fn definitions() -> Vec<CustomResourceDefinition> {
    vec![
        ManagedCluster::crd(),
        ManagedClusterSet::crd(),
        ManagedClusterSetBinding::crd(),
        ClusterClaim::crd(),
        Placement::crd(),
        PlacementDecision::crd(),
        AddOnPlacementScore::crd(),
        ManifestWork::crd(),
        ManifestWorkReplicaSet::crd(),
        AppliedManifestWork::crd(),
        JoinToken::crd(),
        WorkPolicy::crd(),
    ]
}

fn schema(definition: &CustomResourceDefinition) -> Value {
    serde_json::to_value(
        definition.spec.versions[0]
            .schema
            .as_ref()
            .unwrap()
            .open_api_v3_schema
            .as_ref()
            .unwrap(),
    )
    .unwrap()
}

/// Goes down by property names; `[]` is the items of a list.
fn at<'a>(schema: &'a Value, path: &str) -> &'a Value {
    path.split('.')
        .fold(schema, |schema, step| match step.strip_suffix("[]") {
            Some(name) => &schema["properties"][name]["items"],
            None => &schema["properties"][step],
        })
}

/// Calls `visit` with every schema and its path.
fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        walk(child, &format!("{path}.{name}"), visit);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            walk(&schema[key], &format!("{path}[]"), visit);
        }
    }
}

#[test]
fn every_definition_is_structural() {
    for definition in definitions() {
        let name = definition.metadata.name.clone().unwrap();
        walk(&schema(&definition), &name, &mut |path, schema| {
            let open = schema["x-kubernetes-int-or-string"] == true;
            assert!(
                open || schema["type"].is_string(),
                "{path} has no type: {schema}"
            );
            assert!(
                schema.get("oneOf").is_none() && schema.get("$ref").is_none(),
                "{path}: {schema}"
            );
            if schema["type"] == "array" {
                assert!(schema["items"].is_object(), "{path} has no items");
            }
            let nullable = schema.get("nullable") == Some(&json!(true));
            assert_eq!(
                nullable,
                path.ends_with(".timeAdded"),
                "{path} is nullable: {nullable}"
            );
            for key in schema["x-kubernetes-list-map-keys"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let key = key.as_str().unwrap();
                assert!(
                    schema["items"]["properties"][key].is_object(),
                    "{path} has no key {key}"
                );
                let required = schema["items"]["required"]
                    .as_array()
                    .is_some_and(|r| r.contains(&json!(key)));
                let defaulted = schema["items"]["properties"][key].get("default").is_some();
                assert!(
                    required || defaulted,
                    "{path}: key {key} is neither required nor defaulted"
                );
            }
        });
    }
}

#[test]
fn every_field_explains_itself() {
    for definition in definitions() {
        let name = definition.metadata.name.clone().unwrap();
        let schema = schema(&definition);
        assert!(schema["description"].is_string(), "{name}");
        for part in ["spec", "status"] {
            walk(&schema["properties"][part], part, &mut |path, schema| {
                assert!(
                    schema.is_null() || path.ends_with("[]") || schema["description"].is_string(),
                    "{name}: {path}"
                );
            });
        }
    }
}

#[test]
fn definitions_are_as_recorded() {
    let shapes: Vec<Value> = definitions()
        .iter()
        .map(|d| {
            let version = &d.spec.versions[0];
            json!({
                "name": d.metadata.name, "kind": d.spec.names.kind, "version": version.name, "scope": d.spec.scope,
                "singular": d.spec.names.singular, "shortNames": d.spec.names.short_names,
                "status": version.subresources.as_ref().is_some_and(|s| s.status.is_some()),
                "columns": version.additional_printer_columns.iter().flatten()
                    .map(|c| format!("{} {} {}", c.name, c.type_, c.json_path)).collect::<Vec<_>>(),
            })
        })
        .collect();
    insta::assert_json_snapshot!("shapes", shapes);
    for definition in definitions() {
        let mut schema = schema(&definition);
        strip_descriptions(&mut schema);
        insta::assert_json_snapshot!(definition.spec.names.kind.clone(), schema);
    }
}

fn strip_descriptions(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.get("description").is_some_and(Value::is_string) {
                object.remove("description");
            }
            object.values_mut().for_each(strip_descriptions);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_descriptions),
        _ => {}
    }
}

#[test]
fn defaults_and_bounds_are_ocms() {
    let cluster = schema(&ManagedCluster::crd());
    assert_eq!(cluster["required"], json!(["spec"]));
    assert_eq!(at(&cluster, "spec.leaseDurationSeconds")["default"], 60);
    assert_eq!(
        at(&cluster, "spec.taints[]")["required"],
        json!(["effect", "key"])
    );
    assert_eq!(
        at(&cluster, "spec.taints[].effect")["enum"],
        json!(["NoSelect", "PreferNoSelect", "NoSelectIfNew"])
    );
    assert_eq!(
        at(&cluster, "status.conditions")["x-kubernetes-list-map-keys"],
        json!(["type"])
    );

    let set = schema(&ManagedClusterSet::crd());
    assert_eq!(
        at(&set, "spec")["default"],
        json!({ "clusterSelector": { "selectorType": "ExclusiveClusterSetLabel" } })
    );

    let placement = schema(&Placement::crd());
    assert_eq!(at(&placement, "spec.numberOfClusters").get("minimum"), None);
    assert_eq!(
        at(&placement, "spec.prioritizerPolicy.mode")["default"],
        "Additive"
    );
    assert_eq!(
        at(&placement, "spec.prioritizerPolicy.mode").get("enum"),
        None
    );
    let weight = at(&placement, "spec.prioritizerPolicy.configurations[].weight");
    assert_eq!(
        (&weight["default"], &weight["minimum"], &weight["maximum"]),
        (&json!(1), &json!(-10.0), &json!(10.0))
    );
    let per_group = at(
        &placement,
        "spec.decisionStrategy.groupStrategy.clustersPerDecisionGroup",
    );
    assert_eq!(
        (
            &per_group["default"],
            &per_group["x-kubernetes-int-or-string"]
        ),
        (&json!("100%"), &json!(true))
    );

    let work = schema(&ManifestWork::crd());
    assert_eq!(
        at(&work, "spec.manifestConfigs[].conditionRules[].condition").get("default"),
        None
    );
    let manifest = at(&work, "spec.workload.manifests[]");
    assert_eq!(manifest["x-kubernetes-preserve-unknown-fields"], true);
    assert_eq!(manifest["x-kubernetes-embedded-resource"], true);
    assert_eq!(
        at(&work, "spec.deleteOption.propagationPolicy")["default"],
        "Foreground"
    );
    assert!(at(&work, "spec.deleteOption.selectivelyOrphans").is_object());
    assert_eq!(
        at(&work, "spec.manifestConfigs[].updateStrategy.type")["default"],
        "Update"
    );

    let set = schema(&ManifestWorkReplicaSet::crd());
    assert_eq!(
        at(&set, "spec")["required"],
        json!(["cascadeDeletionPolicy", "placementRefs"])
    );
    assert_eq!(at(&set, "spec.placementRefs").get("default"), None);
    let strategy = at(&set, "spec.placementRefs[].rolloutStrategy");
    assert_eq!(
        strategy["default"],
        json!({ "type": "All", "all": { "progressDeadline": "None" } })
    );
}

#[test]
fn a_status_has_no_defaults() {
    for definition in definitions() {
        let name = definition.metadata.name.clone().unwrap();
        walk(
            &schema(&definition)["properties"]["status"],
            "status",
            &mut |path, schema| {
                assert!(schema.get("default").is_none(), "{name}: {path}");
            },
        );
    }
}
