//! P1 and P4: the registry was set back and has grown past what a replica has seen.

use std::time::Duration;

use koinon_store::{Error, StoreConfig, testing::TestPostgres};
use tokio::time::timeout;

use crate::support::{Replica, create, delete, eventually, key};

const PATIENCE: Duration = Duration::from_secs(60);

/// A replica that hears of nothing by itself.
async fn deaf(postgres: &TestPostgres) -> Replica {
    Replica::open(StoreConfig {
        listen: false,
        poll_interval: Duration::from_secs(3600),
        ..postgres.config()
    })
    .await
}

/// Writes three objects over `first`, sets the registry back to before the second, and lets another replica go on with
/// other objects until it is past where `first` was.
async fn fork(postgres: &TestPostgres, first: &Replica) -> Replica {
    let kept = first.store.write(create("kept")).await.unwrap();
    for name in ["lost", "also-lost"] {
        first.store.write(create(name)).await.unwrap();
    }
    assert_eq!(kept.revision.0, 2, "the stretch took the first revision");
    postgres
        .connect()
        .await
        .execute(
            "delete from changes where revision > 2; delete from objects where revision > 2;
             delete from lineage where start > 2; update registry set revision = 2",
        )
        .await;
    let second = Replica::open(postgres.config()).await;
    for name in ["new", "newer", "newest"] {
        second.store.write(create(name)).await.unwrap();
    }
    assert!(second.store.revision() > first.store.revision());
    second
}

async fn ends(replica: Replica) {
    let ended = timeout(PATIENCE, replica.ended()).await.unwrap();
    assert!(matches!(ended, Err(Error::Forked { .. })), "{ended:?}");
}

#[tokio::test]
async fn a_replica_of_the_lost_history_does_not_read_the_new_one_on_top_of_it() {
    let postgres = TestPostgres::start().await.unwrap();
    let first = deaf(&postgres).await;
    let second = fork(&postgres, &first).await;
    let refused = first.store.fresh().await.unwrap_err();
    assert_eq!(refused.reason, "the registry was set back");
    assert!(first.store.get(&key("new")).is_none());
    ends(first).await;
    second.close().await;
}

/// Its connection is still the old one: the batch that it adds to the new history shows it that it is another one.
#[tokio::test]
async fn a_replica_of_the_lost_history_ends_with_its_next_write() {
    let postgres = TestPostgres::start().await.unwrap();
    let first = deaf(&postgres).await;
    let second = fork(&postgres, &first).await;
    let doubtful = first.store.write(create("mine")).await;
    assert!(doubtful.is_err(), "{doubtful:?}");
    ends(first).await;
    second.close().await;
}

#[tokio::test]
async fn a_replica_of_the_lost_history_writes_nothing_over_a_new_connection() {
    let postgres = TestPostgres::start().await.unwrap();
    let first = deaf(&postgres).await;
    let second = fork(&postgres, &first).await;
    let lost = first.store.get(&key("lost")).unwrap();
    postgres
        .connect()
        .await
        .execute(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where application_name = 'koinon-hub' and pid <> pg_backend_pid()",
        )
        .await;
    let written = koinon_store::Written {
        revision: lost.revision,
        stored: lost,
    };
    let store = first.store.clone();
    // The first may find out that its connection is gone, and nothing more.
    for _ in 0..2 {
        let refused = store.write(delete(&written)).await;
        assert!(refused.is_err(), "{refused:?}");
        let refused = store.write(create("mine")).await;
        assert!(refused.is_err(), "{refused:?}");
    }
    ends(first).await;
    eventually("the other one writes", async || {
        second.store.write(create("after")).await.is_ok()
    })
    .await;
    second.store.fresh().await.unwrap();
    assert!(second.store.get(&key("mine")).is_none());
    second.close().await;
}
