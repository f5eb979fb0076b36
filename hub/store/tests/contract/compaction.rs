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
    // And those that made the state of two objects at the horizon, each with a status on top.
    eventually("changes are trimmed", async || {
        inspector.count("changes").await == 20 + 2 * 2
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
    eventually("all but the last state is too old", async || {
        inspector.count("changes").await == 2
    })
    .await;
    assert!(replica.store.get(&key("a")).is_some());
    replica.store.write(create("b")).await.unwrap();
    replica.close().await;
}

/// What was left alone since before the horizon, and changed after it, had a state in between.
#[tokio::test]
async fn a_state_is_remembered_until_the_horizon_has_passed_the_next_one() {
    let postgres = TestPostgres::start().await.unwrap();
    let replica = Replica::open(postgres.config()).await;
    let store = &replica.store;
    let plain = store.write(create("plain")).await.unwrap();
    let told = store.write(create("told")).await.unwrap();
    let told = store.write(status(&told, "early")).await.unwrap();
    let told = store.write(status(&told, "late")).await.unwrap();
    let gone = store.write(create("gone")).await.unwrap();
    let ended = store.write(create("ended")).await.unwrap();
    store.write(delete(&ended)).await.unwrap();
    let busy = store.write(create("busy")).await.unwrap();
    for i in 0..30 {
        store.write(status(&busy, &i.to_string())).await.unwrap();
    }
    replica.close().await;

    let replica = Replica::open(trimming(&postgres, 3)).await;
    let store = &replica.store;
    let mut inspector = postgres.connect().await;
    // 3 that are retained; 1, 2, 1 and 2 that made what is at the horizon.
    eventually("the log is trimmed", async || {
        inspector.count("changes").await == 9
    })
    .await;
    let then = store.fresh().await.unwrap();
    let told = store.write(replace(&told, "another")).await.unwrap();
    store.write(replace(&plain, "another")).await.unwrap();
    store.write(delete(&gone)).await.unwrap();

    let past = store.recall(&[WIDGETS], then).await.unwrap();
    let mut were: Vec<_> = past
        .objects
        .iter()
        .map(|one| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            (one.key.name.to_string(), text(&one.body), text(&one.status))
        })
        .collect();
    were.sort();
    let first = r#"{"spec":{"text":"first"}}"#;
    let expected = [
        ("busy", r#"{"text":"29"}"#),
        ("gone", ""),
        ("plain", ""),
        ("told", r#"{"text":"late"}"#),
    ];
    assert_eq!(
        were,
        expected.map(|(name, status)| (name.to_owned(), first.to_owned(), status.to_owned()))
    );

    // Once the horizon has passed the next state of something, the one before is not needed any more.
    for i in 0..30 {
        store.write(status(&told, &i.to_string())).await.unwrap();
    }
    // 3 that are retained; busy and told with a status on top, plain.
    eventually("the log is trimmed again", async || {
        inspector.count("changes").await == 3 + 2 + 2 + 1
    })
    .await;
    assert!(store.recall(&[WIDGETS], then).await.is_err());
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
