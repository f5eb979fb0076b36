//! P5: one decider. P13: quiet at rest.

use koinon_store::testing::TestPostgres;

use crate::support::{Hub, PATIENCE, eventually};

/// Ends the sessions that hold the election's lock.
const DEPOSE: &str = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objsubid = 2 and objid = 2";

async fn epoch(hub: &Hub) -> i64 {
    hub.store
        .election("reader")
        .current()
        .await
        .unwrap()
        .map_or(0, |(epoch, _)| epoch.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposed_leader_stops_and_another_goes_on() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let other = Hub::open(&postgres).await;
    let first = hub.lead("first", "*,-lease");
    eventually("the first leads", || {
        first
            .reports
            .list()
            .values()
            .any(|line| line.running && line.runs > 0)
    })
    .await;
    let second = other.lead("second", "*,-lease");
    hub.cluster("east", 60).await;
    hub.namespace("apps").await;
    hub.workload("apps", None).await;
    eventually("the first decides", || hub.works("apps").len() == 1).await;
    assert!(second.reports.list().is_empty(), "the second waits");

    for round in 0..3 {
        let old = epoch(&hub).await;
        postgres.connect().await.execute(DEPOSE).await;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while epoch(&hub).await == old {
            assert!(tokio::time::Instant::now() < deadline, "nobody takes over");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let name = format!("late-{round}");
        hub.cluster(&name, 60).await;
        eventually("whoever leads now decides", || {
            hub.works("apps").len() == 2 + round
        })
        .await;
    }
    let running =
        |leader: &crate::support::Leader| leader.reports.list().values().any(|line| line.running);
    eventually("one of the two leads", || {
        running(&first) != running(&second)
    })
    .await;
    first.stop().await;
    eventually("the second takes over", || running(&second)).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_that_finds_everything_in_order_writes_nothing() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let leader = hub.lead("first", "*");
    for cluster in ["east", "west"] {
        hub.cluster(cluster, 60).await;
    }
    hub.namespace("apps").await;
    hub.workload("apps", None).await;
    eventually("the workload is placed", || hub.works("apps").len() == 2).await;
    let mut revision = hub.store.revision();
    let mut quiet = 0;
    eventually("nothing is left to do", || {
        quiet = if hub.store.revision() == revision {
            quiet + 1
        } else {
            0
        };
        revision = hub.store.revision();
        quiet > 30
    })
    .await;
    leader.stop().await;
    let before = hub.store.fresh().await.unwrap();

    let leader = hub.lead("second", "*");
    let busy = [
        "placement",
        "workset",
        "registration",
        "clusterset",
        "gc",
        "lease",
    ];
    eventually("everything was looked at", || {
        let lines = leader.reports.list();
        busy.iter()
            .all(|name| lines.get(name).is_some_and(|line| line.runs > 0))
    })
    .await;
    leader.stop().await;
    assert_eq!(hub.store.fresh().await.unwrap(), before);
}
