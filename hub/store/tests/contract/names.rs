//! Who has a name: claims, and releases that are somebody else's by now.

use koinon_store::{
    Beat, Change, Claim, Draft, Epoch, Identity, Key, Release, Store, Unavailable, Written,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{Replica, WIDGETS, delete, draft, one};

fn identity(cluster: &str, uid: &str) -> Identity {
    Identity {
        cluster: cluster.to_owned(),
        cluster_uid: uid.to_owned(),
        public_key_sha256: [7; 32],
        agent_id: "a".to_owned(),
    }
}

/// The object that has a name.
async fn object(store: &Store, name: &str) -> Written {
    let draft = Draft {
        key: Key::new(WIDGETS, "", name),
        ..draft(name, "x")
    };
    store.write(Change::Create(draft)).await.unwrap()
}

async fn heard(store: &Store, name: &str) -> bool {
    let age = store.heartbeats().age(name).await;
    age.unwrap().is_some()
}

#[derive(Clone, Copy)]
enum Object {
    None,
    Same,
    Other,
}

#[tokio::test]
async fn a_name_is_freed_of_the_cluster_that_went_and_in_the_term_that_is() {
    let (_postgres, replica) = one().await;
    let store = &replica.store;
    let now = store.election("now").campaign().await.epoch();
    let before = Epoch(now.0 - 1);
    let cases = [
        (Object::Same, Some(now), Release::Freed),
        (Object::Same, None, Release::Freed),
        (Object::None, Some(now), Release::Freed),
        // The name was freed and taken while this leader slept.
        (Object::Other, Some(now), Release::Taken),
        (Object::Other, None, Release::Taken),
        (Object::Other, Some(before), Release::Deposed),
        (Object::Same, Some(before), Release::Deposed),
        (Object::None, Some(before), Release::Deposed),
    ];
    for (index, (there, epoch, expected)) in cases.into_iter().enumerate() {
        for known in [true, false] {
            let name = format!("c{index}-{known}");
            let uid = match there {
                Object::None => Uuid::new_v4(),
                Object::Same => object(store, &name).await.stored.uid,
                Object::Other => {
                    object(store, &name).await;
                    Uuid::new_v4()
                }
            };
            let beat = Beat {
                cluster: name.clone(),
                session: Uuid::new_v4(),
            };
            store.heartbeats().beat_many(&[beat]).await.unwrap();
            let identities = store.identities();
            identities.claim(&identity(&name, "one")).await.unwrap();
            // Who knows of no object frees a name that no object has.
            let expected = match (known, there, expected) {
                (false, Object::Same, Release::Freed) => Release::Taken,
                _ => expected,
            };
            let uid = known.then_some(uid);
            let release = || identities.release(WIDGETS, &name, uid, epoch);
            assert_eq!(release().await.unwrap(), expected, "{name}");
            let kept = expected != Release::Freed;
            let bound = identities.get(&name).await.unwrap().is_some();
            assert_eq!(
                (bound, heard(store, &name).await),
                (kept, kept),
                "{name}: whole or not at all"
            );
            if !kept {
                assert_eq!(release().await.unwrap(), Release::Free, "{name}");
                let claim = identities.claim(&identity(&name, "two")).await;
                assert_eq!(claim.unwrap(), Claim::Claimed, "{name}");
            }
        }
    }
    replica.close().await;
}

#[tokio::test]
async fn names_without_an_object_are_found_by_what_is_left_of_them() {
    let (_postgres, replica) = one().await;
    let store = &replica.store;
    let beat = |name: &str| Beat {
        cluster: name.to_owned(),
        session: Uuid::new_v4(),
    };
    object(store, "there").await;
    let beats = ["heard", "both", "there"].map(beat);
    store.heartbeats().beat_many(&beats).await.unwrap();
    let identities = store.identities();
    for name in ["bound", "both", "there"] {
        identities.claim(&identity(name, "one")).await.unwrap();
    }
    let found = identities.abandoned(WIDGETS).await.unwrap();
    assert_eq!(found, ["both", "bound", "heard"]);
    replica.close().await;
}

async fn sweep(store: &Store) -> Result<(), Unavailable> {
    let identities = store.identities();
    for name in identities.abandoned(WIDGETS).await? {
        identities.release(WIDGETS, &name, None, None).await?;
    }
    Ok(())
}

/// Made, bound, gone, made again: whatever a sweep on another replica meets, a name that is bound after its object was made stays
/// bound while the object is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_frees_no_name_of_a_cluster_that_is_coming() {
    let (postgres, replica) = one().await;
    let other = Replica::open(postgres.config()).await;
    let stop = CancellationToken::new();
    let sweeper = {
        let (store, stop) = (other.store.clone(), stop.clone());
        tokio::spawn(async move {
            while !stop.is_cancelled() {
                sweep(&store).await.unwrap();
            }
        })
    };
    let comers: Vec<_> = (0..8)
        .map(|n| {
            let store = replica.store.clone();
            tokio::spawn(async move {
                let name = format!("c{n}");
                let identities = store.identities();
                for round in 0..20 {
                    let made = object(&store, &name).await;
                    let mine = identity(&name, &round.to_string());
                    // The one of the round before may not be swept up yet, or may be at this moment.
                    loop {
                        match identities.claim(&mine).await {
                            Ok(Claim::TakenBy(former)) => {
                                assert_eq!(former.cluster_uid, (round - 1).to_string());
                                let uid = Some(made.stored.uid);
                                let freed = identities.release(WIDGETS, &name, uid, None).await;
                                assert!(matches!(freed, Ok(Release::Freed | Release::Free)));
                            }
                            Ok(Claim::Claimed | Claim::Same) => break,
                            Err(_) => {}
                        }
                    }
                    assert_eq!(identities.get(&name).await.unwrap(), Some(mine));
                    store.write(delete(&made)).await.unwrap();
                }
            })
        })
        .collect();
    for comer in comers {
        comer.await.unwrap();
    }
    stop.cancel();
    sweeper.await.unwrap();
    sweep(&other.store).await.unwrap();
    let left = other.store.identities().abandoned(WIDGETS).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    other.close().await;
    replica.close().await;
}
