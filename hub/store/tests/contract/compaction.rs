//! The log is trimmed to what is retained, and bodies go with their last reference.

use std::time::Duration;

use koinon_store::{Change, Revision, StoreConfig, testing::TestPostgres};

use crate::support::{
    Replica, WIDGETS, create, delete, draft, eventually, key, replace, seen, status,
};

fn trimming(postgres: &TestPostgres, retain_changes: i64) -> StoreConfig {
    StoreConfig {
        retain_changes,
        compaction_interval: Duration::from_millis(20),
        ..postgres.config()
    }
}

#[tokio::test]
async fn old_changes_and_unreferenced_bodies_are_removed() {
    let postgres = TestPostgres::start().await.unwrap();
    let replica = Replica::open(postgres.config()).await;
    let store = &replica.store;
    let (one, two) = ("1".repeat(4000), "2".repeat(4000));
    let kept = store
        .write(Change::Create(draft("kept", &one)))
        .await
        .unwrap();
    let kept = store.write(status(&kept, "x")).await.unwrap();
    let gone = store
        .write(Change::Create(draft("gone", &two)))
        .await
        .unwrap();
    store.write(delete(&gone)).await.unwrap();
    let small = store.write(create("small")).await.unwrap();
    for i in 0..50 {
        store.write(status(&small, &i.to_string())).await.unwrap();
    }
    assert_eq!(postgres.connect().await.count("bodies").await, 2);
    replica.close().await;

    let replica = Replica::open(trimming(&postgres, 20)).await;
    let mut inspector = postgres.connect().await;
    eventually("changes are trimmed", async || {
        inspector.count("changes").await == 20
    })
    .await;
    eventually("the unused body is swept", async || {
        inspector.count("bodies").await == 1
    })
    .await;
    replica.close().await;

    // A start after that: the past is shorter, and understood as far as it goes.
    let replica = Replica::open(postgres.config()).await;
    let store = &replica.store;
    assert_eq!(store.get(&key("kept")).unwrap().body, kept.stored.body);
    let head = store.revision();
    assert!(store.watch(WIDGETS, Revision(0)).is_err());
    let from = store.watch(WIDGETS, Revision(0)).unwrap_err().floor;
    assert!(
        from.0 <= head.0 - 19,
        "nearly all that is in the log can be resumed from: {from} of {head}"
    );
    assert_eq!(seen(store, from, head).await.len() as i64, head.0 - from.0);
    store.write(replace(&kept, "afterwards")).await.unwrap();
    replica.close().await;
}

#[tokio::test]
async fn nothing_is_trimmed_before_its_time() {
    let postgres = TestPostgres::start().await.unwrap();
    let replica = Replica::open(trimming(&postgres, 1000)).await;
    let created = replica.store.write(create("a")).await.unwrap();
    for i in 0..20 {
        replica
            .store
            .write(status(&created, &i.to_string()))
            .await
            .unwrap();
    }
    replica.close().await;
    assert_eq!(postgres.connect().await.count("changes").await, 21);

    let aged = StoreConfig {
        retain_age: Duration::ZERO,
        ..trimming(&postgres, 1000)
    };
    let replica = Replica::open(aged).await;
    let mut inspector = postgres.connect().await;
    eventually("everything is too old", async || {
        inspector.count("changes").await == 0
    })
    .await;
    assert!(replica.store.get(&key("a")).is_some());
    replica.store.write(create("b")).await.unwrap();
    replica.close().await;
}

#[tokio::test]
async fn expired_certificates_are_forgotten() {
    let postgres = TestPostgres::start().await.unwrap();
    let replica = Replica::open(trimming(&postgres, 20)).await;
    let identities = replica.store.identities();
    for (serial, not_after) in [(1, "2020-01-01T00:00:00Z"), (2, "2220-01-01T00:00:00Z")] {
        identities
            .record_certificate(&[serial], "east", not_after.parse().unwrap())
            .await
            .unwrap();
    }
    eventually("the expired one is gone", async || {
        let left = identities.certificates("east").await.unwrap();
        left.len() == 1 && left[0].serial == [2]
    })
    .await;
    replica.close().await;
}
