//! Names of clusters that are gone, whichever way they went, and of those that are not.

use koinon_api::{
    ManagedCluster, ManifestWork,
    labels::{condition, finalizer, reason::deleting},
    meta::{Truth, new_condition, set_condition},
};
use koinon_hub::{
    clock,
    controllers::{self, Controllers, Selection},
    metrics::Metrics,
};
use koinon_store::{Claim, Epoch, Identity, testing::TestPostgres};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::{Hub, PATIENCE, eventually};

/// Whether a name is bound, and whether there are signs of life of it.
async fn kept(hub: &Hub, name: &str) -> (bool, bool) {
    let bound = hub.store.identities().get(name).await.unwrap();
    let heard = hub.store.heartbeats().age(name).await.unwrap();
    (bound.is_some(), heard.is_some())
}

async fn free(hub: &Hub, name: &str) {
    let deadline = Instant::now() + PATIENCE;
    while kept(hub, name).await != (false, false) {
        assert!(Instant::now() < deadline, "{name} does not become free");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

async fn finalize(hub: &Hub, name: &str, finalizers: &[&str]) {
    let change = |cluster: &mut ManagedCluster| {
        let finalizers = finalizers.iter().map(|one| (*one).to_owned());
        cluster.metadata.finalizers = Some(finalizers.collect());
        true
    };
    let changed = hub.client.modify::<ManagedCluster>("", name, change).await;
    changed.unwrap();
}

fn object(hub: &Hub, name: &str) -> Option<ManagedCluster> {
    hub.client.get::<ManagedCluster>("", name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_finalizers_were_taken_off_leaves_its_name_free() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let leader = hub.lead("hub", "*,-lease");
    for name in ["east", "west"] {
        hub.cluster(name, 60).await;
    }
    hub.beat(&["east", "west"]).await;
    hub.namespace("apps").await;
    hub.workload("apps", None).await;
    eventually("the workload is placed", || hub.works("apps").len() == 2).await;

    hub.delete::<ManagedCluster>("", "east").await;
    let leaving = || {
        let works = hub.list::<ManifestWork>(Some("east"));
        works
            .iter()
            .any(|work| work.metadata.deletion_timestamp.is_some())
    };
    eventually("its agent is waited for", leaving).await;
    assert_eq!(kept(&hub, "east").await, (true, true));
    finalize(&hub, "east", &[]).await;
    eventually("the object is gone", || object(&hub, "east").is_none()).await;
    free(&hub, "east").await;
    let rebuilt = Identity {
        cluster: "east".to_owned(),
        cluster_uid: "another".to_owned(),
        public_key_sha256: [2; 32],
        agent_id: "a2".to_owned(),
    };
    let claim = hub.store.identities().claim(&rebuilt).await;
    assert_eq!(claim.unwrap(), Claim::Claimed);
    assert_eq!(kept(&hub, "west").await, (true, true));
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_frees_the_names_of_clusters_that_went_before_its_term() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let names = ["east", "leaving", "west"];
    for name in names {
        hub.cluster(name, 60).await;
    }
    hub.beat(&names).await;
    hub.beat(&["heard-only"]).await;
    finalize(&hub, "leaving", &["test/hold"]).await;
    for name in ["east", "leaving"] {
        hub.delete::<ManagedCluster>("", name).await;
    }
    assert!(object(&hub, "east").is_none(), "nobody held it");

    let leader = hub.lead("hub", "identity-cleaner");
    for name in ["east", "heard-only"] {
        free(&hub, name).await;
    }
    for name in ["leaving", "west"] {
        assert_eq!(kept(&hub, name).await, (true, true), "{name} is there");
    }
    assert!(!leader.has_failed());
    leader.stop().await;
}

/// P5: everything but the release was written before it was deposed, so nothing else of the step would tell it.
#[tokio::test(flavor = "multi_thread")]
async fn a_deposed_leader_frees_no_name() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let term = hub.store.election("new").campaign().await;
    for name in ["east", "gone"] {
        hub.cluster(name, 60).await;
    }
    hub.beat(&["east", "gone"]).await;
    hub.delete::<ManagedCluster>("", "gone").await;
    finalize(&hub, "east", &[finalizer::CLUSTER_RESOURCES]).await;
    hub.delete::<ManagedCluster>("", "east").await;
    let show = |cluster: &mut ManagedCluster| {
        let message = "No cleaned resource in cluster ns.";
        let shown = new_condition(
            condition::DELETING,
            Truth::True,
            deleting::NO_RESOURCE,
            message,
            clock::now(),
        );
        set_condition(
            &mut cluster.status.get_or_insert_default().conditions,
            shown,
        )
    };
    let shown = hub.client.modify_status::<ManagedCluster>("", "east", show);
    shown.await.unwrap();

    let selection = Selection::parse("registration,identity-cleaner", &controllers::names());
    let controllers = Controllers::new(selection.unwrap(), &Metrics::default());
    let reports = controllers.reports();
    let (client, stop) = (hub.client.clone(), CancellationToken::new());
    let deposed = {
        let (epoch, stop) = (Epoch(term.epoch().0 - 1), stop.clone());
        tokio::spawn(async move { controllers.term(&client, epoch, stop).await })
    };
    eventually("it finds out", || {
        let lines = reports.list();
        let ran = |name: &str| lines.get(name).is_some_and(|line| line.runs > 0);
        let refused = |name: &str| {
            lines
                .get(name)
                .is_some_and(|line| line.last_error.is_some())
        };
        refused("registration") && ran("identity-cleaner")
    })
    .await;
    stop.cancel();
    deposed.await.unwrap().unwrap();
    for name in ["east", "gone"] {
        assert_eq!(kept(&hub, name).await, (true, true), "{name}");
    }
}
