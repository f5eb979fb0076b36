//! Single writes, batches, outcomes.

use std::time::Duration;

use bytes::Bytes;
use koinon_store::{
    Change, Draft, Epoch, Mutation, Revision, StoreConfig, WriteError, Written,
    testing::TestPostgres,
};

use crate::support::{Replica, create, delete, draft, eventually, key, one, replace, seen, status};

#[tokio::test]
async fn an_object_lives_and_dies() {
    let (_postgres, replica) = one().await;
    let store = &replica.store;
    let created = store.write(create("a")).await.unwrap();
    assert_eq!(created.stored.revision, created.revision);
    assert_eq!(store.get(&key("a")).unwrap(), created.stored);

    let replaced = store.write(replace(&created, "second")).await.unwrap();
    assert!(replaced.revision > created.revision);
    assert_eq!(replaced.stored.generation, 2);

    let reported = store.write(status(&replaced, "fine")).await.unwrap();
    assert_eq!(reported.stored.status, r#"{"text":"fine"}"#);
    assert_eq!(reported.stored.body, replaced.stored.body);
    assert_eq!(reported.stored.metadata, replaced.stored.metadata);
    assert_eq!(reported.stored.labels, replaced.stored.labels);

    let gone = store.write(delete(&reported)).await.unwrap();
    assert_eq!(gone.stored, reported.stored);
    assert!(gone.revision > reported.revision);
    assert!(store.get(&key("a")).is_none());
    assert_eq!(
        seen(store, Revision(0), gone.revision).await,
        [
            (created.revision.0, "a".to_owned(), "added"),
            (replaced.revision.0, "a".to_owned(), "modified"),
            (reported.revision.0, "a".to_owned(), "modified"),
            (gone.revision.0, "a".to_owned(), "deleted"),
        ]
    );
    replica.close().await;
}

/// Alone and among others: a status that is written on a state is refused on another, and repeats nothing but itself in the log.
#[tokio::test]
async fn a_status_is_written_on_the_state_that_is_expected() {
    let (postgres, replica) = one().await;
    let store = &replica.store;
    for among in [0, 2] {
        let name = format!("a{among}");
        let a = store.write(create(&name)).await.unwrap();
        let on = |written: &Written, text: &str| {
            let Change::Status {
                key, uid, status, ..
            } = status(written, text)
            else {
                unreachable!("it is a status")
            };
            Change::Status {
                key,
                uid,
                status,
                expected: Some(written.revision),
            }
        };
        let write = async |change: Change, round: &str| {
            let others = (0..among).map(|i| create(&format!("{name}-{round}-{i}")));
            let all = std::iter::once(change).chain(others).map(Mutation::from);
            store.write_many(all.collect()).await.swap_remove(0)
        };
        let first = write(on(&a, "one"), "first").await.unwrap();
        assert_eq!(first.stored.status, r#"{"text":"one"}"#);
        for (round, text) in [("other", "two"), ("same", "one")] {
            let refused = write(on(&a, text), round).await.unwrap_err();
            assert_eq!(refused, WriteError::Conflict);
        }
        let same = write(on(&first, "one"), "nothing").await.unwrap();
        assert_eq!(same.revision, first.revision);
        let last = write(on(&same, "three"), "last").await.unwrap();
        store.write(delete(&last)).await.unwrap();
        store.write(create(&name)).await.unwrap();
        let refused = write(on(&last, "four"), "gone").await.unwrap_err();
        assert_eq!(refused, WriteError::Conflict);
        let refused = write(status(&last, "four"), "foreign").await.unwrap_err();
        assert_eq!(refused, WriteError::NotFound);
        let log = postgres.connect().await.log_texts().await;
        let kinds: Vec<i16> = log
            .iter()
            .filter(|line| line.1 == name)
            .map(|line| line.2)
            .collect();
        assert_eq!(kinds, [1, 3, 3, 4, 1]);
    }
    replica.close().await;
}

#[tokio::test]
async fn each_write_of_a_batch_has_its_own_outcome() {
    let (_postgres, replica) = one().await;
    let store = &replica.store;
    let a = store.write(create("a")).await.unwrap();
    let b = store.write(create("b")).await.unwrap();
    let stale = replace(&b, "stale");
    let b = store.write(replace(&b, "newer")).await.unwrap();
    let absent = Change::Delete {
        key: key("nobody"),
        uid: None,
        expected: None,
    };
    let missing = Change::Replace {
        draft: draft("missing", "x"),
        expected: Revision(1),
    };
    let foreign = Change::Status {
        key: key("a"),
        uid: uuid::Uuid::new_v4(),
        status: Bytes::from_static(b"{}"),
        expected: None,
    };
    let outcomes = store
        .write_many(
            [
                create("a"),
                stale,
                create("c"),
                absent,
                missing,
                foreign,
                replace(&a, "good"),
                delete(&b),
            ]
            .map(Into::into)
            .into(),
        )
        .await;
    let errors: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().err().cloned())
        .collect();
    // `foreign`, the good replace and the delete each wait for an earlier write of their key.
    assert_eq!(
        errors,
        [
            Some(WriteError::Exists),
            Some(WriteError::Conflict),
            None,
            Some(WriteError::NotFound),
            Some(WriteError::NotFound),
            Some(WriteError::NotFound),
            None,
            None,
        ]
    );
    assert_eq!(
        store.get(&key("a")).unwrap().body,
        r#"{"spec":{"text":"good"}}"#
    );
    assert!(store.get(&key("b")).is_none());
    assert!(store.get(&key("c")).is_some());
    replica.close().await;
}

#[tokio::test]
async fn an_equal_status_writes_nothing() {
    let (_postgres, replica) = one().await;
    let store = &replica.store;
    let created = store.write(create("a")).await.unwrap();
    let first = store.write(status(&created, "same")).await.unwrap();
    let before = store.revision();
    let second = store.write(status(&created, "same")).await.unwrap();
    assert_eq!(second.revision, first.revision);
    assert_eq!(second.stored, first.stored);
    assert_eq!(store.revision(), before);
    replica.close().await;
}

#[tokio::test]
async fn writes_to_one_key_keep_their_order() {
    let (_postgres, replica) = one().await;
    let store = &replica.store;
    let created = store.write(create("a")).await.unwrap();
    let writes = (0..50)
        .map(|i| status(&created, &i.to_string()).into())
        .collect();
    let outcomes = store.write_many(writes).await;
    let revisions: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap().revision)
        .collect();
    assert!(revisions.is_sorted());
    assert_eq!(store.get(&key("a")).unwrap().status, r#"{"text":"49"}"#);
    replica.close().await;
}

/// The database refuses a NUL in labels; the writes around it must not suffer.
#[tokio::test]
async fn data_that_the_database_refuses_fails_alone() {
    let (_postgres, replica) = one().await;
    let store = &replica.store;
    let mut bad = draft("bad", "x");
    bad.labels = std::sync::Arc::new([("app".to_owned(), "\0".to_owned())].into());
    let nul_name = Draft {
        key: key("nul\0"),
        ..draft("nul", "x")
    };
    let outcomes = store
        .write_many(
            [
                create("a"),
                Change::Create(bad),
                Change::Create(nul_name),
                create("b"),
            ]
            .map(Into::into)
            .into(),
        )
        .await;
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    assert!(
        matches!(outcomes[1], Err(WriteError::Rejected(_))),
        "{outcomes:?}"
    );
    assert!(
        matches!(outcomes[2], Err(WriteError::Rejected(_))),
        "{outcomes:?}"
    );
    assert!(outcomes[3].is_ok(), "{outcomes:?}");
    replica.close().await;
}

#[tokio::test]
async fn a_large_body_is_stored_and_kept_in_memory_once() {
    let (postgres, replica) = one().await;
    let text = "x".repeat(100_000);
    let writes = (0..300)
        .map(|i| Change::Create(draft(&format!("w{i}"), &text)).into())
        .collect();
    for outcome in replica.store.write_many(writes).await {
        outcome.unwrap();
    }
    replica.close().await;

    let replica = crate::support::Replica::open(postgres.config()).await;
    let other = crate::support::Replica::open(postgres.config()).await;
    other
        .store
        .write(Change::Create(draft("late", &text)))
        .await
        .unwrap();
    eventually("the other replica's write arrives", async || {
        replica.store.get(&key("late")).is_some()
    })
    .await;
    for store in [&replica.store, &other.store] {
        let snapshot = store.snapshot(crate::support::WIDGETS);
        assert_eq!(snapshot.len(), 301);
        let bodies: std::collections::HashSet<_> =
            snapshot.iter().map(|stored| stored.body.as_ptr()).collect();
        assert_eq!(bodies.len(), 1);
    }
    let mut psql = postgres.connect().await;
    assert_eq!(psql.count("bodies").await, 1);
    other.close().await;
    replica.close().await;
}

#[tokio::test]
async fn what_is_queued_at_the_stop_is_still_written() {
    let (postgres, replica) = one().await;
    let store = replica.store.clone();
    let writes: Vec<_> = (0..200).map(|i| create(&format!("w{i}")).into()).collect();
    let writing = tokio::spawn(async move { store.write_many(writes).await });
    eventually("the first write is in", async || {
        replica.store.get(&key("w0")).is_some()
    })
    .await;
    replica.close().await;
    let outcomes = writing.await.unwrap();
    let replica = crate::support::Replica::open(postgres.config()).await;
    for (i, outcome) in outcomes.iter().enumerate() {
        assert_eq!(
            outcome.is_ok(),
            replica.store.get(&key(&format!("w{i}"))).is_some(),
            "{outcome:?}"
        );
    }
    replica.close().await;
}

/// A body that stays is not sent again, wherever it is: beside the metadata, or shared, or written when another limit held.
#[tokio::test]
async fn a_replace_that_keeps_the_body_keeps_it_over_restarts() {
    let postgres = TestPostgres::start().await.unwrap();
    let mut last: Vec<Written> = Vec::new();
    let large = "y".repeat(5000);
    for (round, intern_above) in [2048, 1, 1 << 20].into_iter().enumerate() {
        let config = StoreConfig {
            intern_above,
            ..postgres.config()
        };
        let replica = Replica::open(config).await;
        let store = &replica.store;
        for written in &last {
            let stored = store.get(&written.stored.key).unwrap();
            assert_eq!(stored, written.stored);
        }
        if last.is_empty() {
            for (name, spec) in [("small", "x"), ("large", &large), ("other", &large)] {
                last.push(
                    store
                        .write(Change::Create(draft(name, spec)))
                        .await
                        .unwrap(),
                );
            }
        }
        let changes = last.iter().map(|written| {
            let metadata = format!(r#"{{"annotations":{{"round":"{round}"}}}}"#);
            let draft = Draft {
                key: written.stored.key.clone(),
                uid: written.stored.uid,
                generation: 1,
                labels: written.stored.labels.clone(),
                metadata: metadata.into(),
                // The same bytes, elsewhere in memory.
                body: written.stored.body.to_vec().into(),
                status: written.stored.status.clone(),
            };
            let expected = written.stored.revision;
            Change::Replace { draft, expected }.into()
        });
        let outcomes = store.write_many(changes.collect()).await;
        last = outcomes.into_iter().map(Result::unwrap).collect();
        // One alone goes another way.
        let one = last.pop().unwrap();
        let draft = Draft {
            generation: 2,
            key: one.stored.key.clone(),
            uid: one.stored.uid,
            labels: one.stored.labels.clone(),
            metadata: one.stored.metadata.clone(),
            body: one.stored.body.clone(),
            status: format!("{round}").into(),
        };
        let expected = one.stored.revision;
        last.push(
            store
                .write(Change::Replace { draft, expected })
                .await
                .unwrap(),
        );
        replica.close().await;
    }
}

#[tokio::test]
async fn a_batch_of_one_is_judged_as_any_other() {
    let (_postgres, replica) = one().await;
    let store = &replica.store;
    let a = store.write(create("a")).await.unwrap();
    assert_eq!(
        store.write(create("a")).await.unwrap_err(),
        WriteError::Exists
    );
    let b = store.write(replace(&a, "second")).await.unwrap();
    assert_eq!(
        b.revision.0,
        a.revision.0 + 1,
        "a refusal takes no revision"
    );
    assert_eq!(
        store.write(replace(&a, "third")).await.unwrap_err(),
        WriteError::Conflict
    );
    store.write(delete(&b)).await.unwrap();
    assert_eq!(
        store.write(replace(&b, "third")).await.unwrap_err(),
        WriteError::NotFound
    );
    let deposed = Mutation {
        epoch: Some(Epoch(7)),
        ..create("c").into()
    };
    assert_eq!(store.write(deposed).await.unwrap_err(), WriteError::Deposed);
    assert!(store.get(&key("c")).is_none());
    replica.close().await;
}

/// A replica that is alone tells nobody of its writes; from the moment that another listens, it does.
#[tokio::test]
async fn a_replica_that_was_alone_tells_a_newcomer() {
    let postgres = TestPostgres::start().await.unwrap();
    let often = StoreConfig {
        poll_interval: Duration::from_millis(20),
        ..postgres.config()
    };
    let first = Replica::open(often).await;
    // Many a look around, with nobody there.
    for index in 0..30 {
        first
            .store
            .write(create(&format!("a{index}")))
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let never = StoreConfig {
        poll_interval: Duration::from_secs(3600),
        ..postgres.config()
    };
    let second = Replica::open(never).await;
    // Until it listens nothing wakes it; then every write does.
    let mut index = 0;
    eventually("the newcomer hears of a write", async || {
        index += 1;
        let name = format!("b{index}");
        first.store.write(create(&name)).await.unwrap();
        second.store.get(&key(&format!("b{}", index - 1))).is_some()
    })
    .await;
    let last = first.store.write(create("last")).await.unwrap();
    eventually("it hears of each", async || {
        second.store.revision() >= last.revision
    })
    .await;
    second.close().await;
    first.close().await;
}
