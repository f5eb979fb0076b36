use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{ConfigMap, Namespace},
};
use koinon_api::{ManagedCluster, ManifestWork};
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::OpenApi;
use crate::ResourceInfo;

fn openapi() -> OpenApi {
    let resources = [
        ResourceInfo::from_crd(&ManagedCluster::crd()).unwrap(),
        ResourceInfo::from_crd(&ManifestWork::crd()).unwrap(),
        ResourceInfo::from_type::<Namespace>(true, &[]).unwrap(),
        ResourceInfo::from_type::<ConfigMap>(false, &[]).unwrap(),
        ResourceInfo::from_type::<Lease>(false, &[]).unwrap(),
    ];
    let resources: Vec<Arc<ResourceInfo>> = resources.into_iter().map(Arc::new).collect();
    OpenApi::new(&resources, "0.1.0")
}

fn document(path: &str) -> Value {
    serde_json::from_slice(&openapi().document(path).unwrap().body).unwrap()
}

#[test]
fn the_index_names_every_group_version_with_its_hash() {
    let openapi = openapi();
    let index: Value = serde_json::from_slice(&openapi.index().body).unwrap();
    let paths: Vec<&String> = index["paths"].as_object().unwrap().keys().collect();
    assert_eq!(
        paths,
        [
            "api/v1",
            "apis/cluster.open-cluster-management.io/v1",
            "apis/coordination.k8s.io/v1",
            "apis/work.open-cluster-management.io/v1",
        ]
    );
    let hash = &openapi.document("api/v1").unwrap().hash;
    assert_eq!(
        index["paths"]["api/v1"]["serverRelativeURL"],
        format!("/openapi/v3/api/v1?hash={hash}")
    );
}

/// kubectl looks for the `fieldValidation` parameter on the PATCH operation of the kind, and for the media types there.
#[test]
fn patches_say_what_kubectl_asks() {
    let works = document("apis/work.open-cluster-management.io/v1");
    let patch = &works["paths"]["/apis/work.open-cluster-management.io/v1/namespaces/{namespace}/manifestworks/{name}"]
        ["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({ "group": "work.open-cluster-management.io", "version": "v1", "kind": "ManifestWork" })
    );
    assert!(
        patch["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .any(|parameter| parameter["name"] == "fieldValidation")
    );
    let strategic = "application/strategic-merge-patch+json";
    assert!(patch["requestBody"]["content"].get(strategic).is_none());
    let core = document("api/v1");
    let patch = &core["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"]["patch"];
    assert!(patch["requestBody"]["content"].get(strategic).is_some());
}

#[test]
fn kinds_are_found_by_group_version_and_kind() {
    let clusters = document("apis/cluster.open-cluster-management.io/v1");
    let schema =
        &clusters["components"]["schemas"]["io.open-cluster-management.cluster.v1.ManagedCluster"];
    assert_eq!(
        schema["x-kubernetes-group-version-kind"][0]["kind"],
        "ManagedCluster"
    );
    assert_eq!(
        schema["properties"]["spec"]["properties"]["leaseDurationSeconds"]["type"],
        "integer"
    );
    assert_eq!(
        schema["properties"]["metadata"]["allOf"],
        json!([{ "$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" }])
    );
    let core = document("api/v1");
    let schemas = core["components"]["schemas"].as_object().unwrap();
    assert!(
        schemas.contains_key("io.k8s.api.core.v1.ConfigMap")
            && schemas.contains_key("io.k8s.api.core.v1.NamespaceList")
    );
    let leases = document("apis/coordination.k8s.io/v1");
    assert!(
        leases["components"]["schemas"]
            .get("io.k8s.api.coordination.v1.Lease")
            .is_some()
    );
}

#[test]
fn every_reference_leads_somewhere_and_stands_alone() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(target)) = fields.get("$ref") {
                    assert_eq!(fields.len(), 1, "{value}");
                    found.insert(target.clone());
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    for path in ["api/v1", "apis/work.open-cluster-management.io/v1"] {
        let document = document(path);
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for target in found {
            let name = target
                .strip_prefix("#/components/schemas/")
                .unwrap_or_else(|| panic!("{target}"));
            assert!(
                document["components"]["schemas"].get(name).is_some(),
                "{target}"
            );
        }
    }
}

#[test]
fn lists_of_metadata_say_how_they_merge() {
    let core = document("api/v1");
    let meta = &core["components"]["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]["properties"];
    assert_eq!(
        meta["ownerReferences"]["x-kubernetes-patch-merge-key"],
        "uid"
    );
    assert_eq!(meta["finalizers"]["x-kubernetes-patch-strategy"], "merge");
}

/// Calls `visit` with every value below `value`.
fn each(value: &Value, visit: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            visit(fields);
            fields.values().for_each(|value| each(value, visit));
        }
        Value::Array(list) => list.iter().for_each(|value| each(value, visit)),
        _ => {}
    }
}

