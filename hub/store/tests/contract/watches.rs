//! Watches: resume, also over a restart; expiry; progress.

use koinon_store::{Change, Event, Revision, Store, StoreConfig, testing::TestPostgres};

use crate::support::{Replica, WIDGETS, create, delete, draft, one, replace, seen, status};

/// All events of widgets after `from`, as values.
async fn events(store: &Store, from: Revision) -> Vec<Event> {
    let end = store.revision();
    let mut watch = store.watch(WIDGETS, from).unwrap();
    let mut events = Vec::new();
    let mut at = from;
    while at < end {
        let batch = watch.next().await.unwrap();
        events.extend(batch.events.iter().map(|event| (**event).clone()));
        at = batch.revision;
    }
    events
}

#[tokio::test]
async fn a_watch_is_resumed_over_a_restart_with_the_same_events() {
    let (postgres, replica) = one().await;
    let store = &replica.store;
    let start = store.revision();
    let large = "y".repeat(5000);
    let a = store.write(create("a")).await.unwrap();
    let b = store
        .write(Change::Create(draft("b", &large)))
        .await
        .unwrap();
    let a = store.write(status(&a, "one")).await.unwrap();
    let a = store.write(status(&a, "two")).await.unwrap();
    let b = store.write(replace(&b, "small")).await.unwrap();
    let a = store.write(replace(&a, &large)).await.unwrap();
    store.write(delete(&b)).await.unwrap();
    store.write(create("b")).await.unwrap();
    store.write(status(&a, "three")).await.unwrap();
    let before = events(store, start).await;
    assert_eq!(before.len(), 9);
    replica.close().await;

    let replica = Replica::open(postgres.config()).await;
    assert_eq!(events(&replica.store, start).await, before);
    for event in &before {
        let rest: Vec<_> = before
            .iter()
            .filter(|later| later.revision > event.revision)
            .cloned()
            .collect();
        assert_eq!(events(&replica.store, event.revision).await, rest);
    }
    replica.close().await;
}

#[tokio::test]
async fn a_watch_from_before_what_is_remembered_has_expired() {
    let postgres = TestPostgres::start().await.unwrap();
    let config = StoreConfig {
        ring_events: 10,
        ..postgres.config()
    };
    let replica = Replica::open(config.clone()).await;
    let store = &replica.store;
    let created = store.write(create("a")).await.unwrap();
    let mut slow = store.watch(WIDGETS, created.revision).unwrap();
    for i in 0..20 {
        store.write(status(&created, &i.to_string())).await.unwrap();
    }
    let expired = store.watch(WIDGETS, created.revision).unwrap_err();
    assert_eq!(expired.from, created.revision);
    assert!(
        slow.next().await.is_err(),
        "a watcher that was overtaken is told so"
    );
    assert!(store.watch(WIDGETS, expired.floor).is_ok());
    assert_eq!(seen(store, expired.floor, store.revision()).await.len(), 10);
    let floor = expired.floor;
    replica.close().await;

    let replica = Replica::open(config).await;
    assert!(replica.store.watch(WIDGETS, created.revision).is_err());
    assert_eq!(
        seen(&replica.store, floor, replica.store.revision())
            .await
            .len(),
        10
    );
    replica.close().await;
}

#[tokio::test]
async fn a_watcher_hears_of_the_revision_when_nothing_matches() {
    let (_postgres, replica) = one().await;
    let store = &replica.store;
    let mut watch = store
        .watch("gadgets.example.com", store.revision())
        .unwrap();
    let written = store.write(create("a")).await.unwrap();
    let batch = watch.next().await.unwrap();
    assert!(batch.events.is_empty());
    assert_eq!(batch.revision, written.revision);
    replica.close().await;
}

/// A list and a watch from its revision together miss nothing and repeat nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_continues_a_list() {
    let (_postgres, replica) = one().await;
    let store = replica.store.clone();
    let writing = tokio::spawn({
        let store = store.clone();
        async move {
            for i in 0..300 {
                store.write(create(&format!("w{i:03}"))).await.unwrap();
            }
        }
    });
    for _ in 0..50 {
        let snapshot = store.snapshot(WIDGETS);
        let listed = snapshot.len();
        let newest = snapshot.iter().map(|stored| stored.revision).max();
        assert!(newest.is_none_or(|newest| newest <= snapshot.revision()));
        let mut watch = store.watch(WIDGETS, snapshot.revision()).unwrap();
        if listed < 300 {
            let batch = watch.next().await.unwrap();
            let name = batch
                .events
                .first()
                .map(|event| event.latest().key.name.to_string());
            assert_eq!(name, Some(format!("w{listed:03}")));
        }
    }
    writing.await.unwrap();
    replica.close().await;
}
