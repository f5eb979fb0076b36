use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{ConfigMap, Event, Namespace, Secret},
};
use koinon_api::{ManagedCluster, ManifestWork};
use kube::CustomResourceExt;

use super::{Column, ResourceInfo};

#[test]
fn a_crd_says_all_about_its_kind() {
    let info = ResourceInfo::from_crd(&ManagedCluster::crd()).unwrap();
    assert_eq!(
        info.key(),
        "managedclusters.cluster.open-cluster-management.io"
    );
    assert_eq!(info.api_version(), "cluster.open-cluster-management.io/v1");
    assert_eq!(
        info.group_kind(),
        "ManagedCluster.cluster.open-cluster-management.io"
    );
    assert_eq!(info.short_names, ["mcl", "mcls"]);
    assert!(!info.namespaced && info.has_status);
    let names: Vec<&str> = info
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "Hub Accepted",
            "Managed Cluster URLs",
            "Joined",
            "Available",
            "Age"
        ]
    );
}

#[test]
fn a_crd_without_columns_shows_the_age() {
    let info = ResourceInfo::from_crd(&ManifestWork::crd()).unwrap();
    assert_eq!(
        info.columns,
        [Column::date("Age", ".metadata.creationTimestamp")]
    );
    let wide = info.with_columns([Column::text("Applied", ".a").wide()]);
    assert_eq!(wide.columns[1].priority, 1);
}

#[test]
fn kubernetes_own_types_make_resources_too() {
    let namespace = ResourceInfo::from_type::<Namespace>(true, &["ns"]).unwrap();
    assert_eq!(
        (namespace.key().as_str(), namespace.api_version().as_str()),
        ("namespaces", "v1")
    );
    assert!(!namespace.namespaced && namespace.has_status);
    let lease = ResourceInfo::from_type::<Lease>(false, &[]).unwrap();
    assert_eq!(lease.key(), "leases.coordination.k8s.io");
    assert!(lease.namespaced && !lease.has_status);
    for info in [
        ResourceInfo::from_type::<ConfigMap>(false, &["cm"]).unwrap(),
        ResourceInfo::from_type::<Secret>(false, &[]).unwrap(),
        ResourceInfo::from_type::<Event>(false, &["ev"]).unwrap(),
    ] {
        assert!(info.namespaced && info.group.is_empty());
    }
}