#[test]
fn the_old_document_holds_what_old_clients_understand() {
    let openapi = openapi();
    let document: Value = serde_json::from_slice(&openapi.v2().body).unwrap();
    assert_eq!(document["swagger"], "2.0");
    let definitions = document["definitions"].as_object().unwrap();
    each(&document["definitions"], &mut |schema| {
        if let Some(Value::String(target)) = schema.get("$ref") {
            let name = target
                .strip_prefix("#/definitions/")
                .expect("a reference of v2");
            assert!(definitions.contains_key(name), "{name}");
        }
        for unknown in ["anyOf", "oneOf", "nullable"] {
            // A property may have any name; a keyword has no description of its own.
            assert!(
                schema
                    .get(unknown)
                    .is_none_or(|value| value.get("description").is_some()),
                "{schema:?}"
            );
        }
    });
    let work = &definitions["io.open-cluster-management.work.v1.ManifestWork"];
    assert_eq!(
        work["x-kubernetes-group-version-kind"][0]["kind"],
        "ManifestWork"
    );
    assert_eq!(
        work["properties"]["metadata"]["$ref"],
        "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    );
    let manifest =
        &work["properties"]["spec"]["properties"]["workload"]["properties"]["manifests"]["items"];
    assert_eq!(
        manifest.get("properties"),
        None,
        "what it holds is not listed"
    );
    let patch = &document["paths"]["/apis/work.open-cluster-management.io/v1/namespaces/{namespace}/manifestworks/{name}"]
        ["patch"];
    let parameters = patch["parameters"].as_array().unwrap();
    let named = |name: &str| parameters.iter().find(|one| one["name"] == name);
    assert_eq!(named("dryRun").unwrap()["type"], "string");
    assert_eq!(named("body").unwrap()["in"], "body");
    assert!(
        patch["consumes"]
            .as_array()
            .unwrap()
            .contains(&json!("application/merge-patch+json"))
    );
    assert_eq!(
        patch["responses"]["200"]["schema"]["$ref"],
        "#/definitions/io.open-cluster-management.work.v1.ManifestWork"
    );
}

/// Fields of a protobuf message: number, and the bytes of those that have a length.
fn fields(mut message: &[u8]) -> Vec<(u64, &[u8])> {
    fn number(message: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (byte, rest) = message.split_first().expect("a whole number");
            *message = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = number(&mut message);
        let length = match key & 7 {
            0 => {
                number(&mut message);
                0
            }
            1 => 8,
            2 => usize::try_from(number(&mut message)).unwrap(),
            other => panic!("wire type {other}"),
        };
        let (bytes, rest) = message.split_at(length);
        message = rest;
        found.push((key >> 3, bytes));
    }
    found
}

#[test]
fn the_old_document_is_the_same_as_protobuf() {
    let openapi = openapi();
    let json: Value = serde_json::from_slice(&openapi.v2().body).unwrap();
    let top = fields(&openapi.v2_protobuf().body);
    assert_eq!(top[0], (1, &b"2.0"[..]));
    let part = |number: u64| top.iter().find(|(field, _)| *field == number).unwrap().1;
    let names = |message, pair: u64| -> BTreeSet<String> {
        fields(message)
            .into_iter()
            .inspect(|(field, _)| assert_eq!(*field, pair))
            .map(|(_, pair)| String::from_utf8(fields(pair)[0].1.to_vec()).unwrap())
            .collect()
    };
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(names(part(9), 1), keys(&json["definitions"]));
    assert_eq!(names(part(8), 2), keys(&json["paths"]));
}

/// What a generated client is made of.
#[test]
fn operations_have_names_of_their_own_and_parameters_say_what_they_mean() {
    let json: Value = serde_json::from_slice(&openapi().v2().body).unwrap();
    let mut names = BTreeSet::new();
    for (path, item) in json["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(name) = operation["operationId"].as_str() else {
                assert_eq!(method, "parameters", "{path}");
                continue;
            };
            assert!(
                names.insert(name.to_owned()),
                "{name} is there twice: {path}"
            );
            for parameter in operation["parameters"].as_array().unwrap() {
                let described = parameter["in"] == "body" || parameter["description"].is_string();
                assert!(described, "{path}: {parameter}");
            }
            assert!(operation["responses"]["401"]["description"].is_string());
            assert!(operation["responses"]["200"]["schema"].is_object());
        }
    }
    for name in [
        "readClusterOpenClusterManagementIoV1ManagedCluster",
        "replaceClusterOpenClusterManagementIoV1ManagedClusterStatus",
    ] {
        assert!(names.contains(name), "{name}: {names:?}");
    }
}
