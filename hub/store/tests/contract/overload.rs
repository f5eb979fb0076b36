//! One tenant's storm is that tenant's: by count, never by time.

use koinon_store::{Beat, Change, Mutation, Share};
use uuid::Uuid;

use crate::support::{create, eventually, one, status};

const STORM: i64 = 3000;

fn beat(cluster: &str) -> Beat {
    Beat {
        cluster: cluster.to_owned(),
        session: Uuid::new_v4(),
    }
}

#[tokio::test]
async fn an_agents_status_is_committed_within_two_batches_of_a_storm() {
    let (postgres, replica) = one().await;
    let store = replica.store.clone();
    let work = store.write(create("work")).await.unwrap();
    let mut writers = postgres.connect().await;
    writers
        .execute("begin; select pg_advisory_xact_lock(1802463598, 1)")
        .await;
    let storm: Vec<_> = (0..STORM)
        .map(|at| {
            let store = store.clone();
            let change: Change = create(&format!("storm-{at}"));
            tokio::spawn(async move { store.write(change).await.map(drop) })
        })
        .collect();
    // All but the batch that stands before the lock.
    eventually("the storm waits", async || {
        store.metrics().queue_depth as i64 >= STORM - 128
    })
    .await;
    let reported = tokio::spawn({
        let (store, change) = (store.clone(), status(&work, "fine"));
        let mutation = Mutation {
            share: Share::Agents,
            ..change.into()
        };
        async move { store.write(mutation).await.unwrap() }
    });
    // A sign of life does not wait for any of them.
    for _ in 0..10 {
        store.heartbeats().beat_many(&[beat("east")]).await.unwrap();
    }
    let depth = store.metrics().queue_depth as i64;
    eventually("the status waits too", async || {
        reported.is_finished() || store.metrics().queue_depth as i64 >= depth.min(STORM - 127)
    })
    .await;
    writers.execute("commit").await;
    let reported = reported.await.unwrap();
    for one in storm {
        one.await.unwrap().unwrap();
    }
    let before = reported.revision.0 - work.revision.0;
    assert!(
        before <= 2 * 128 + 1,
        "{before} writes of the storm came first"
    );
    assert!(
        store.revision().0 >= work.revision.0 + STORM,
        "it was a storm"
    );
    replica.close().await;
}

#[tokio::test]
async fn questions_about_the_past_leave_connections_for_signs_of_life() {
    let (postgres, replica) = one().await;
    let store = replica.store.clone();
    let first = store.write(create("a")).await.unwrap().revision;
    let mut log = postgres.connect().await;
    log.execute("begin; lock table changes in access exclusive mode")
        .await;
    let storm: Vec<_> = (0..50)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.recall(&["widgets.example.com"], first).await.is_ok() })
        })
        .collect();
    let mut look = postgres.connect().await;
    eventually("they are stuck", async || {
        look.count("pg_stat_activity where wait_event_type = 'Lock' and query like '%distinct on%'")
            .await
            >= 2
    })
    .await;
    for _ in 0..20 {
        store
            .heartbeats()
            .beat_many(&[beat("east"), beat("west")])
            .await
            .unwrap();
    }
    assert!(
        storm.iter().any(|one| !one.is_finished()),
        "they were stuck meanwhile"
    );
    log.execute("rollback").await;
    for one in storm {
        let _answered_or_refused = one.await.unwrap();
    }
    assert!(store.recall(&["widgets.example.com"], first).await.is_ok());
    replica.close().await;
}
