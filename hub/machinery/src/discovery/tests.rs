use std::sync::Arc;

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Namespace};
use koinon_api::{ManagedCluster, ManagedClusterSet, Placement};
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{Aggregated, Discovery, Document, Part};
use crate::{ResourceInfo, Verb};

fn discovery() -> Discovery {
    let custom = [
        ManagedCluster::crd(),
        ManagedClusterSet::crd(),
        Placement::crd(),
    ];
    let mut resources: Vec<ResourceInfo> = custom
        .iter()
        .map(|crd| ResourceInfo::from_crd(crd).unwrap())
        .collect();
    resources.push(ResourceInfo::from_type::<Namespace>(true, &["ns"]).unwrap());
    resources.push(
        ResourceInfo::from_type::<Lease>(false, &[])
            .unwrap()
            .with_verbs([Verb::Get, Verb::List]),
    );
    let resources: Vec<Arc<ResourceInfo>> = resources.into_iter().map(Arc::new).collect();
    Discovery::new(&resources)
}

fn read(document: &Document) -> Value {
    serde_json::from_slice(&document.body).unwrap()
}

#[test]
fn groups_list_their_versions_the_most_stable_first() {
    let list = read(discovery().group_list());
    let group = &list["groups"][0];
    assert_eq!(group["name"], "cluster.open-cluster-management.io");
    let versions: Vec<&Value> = group["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| &version["version"])
        .collect();
    assert_eq!(versions, ["v1", "v1beta2", "v1beta1"]);
    assert_eq!(
        group["preferredVersion"]["groupVersion"],
        "cluster.open-cluster-management.io/v1"
    );
    assert_eq!(read(discovery().core_versions())["versions"], json!(["v1"]));
    assert_eq!(
        read(discovery().group("coordination.k8s.io").unwrap())["kind"],
        "APIGroup"
    );
    assert!(discovery().group("nope").is_none() && discovery().group("").is_none());
}

#[test]
fn resources_list_names_verbs_and_status() {
    let all = discovery();
    let list = read(
        all.resources("cluster.open-cluster-management.io", "v1")
            .unwrap(),
    );
    assert_eq!(
        list["groupVersion"],
        "cluster.open-cluster-management.io/v1"
    );
    let names: Vec<&Value> = list["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| &resource["name"])
        .collect();
    assert_eq!(names, ["managedclusters", "managedclusters/status"]);
    assert_eq!(list["resources"][0]["shortNames"], json!(["mcl", "mcls"]));
    assert_eq!(
        list["resources"][1]["verbs"],
        json!(["get", "patch", "update"])
    );
    assert_eq!(
        read(all.resources("", "v1").unwrap())["resources"][0]["name"],
        "namespaces"
    );
    let leases = read(all.resources("coordination.k8s.io", "v1").unwrap());
    assert_eq!(leases["resources"][0]["verbs"], json!(["get", "list"]));
    assert!(
        all.resources("cluster.open-cluster-management.io", "v9")
            .is_none()
    );
}

#[test]
fn the_aggregated_documents_hold_the_same() {
    let all = discovery();
    for (version, api_version) in [
        (Aggregated::V2, "apidiscovery.k8s.io/v2"),
        (Aggregated::V2Beta1, "apidiscovery.k8s.io/v2beta1"),
    ] {
        let core = read(all.aggregated(Part::Core, version));
        assert_eq!(core["apiVersion"], api_version);
        assert_eq!(
            core["items"][0]["versions"][0]["resources"][0]["responseKind"]["kind"],
            "Namespace"
        );
        let groups = read(all.aggregated(Part::Groups, version));
        let items = groups["items"].as_array().unwrap();
        assert_eq!(items.len(), 2);
        let cluster = &items[0]["versions"][0]["resources"][0];
        assert_eq!(
            (&cluster["resource"], &cluster["scope"]),
            (&json!("managedclusters"), &json!("Cluster"))
        );
        assert_eq!(cluster["subresources"][0]["subresource"], "status");
    }
}

#[test]
fn aggregation_is_asked_for_in_the_accept_header() {
    let accept = |text: &str| Aggregated::accepted(text);
    assert_eq!(
        accept("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
        Some(Aggregated::V2)
    );
    assert_eq!(
        accept("application/json; as=APIGroupDiscoveryList; v=v2beta1; g=apidiscovery.k8s.io"),
        Some(Aggregated::V2Beta1)
    );
    for other in [
        "application/json",
        "",
        "text/html;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        "application/json;g=x;v=v2;as=APIGroupDiscoveryList",
    ] {
        assert_eq!(accept(other), None, "{other}");
    }
}

#[test]
fn the_etag_names_the_content() {
    let (one, two) = (
        Document::new(&json!({ "a": 1 })),
        Document::new(&json!({ "a": 2 })),
    );
    assert_eq!(one.hash.len(), 64);
    assert_ne!(one.etag(), two.etag());
    assert_eq!(one.etag(), Document::new(&json!({ "a": 1 })).etag());
}
