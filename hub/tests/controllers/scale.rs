//! One replica set and a thousand clusters.

use futures::{StreamExt as _, stream};
use koinon_api::{ManifestWork, ManifestWorkReplicaSet};
use koinon_store::testing::TestPostgres;
use tokio::time::Instant;

use crate::support::{Hub, eventually};

const CLUSTERS: usize = 1000;

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_set_reaches_a_thousand_clusters_and_so_does_its_change() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let leader = hub.lead("hub", "*,-lease");
    stream::iter(0..CLUSTERS)
        .for_each_concurrent(64, |n| {
            let hub = &hub;
            async move { hub.cluster(&format!("c{n:04}"), 60).await }
        })
        .await;
    eventually("all are free of taints", || {
        let clusters = hub.list::<koinon_api::ManagedCluster>(None);
        clusters.iter().all(|cluster| {
            cluster.spec.taints.is_empty()
                && cluster
                    .metadata
                    .finalizers
                    .as_ref()
                    .is_some_and(|all| all.len() == 2)
        })
    })
    .await;
    hub.namespace("apps").await;

    let start = Instant::now();
    hub.workload("apps", None).await;
    let store = hub.store.clone();
    let works = || {
        store
            .snapshot("manifestworks.work.open-cluster-management.io")
            .len()
    };
    eventually("every cluster has a work", || works() == CLUSTERS).await;
    println!("{CLUSTERS} works created in {:?}", start.elapsed());

    let start = Instant::now();
    let change = |set: &mut ManifestWorkReplicaSet| {
        set.spec.manifest_work_template.workload.manifests[0].0["data"] =
            serde_json::json!({ "k": "v" });
        true
    };
    hub.client
        .modify::<ManifestWorkReplicaSet>("apps", "web", change)
        .await
        .unwrap();
    let changed = || {
        let snapshot = store.snapshot("manifestworks.work.open-cluster-management.io");
        snapshot.iter().all(|work| work.generation == 2)
    };
    eventually("every work has the change", changed).await;
    println!("{CLUSTERS} works changed in {:?}", start.elapsed());
    assert_eq!(hub.list::<ManifestWork>(None).len(), CLUSTERS);
    assert!(!leader.has_failed(), "{:?}", leader.reports.list());
    leader.stop().await;
}
