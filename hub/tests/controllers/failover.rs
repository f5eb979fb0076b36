//! A cluster falls silent, its workload moves; it returns, is cleaned up, and can be chosen again.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Event;
use koinon_api::{
    ManagedCluster, Placement,
    labels::condition,
    meta::{Truth, condition as find},
};
use koinon_store::testing::TestPostgres;
use parking_lot::Mutex;

use crate::support::{Hub, eventually};

fn available(hub: &Hub, cluster: &str) -> (String, String) {
    let cluster = hub
        .client
        .get::<ManagedCluster>("", cluster)
        .unwrap()
        .unwrap();
    let conditions = cluster.status.unwrap_or_default().conditions;
    find(&conditions, condition::CLUSTER_AVAILABLE)
        .map(|found| (found.status.clone(), found.reason.clone()))
        .unwrap_or_default()
}

fn works(hub: &Hub) -> Vec<(String, bool)> {
    hub.works("apps")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_cluster_is_replaced_cleaned_up_and_chosen_again() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Arc::new(Hub::open(&postgres).await);
    let leader = hub.lead("hub", "*");
    for cluster in ["east", "standby", "west"] {
        hub.cluster(cluster, 1).await;
    }
    let alive = Arc::new(Mutex::new(vec!["east", "standby", "west"]));
    let heart = {
        let (hub, alive) = (hub.clone(), alive.clone());
        tokio::spawn(async move {
            loop {
                let clusters = alive.lock().clone();
                hub.beat(&clusters).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        })
    };
    hub.namespace("apps").await;
    hub.workload("apps", Some(2)).await;
    let placed = [("east".to_owned(), false), ("standby".to_owned(), false)];
    eventually("the workload is placed", || works(&hub) == placed).await;

    alive.lock().retain(|cluster| *cluster != "east");
    eventually("east is unknown", || {
        available(&hub, "east") == ("Unknown".into(), "ManagedClusterLeaseUpdateStopped".into())
    })
    .await;
    eventually("east is tainted", || {
        hub.taints("east") == ["cluster.open-cluster-management.io/unreachable"]
    })
    .await;
    eventually("the decision moves", || {
        hub.decided("apps") == ["standby", "west"]
    })
    .await;
    let moved = [
        ("east".to_owned(), true),
        ("standby".to_owned(), false),
        ("west".to_owned(), false),
    ];
    eventually("the work moves, and east's waits for its agent", || {
        works(&hub) == moved
    })
    .await;
    eventually("an event tells of it", || {
        let events = hub.list::<Event>(Some("east"));
        events
            .iter()
            .any(|event| event.reason.as_deref() == Some("AvailableUnknown"))
    })
    .await;
    assert_eq!(available(&hub, "standby").0, "True");

    alive.lock().push("east");
    // As an agent does: heard of first, then reported. Else the lease controller may take it for silent once more.
    hub.beat(&["east"]).await;
    hub.report("east", Truth::True).await;
    hub.clean_up("east").await;
    eventually("east is free of taints", || hub.taints("east").is_empty()).await;
    let rest = [("standby".to_owned(), false), ("west".to_owned(), false)];
    eventually("east's work is gone", || works(&hub) == rest).await;
    assert_eq!(
        hub.decided("apps"),
        ["standby", "west"],
        "a cluster that returns takes nothing back"
    );

    let more = |placement: &mut Placement| {
        placement.spec.number_of_clusters = Some(3);
        true
    };
    hub.client
        .modify::<Placement>("apps", "prod", more)
        .await
        .unwrap();
    let all = [
        ("east".to_owned(), false),
        ("standby".to_owned(), false),
        ("west".to_owned(), false),
    ];
    eventually("east is chosen again", || works(&hub) == all).await;
    heart.abort();
    leader.stop().await;
}
