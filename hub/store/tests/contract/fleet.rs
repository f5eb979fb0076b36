//! Heartbeats, identities, authorities; migrations.

use std::time::Duration;

use koinon_store::{Authority, Beat, Claim, Identity, Release, Store, testing::TestPostgres};
use uuid::Uuid;

use crate::support::{Replica, WIDGETS, create, eventually, one};

/// P12: who reads the past, as often as he likes, leaves connections to the heartbeats.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_of_the_past_keep_no_heartbeat_from_being_written() {
    let postgres = TestPostgres::start().await.unwrap();
    let mut config = postgres.config();
    config.query_timeout = Duration::from_secs(10);
    let replica = Replica::open(config).await;
    let store = &replica.store;
    let revision = store.revision();
    store.write(create("late")).await.unwrap();
    let mut lock = postgres.connect().await;
    lock.execute("begin; lock table changes in access exclusive mode")
        .await;
    let readers: Vec<_> = (0..60)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.recall(&[WIDGETS], revision).await })
        })
        .collect();
    let beat = Beat {
        cluster: "c1".to_owned(),
        session: Uuid::new_v4(),
    };
    while !readers.iter().any(tokio::task::JoinHandle::is_finished) {
        store
            .heartbeats()
            .beat_many(std::slice::from_ref(&beat))
            .await
            .expect("a heartbeat finds a connection");
    }
    for reader in readers {
        assert!(reader.await.unwrap().is_err(), "the log cannot be read");
    }
    lock.execute("rollback").await;
    let past = store.recall(&[WIDGETS], revision).await.unwrap();
    assert!(past.objects.is_empty(), "it was not there yet");
}

#[tokio::test]
async fn heartbeats_age_by_the_clock_of_the_database() {
    let (_postgres, replica) = one().await;
    let heartbeats = replica.store.heartbeats();
    let revision = replica.store.revision();
    let beats: Vec<_> = (0..500)
        .map(|i| Beat {
            cluster: format!("c{i}"),
            session: Uuid::new_v4(),
        })
        .collect();
    heartbeats.beat_many(&beats).await.unwrap();
    let other = Beat {
        session: Uuid::new_v4(),
        ..beats[7].clone()
    };
    eventually("they age", async || {
        heartbeats
            .ages()
            .await
            .unwrap()
            .iter()
            .all(|(_, age)| *age > Duration::from_millis(20))
    })
    .await;
    // One cluster twice in a batch counts once.
    heartbeats
        .beat_many(&[beats[7].clone(), other])
        .await
        .unwrap();
    let all = heartbeats.all().await.unwrap();
    assert_eq!(all.len(), 500);
    let youngest = all.iter().min_by_key(|heartbeat| heartbeat.age).unwrap();
    assert_eq!(youngest.cluster, "c7");
    let identities = replica.store.identities();
    let forgotten = identities.release(WIDGETS, "c7", None, None).await;
    assert_eq!(forgotten.unwrap(), Release::Freed);
    assert_eq!(heartbeats.ages().await.unwrap().len(), 499);
    assert_eq!(
        replica.store.fresh().await.unwrap(),
        revision,
        "signs of life are no changes"
    );
    replica.close().await;
}

fn identity(uid: &str) -> Identity {
    let public_key_sha256 = [uid.as_bytes()[0]; 32];
    Identity {
        cluster: "east".to_owned(),
        cluster_uid: uid.to_owned(),
        public_key_sha256,
        agent_id: "a".to_owned(),
    }
}

#[tokio::test]
async fn of_many_clusters_that_claim_a_name_one_gets_it() {
    let (postgres, replica) = one().await;
    let other = Replica::open(postgres.config()).await;
    let claims: Vec<_> = (0..20)
        .map(|i| {
            let identities = if i % 2 == 0 {
                replica.store.identities()
            } else {
                other.store.identities()
            };
            tokio::spawn(async move {
                let identity = identity(&format!("{i}-uid"));
                (identity.clone(), identities.claim(&identity).await.unwrap())
            })
        })
        .collect();
    let mut owners = Vec::new();
    let mut told = Vec::new();
    for claim in claims {
        match claim.await.unwrap() {
            (identity, Claim::Claimed) => owners.push(identity),
            (_, Claim::TakenBy(owner)) => told.push(owner),
            (identity, Claim::Same) => panic!("{identity:?} claimed once"),
        }
    }
    assert_eq!(owners.len(), 1);
    assert!(told.iter().all(|owner| *owner == owners[0]));
    let identities = replica.store.identities();
    let renewed = Identity {
        public_key_sha256: [9; 32],
        ..owners[0].clone()
    };
    assert_eq!(identities.claim(&renewed).await.unwrap(), Claim::Same);
    assert_eq!(identities.get("east").await.unwrap(), Some(renewed));

    let expiry = "2027-01-01T00:00:00Z".parse().unwrap();
    identities
        .record_certificate(&[1, 2, 3], "east", expiry)
        .await
        .unwrap();
    identities
        .record_certificate(&[1, 2, 3], "east", expiry)
        .await
        .unwrap();
    let certificates = identities.certificates("east").await.unwrap();
    assert_eq!((certificates.len(), certificates[0].not_after), (1, expiry));

    for expected in [Release::Freed, Release::Free] {
        let released = identities.release(WIDGETS, "east", None, None).await;
        assert_eq!(released.unwrap(), expected);
    }
    assert_eq!(
        identities.claim(&identity("new")).await.unwrap(),
        Claim::Claimed
    );
    other.close().await;
    replica.close().await;
}

#[tokio::test]
async fn all_replicas_share_one_authority() {
    let (postgres, replica) = one().await;
    let other = Replica::open(postgres.config()).await;
    let make = |store: &Store, n: u8| {
        let authorities = store.authorities();
        let made = Authority {
            certificate_der: vec![n],
            private_key_pkcs8: vec![n, n],
        };
        async move { authorities.load_or_create("clusters", made).await.unwrap() }
    };
    assert_eq!(
        replica.store.authorities().load("clusters").await.unwrap(),
        None
    );
    let (one, two) = tokio::join!(make(&replica.store, 1), make(&other.store, 2));
    assert_eq!(one, two);
    assert_eq!(make(&replica.store, 3).await, one);
    other.close().await;
    replica.close().await;
}

#[tokio::test]
async fn replicas_that_start_at_once_on_an_empty_database_migrate_it_once() {
    let postgres = TestPostgres::start().await.unwrap();
    let open = || Store::open(postgres.config());
    let (a, b, c) = tokio::join!(open(), open(), open());
    let incarnations: std::collections::HashSet<_> = [a, b, c]
        .map(|opened| opened.unwrap().0.incarnation())
        .into_iter()
        .collect();
    assert_eq!(incarnations.len(), 1);
    let replica = Replica::open(postgres.config()).await;
    replica.store.write(create("a")).await.unwrap();
    assert!(incarnations.contains(&replica.store.incarnation()));
    replica.close().await;
}

#[tokio::test]
async fn every_registry_has_its_own_incarnation() {
    let (_one, first) = one().await;
    let (_other, second) = one().await;
    assert_ne!(first.store.incarnation(), second.store.incarnation());
    first.close().await;
    second.close().await;
}
