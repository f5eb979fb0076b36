//! P5: one decider; a deposed leader cannot write.

use koinon_store::{Epoch, Mutation, Store, WriteError, testing::TestPostgres};

use crate::support::{Replica, create, key, one, status};

fn in_term(change: koinon_store::Change, epoch: Epoch) -> Mutation {
    Mutation {
        epoch: Some(epoch),
        ..change.into()
    }
}

async fn depose(postgres: &TestPostgres) {
    let mut inspector = postgres.connect().await;
    inspector
        .execute("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objsubid = 2 and objid = 2")
        .await;
}

async fn write(store: &Store, mutation: Mutation) -> Result<(), WriteError> {
    store.write(mutation).await.map(drop)
}

#[tokio::test]
async fn a_deposed_leader_cannot_write_and_its_neighbours_in_the_batch_can() {
    let postgres = TestPostgres::start().await.unwrap();
    let (first, second) = (
        Replica::open(postgres.config()).await,
        Replica::open(postgres.config()).await,
    );
    let old = first.store.election("first").campaign().await;
    write(&first.store, in_term(create("a"), old.epoch()))
        .await
        .unwrap();

    depose(&postgres).await;
    old.lost().await;
    assert!(old.is_lost());
    let new = second.store.election("second").campaign().await;
    assert!(new.epoch() > old.epoch());
    assert_eq!(
        second.store.election("x").current().await.unwrap(),
        Some((new.epoch(), "second".to_owned()))
    );

    let a = first.store.write(create("plain")).await.unwrap();
    let outcomes = first
        .store
        .write_many(vec![
            in_term(create("b"), old.epoch()),
            create("c").into(),
            in_term(status(&a, "late"), old.epoch()),
            in_term(create("d"), new.epoch()),
        ])
        .await;
    let errors: Vec<_> = outcomes.into_iter().map(Result::err).collect();
    assert_eq!(
        errors,
        [
            Some(WriteError::Deposed),
            None,
            Some(WriteError::Deposed),
            None
        ]
    );
    assert!(first.store.get(&key("b")).is_none());
    assert_eq!(first.store.get(&key("plain")).unwrap().status, "");
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn there_is_one_leader_until_it_resigns() {
    let postgres = TestPostgres::start().await.unwrap();
    let (first, second) = (
        Replica::open(postgres.config()).await,
        Replica::open(postgres.config()).await,
    );
    let term = first.store.election("first").campaign().await;
    let candidate = tokio::spawn({
        let election = second.store.election("second");
        async move { election.campaign().await }
    });
    // Two writes of the leader go by, and the candidate still waits.
    for name in ["a", "b"] {
        write(&first.store, in_term(create(name), term.epoch()))
            .await
            .unwrap();
    }
    assert!(!candidate.is_finished());
    drop(term);
    let next = candidate.await.unwrap();
    assert!(!next.is_lost());
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn leadership_ends_with_the_database_and_is_won_again() {
    let (mut postgres, replica) = one().await;
    let term = replica.store.election("only").campaign().await;
    postgres.kill().await;
    term.lost().await;
    let again = tokio::spawn({
        let election = replica.store.election("only");
        async move { election.campaign().await }
    });
    postgres.restart().await.unwrap();
    let next = again.await.unwrap();
    // The throwaway server may forget the last transactions, but not in this test: the term began long ago.
    assert!(next.epoch() >= term.epoch());
    replica.close().await;
}
