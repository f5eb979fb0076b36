//! Bad days: the database dies, goes away, comes back, comes back with less.

use std::{collections::BTreeSet, time::Duration};

use koinon_store::{
    Applied, Change, Error, StoreConfig, WriteError,
    server::Durability,
    testing::{TestPostgres, impatient},
};
use tokio::time::timeout;

use crate::support::{Replica, WIDGETS, create, eventually, key, one, seen};

/// P2: whatever was acknowledged is there after the server is killed in the middle of a storm of writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill_of_the_server() {
    let mut postgres = TestPostgres::start_with(Durability::Full).await.unwrap();
    let config = StoreConfig {
        write_timeout: Duration::from_secs(60),
        // The whole story is replayed from memory at the end, however late the blows fall.
        ring_events: 1 << 17,
        ..postgres.config()
    };
    let replica = Replica::open(config).await;
    let start = replica.store.revision();
    let mut acknowledged = BTreeSet::new();
    let mut doubtful = BTreeSet::new();
    for round in 0..3 {
        let writers: Vec<_> = (0..16)
            .map(|writer| {
                let store = replica.store.clone();
                tokio::spawn(async move {
                    let mut outcomes = Vec::new();
                    for i in 0.. {
                        let name = format!("r{round}-w{writer}-{i}");
                        let outcome = store.write(create(&name)).await;
                        let failed = outcome.is_err();
                        outcomes.push((name, outcome));
                        if failed || i == 2000 {
                            break;
                        }
                    }
                    outcomes
                })
            })
            .collect();
        let begun = replica.store.revision().0;
        eventually("the storm blows", async || {
            replica.store.revision().0 > begun + 200
        })
        .await;
        postgres.kill().await;
        postgres.restart().await.unwrap();
        for writer in writers {
            for (name, outcome) in writer.await.unwrap() {
                match outcome {
                    Ok(_) => {
                        acknowledged.insert(name);
                    }
                    Err(WriteError::Unavailable(unavailable)) => {
                        assert_eq!(unavailable.applied, Applied::Maybe, "{unavailable}");
                        doubtful.insert(name);
                    }
                    Err(error) => panic!("{name}: {error}"),
                }
            }
        }
    }
    assert!(!doubtful.is_empty(), "no kill hit a batch in flight");
    let end = replica.store.fresh().await.unwrap();
    let present: BTreeSet<String> = replica
        .store
        .snapshot(WIDGETS)
        .iter()
        .map(|stored| stored.key.name.to_string())
        .collect();
    let lost: Vec<_> = acknowledged.difference(&present).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let known: BTreeSet<_> = acknowledged.union(&doubtful).cloned().collect();
    assert!(present.is_subset(&known));
    // The cache is the replay of the log, through all of it.
    let seen: BTreeSet<String> = seen(&replica.store, start, end)
        .await
        .into_iter()
        .map(|(_, name, _)| name)
        .collect();
    assert_eq!(seen, present);
    let log: BTreeSet<String> = postgres
        .connect()
        .await
        .log()
        .await
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    assert_eq!(log, present);
    replica.close().await;
}

#[tokio::test]
async fn without_its_database_the_store_serves_what_it_knows_and_recovers_by_itself() {
    let mut postgres = TestPostgres::start_with(Durability::Full).await.unwrap();
    let mut config = postgres.config();
    impatient(&mut config);
    let replica = Replica::open(config.clone()).await;
    let other = Replica::open(config).await;
    let store = &replica.store;
    let before = store.write(create("before")).await.unwrap();
    let mut watch = store.watch(WIDGETS, before.revision).unwrap();
    postgres.stop().await;

    let refused = store.write(create("during")).await.unwrap_err();
    let WriteError::Unavailable(refused) = refused else {
        panic!("{refused}")
    };
    let unavailable = store.fresh().await.unwrap_err();
    assert!(!unavailable.reason.is_empty());
    assert!(store.heartbeats().ages().await.is_err());
    assert_eq!(store.get(&key("before")).unwrap(), before.stored);
    assert!(!store.metrics().reachable);

    postgres.restart().await.unwrap();
    if refused.applied == Applied::No {
        store.fresh().await.unwrap();
        assert!(store.get(&key("during")).is_none());
    }
    eventually("a write of another replica succeeds", async || {
        other.store.write(create("after")).await.is_ok()
    })
    .await;
    let batch = loop {
        let batch = watch.next().await.unwrap();
        if !batch.events.is_empty() {
            break batch;
        }
    };
    assert_eq!(&*batch.events[0].latest().key.name, "after");
    eventually("signs of life are taken again", async || {
        store.heartbeats().ages().await.is_ok()
    })
    .await;
    assert!(store.metrics().reachable);
    replica.close().await;
    other.close().await;
}

/// The listener's session is ended and nobody tells it what it missed.
#[tokio::test]
async fn changes_arrive_without_notifications_too() {
    let postgres = TestPostgres::start().await.unwrap();
    let replica = Replica::open(postgres.config()).await;
    let other = Replica::open(postgres.config()).await;
    postgres
        .connect()
        .await
        .execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen%'",
        )
        .await;
    other.store.write(create("a")).await.unwrap();
    eventually("it arrives", async || {
        replica.store.get(&key("a")).is_some()
    })
    .await;
    replica.close().await;
    other.close().await;
}

