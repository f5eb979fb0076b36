//! P1: a watcher that has seen revision R never later learns of a change with a revision ≤ R.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use koinon_store::{Change, Revision, Store, Written, testing::TestPostgres};
use tokio::{task::JoinHandle, time::timeout};

use crate::support::{Replica, WIDGETS, create, delete, draft, eventually, key, replace, status};

/// What one watcher saw: revision and object of each event.
type History = Vec<(i64, String)>;

/// Watches until the writers are done and everything up to their end was seen. Fails on any breach of P1.
fn watcher(
    store: Store,
    from: Revision,
    end: Arc<parking_lot::Mutex<Option<Revision>>>,
) -> JoinHandle<History> {
    tokio::spawn(async move {
        let mut watch = store.watch(WIDGETS, from).unwrap();
        let mut history = History::new();
        let mut seen = from;
        loop {
            if end.lock().is_some_and(|end| seen >= end) {
                return history;
            }
            let Ok(batch) = timeout(Duration::from_secs(2), watch.next()).await else {
                continue;
            };
            let batch = batch.unwrap();
            for event in &batch.events {
                assert!(
                    event.revision > seen,
                    "{} was learned of after {seen}",
                    event.revision
                );
                assert!(event.revision <= batch.revision);
                if let Some(after) = &event.after {
                    assert_eq!(after.revision, event.revision);
                }
                seen = event.revision;
                history.push((event.revision.0, event.latest().key.name.to_string()));
            }
            assert!(batch.revision >= seen);
            seen = batch.revision;
        }
    })
}

/// Creates, changes and deletes objects that others write as well; returns the revisions that were acknowledged.
async fn writer(store: Store, seed: u64, rounds: usize) -> Vec<i64> {
    let mut state = seed;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut acknowledged = Vec::new();
    for round in 0..rounds {
        let name = format!("w{}", random(12));
        let change = match store.get(&key(&name)) {
            None => create(&name),
            Some(stored) => {
                let known = Written {
                    revision: stored.revision,
                    stored,
                };
                match random(4) {
                    0 => delete(&known),
                    1 => status(&known, &format!("{seed}-{round}")),
                    _ => replace(&known, &format!("{seed}-{round}")),
                }
            }
        };
        let is_status = matches!(change, Change::Status { .. });
        if let Ok(written) = store.write(change).await {
            // The writer's own replica shows what it wrote, or something later.
            assert!(store.revision() >= written.revision || is_status);
            acknowledged.push(written.revision.0);
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_writing_at_once_show_every_watcher_the_same_history() {
    let postgres = TestPostgres::start().await.unwrap();
    let replicas = [
        Replica::open(postgres.config()).await,
        Replica::open(postgres.config()).await,
    ];
    let end = Arc::new(parking_lot::Mutex::new(None));
    let watchers: Vec<_> = replicas
        .iter()
        .flat_map(|replica| {
            (0..3).map(|_| watcher(replica.store.clone(), Revision(0), end.clone()))
        })
        .collect();
    let writers: Vec<_> = (0..12)
        .map(|i| tokio::spawn(writer(replicas[i % 2].store.clone(), i as u64, 150)))
        .collect();
    // Some begin in the middle.
    eventually("half of the writing is done", async || {
        replicas[0].store.revision() > Revision(500)
    })
    .await;
    let begun = replicas[1].store.revision();
    let late = watcher(replicas[1].store.clone(), begun, end.clone());

    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    let last = replicas[0].store.fresh().await.unwrap();
    *end.lock() = Some(last);

    let log = postgres.connect().await.log().await;
    for watcher in watchers {
        assert_eq!(watcher.await.unwrap(), log);
    }
    let rest: History = log
        .iter()
        .filter(|(revision, _)| *revision > begun.0)
        .cloned()
        .collect();
    assert_eq!(late.await.unwrap(), rest);
    let revisions: Vec<i64> = log.iter().map(|(revision, _)| *revision).collect();
    for revision in acknowledged {
        assert!(
            revisions.binary_search(&revision).is_ok(),
            "{revision} was acknowledged and is not in the log"
        );
    }
    replicas[1].store.fresh().await.unwrap();
    let [one, other] = replicas.each_ref().map(|replica| {
        let snapshot = replica.store.snapshot(WIDGETS);
        snapshot
            .iter()
            .map(|stored| (stored.key.clone(), (**stored).clone()))
            .collect::<BTreeMap<_, _>>()
    });
    assert_eq!(one, other);
    for replica in replicas {
        replica.close().await;
    }

    // A third replica that only ever read the tables agrees with those that followed the log.
    let replica = Replica::open(postgres.config()).await;
    let loaded = replica.store.snapshot(WIDGETS);
    assert_eq!(
        loaded
            .iter()
            .map(|stored| (stored.key.clone(), (**stored).clone()))
            .collect::<BTreeMap<_, _>>(),
        one
    );
    replica.close().await;
}

/// `fresh` on one replica covers what was acknowledged on another before it was called.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_read_sees_what_was_acknowledged_elsewhere() {
    let postgres = TestPostgres::start().await.unwrap();
    let writing = Replica::open(postgres.config()).await;
    let reading = Replica::open(postgres.config()).await;
    let busy = Arc::new(AtomicBool::new(true));
    let noise = tokio::spawn({
        let (store, busy) = (reading.store.clone(), busy.clone());
        async move {
            for i in 0.. {
                if !busy.load(Ordering::Relaxed) {
                    break;
                }
                store
                    .write(Change::Create(draft(&format!("noise{i}"), "x")))
                    .await
                    .unwrap();
            }
        }
    });
    for i in 0..100 {
        let name = format!("n{i}");
        writing.store.write(create(&name)).await.unwrap();
        let revision = reading.store.fresh().await.unwrap();
        assert!(reading.store.revision() >= revision);
        assert!(
            reading.store.get(&key(&name)).is_some(),
            "{name} is missing"
        );
    }
    busy.store(false, Ordering::Relaxed);
    noise.await.unwrap();
    writing.close().await;
    reading.close().await;
}