/// P4: a database that was set back under a running hub ends the hub's store; it does not go on with what is gone.
#[tokio::test]
async fn a_registry_that_was_set_back_ends_the_store() {
    let (postgres, replica) = one().await;
    replica.store.write(create("a")).await.unwrap();
    postgres
        .connect()
        .await
        .execute("delete from changes; delete from objects; update registry set revision = 0")
        .await;
    let ended = timeout(Duration::from_secs(30), replica.ended())
        .await
        .unwrap();
    assert!(matches!(ended, Err(Error::Rewound { .. })), "{ended:?}");
}

#[tokio::test]
async fn a_database_that_was_replaced_ends_the_store() {
    let (postgres, replica) = one().await;
    postgres
        .connect()
        .await
        .execute("update registry set incarnation = gen_random_uuid(), revision = 100")
        .await;
    let ended = timeout(Duration::from_secs(30), replica.ended())
        .await
        .unwrap();
    assert!(matches!(ended, Err(Error::Replaced)), "{ended:?}");
}

/// The server neither answers nor breaks the connection.
#[tokio::test]
async fn a_server_that_stands_still_is_not_waited_for_for_ever() {
    let postgres = TestPostgres::start().await.unwrap();
    let mut config = postgres.config();
    impatient(&mut config);
    let replica = Replica::open(config).await;
    let store = &replica.store;
    store.write(create("before")).await.unwrap();
    postgres.signal(koinon_store::testing::Signal::STOP);
    let stalled = store.write(create("during")).await;
    let fresh = store.fresh().await;
    postgres.signal(koinon_store::testing::Signal::CONT);
    let Err(WriteError::Unavailable(stalled)) = stalled else {
        panic!("{stalled:?}")
    };
    assert_eq!(stalled.applied, Applied::Maybe);
    assert!(fresh.is_err());
    eventually("it goes on", async || {
        store.write(create("after")).await.is_ok()
    })
    .await;
    replica.close().await;
}

/// A second replica is behind by more than it can read in the time that one question may take.
#[tokio::test]
async fn a_replica_that_is_far_behind_arrives_piece_by_piece() {
    const BODIES: usize = 48;
    let postgres = TestPostgres::start().await.unwrap();
    let writing = Replica::open(postgres.config()).await;
    let behind = Replica::open(StoreConfig {
        query_timeout: Duration::from_millis(100),
        ..postgres.config()
    })
    .await;
    // Let it see the past only through the log: it is there before anything is written.
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for i in 0..BODIES {
        let mut text = String::with_capacity(2 << 20);
        while text.len() < 2 << 20 {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            text.push_str(&format!("{noise:016x}"));
        }
        let draft = crate::support::draft(&format!("big{i}"), &text);
        writing.store.write(Change::Create(draft)).await.unwrap();
    }
    let end = writing.store.revision();
    eventually("the other one has read it all", async || {
        behind.store.revision() >= end
    })
    .await;
    assert_eq!(behind.store.snapshot(WIDGETS).len(), BODIES);
    assert_eq!(
        behind.store.get(&key("big7")),
        writing.store.get(&key("big7"))
    );
    writing.close().await;
    behind.close().await;
}

/// The server takes connections and says nothing on them: nobody waits for it longer than for his write.
#[tokio::test]
async fn a_connection_that_takes_long_does_not_make_writes_wait() {
    let postgres = TestPostgres::start().await.unwrap();
    let config = StoreConfig {
        write_timeout: Duration::from_secs(2),
        // As long as a connection may take; a test that waits for it fails.
        query_timeout: Duration::from_secs(3600),
        ..postgres.config()
    };
    let replica = Replica::open(config).await;
    let store = &replica.store;
    store.write(create("before")).await.unwrap();
    postgres
        .connect()
        .await
        .execute(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where application_name = 'koinon-hub' and pid <> pg_backend_pid()",
        )
        .await;
    let mut written = 0;
    eventually("the lane finds its connection gone", async || {
        written += 1;
        store.write(create(&format!("w{written}"))).await.is_err()
    })
    .await;
    postgres.signal(koinon_store::testing::Signal::STOP);
    let refused = timeout(Duration::from_secs(60), store.write(create("during"))).await;
    postgres.signal(koinon_store::testing::Signal::CONT);
    let Ok(Err(WriteError::Unavailable(refused))) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(refused.applied, Applied::No);
    eventually("it goes on", async || {
        store.write(create("after")).await.is_ok()
    })
    .await;
    replica.close().await;
}

/// During an upgrade, and after one that was taken back, two releases run on one database.
#[tokio::test]
async fn a_database_that_a_newer_release_has_migrated_is_opened() {
    let (postgres, replica) = one().await;
    replica.store.write(create("a")).await.unwrap();
    replica.close().await;
    let newer =
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                 values (9999, 'from the future', true, '', 0)";
    postgres.connect().await.execute(newer).await;
    let replica = Replica::open(postgres.config()).await;
    assert!(replica.store.get(&key("a")).is_some());
    replica.close().await;
}
