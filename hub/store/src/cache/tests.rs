use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// One change to one of a few objects of two resources.
#[derive(Clone, Copy, Debug)]
struct Step {
    resource: usize,
    name: u8,
    what: u8,
    body: u8,
}

const NAMESPACES: [&str; 2] = ["one", "two"];

const RESOURCES: [&str; 2] = ["gadgets.example.com", "widgets.example.com"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..2usize, 0..4u8, 0..6u8, 0..3u8).prop_map(|(resource, name, what, body)| Step {
        resource,
        name,
        what,
        body,
    });
    proptest::collection::vec(step, 1..60)
}

type Model = BTreeMap<(usize, u8), Stored>;

/// Turns steps into a valid log, and gives the state after each change.
fn log(steps: &[Step]) -> (Vec<Delta>, Vec<Model>) {
    let (mut deltas, mut models) = (Vec::new(), vec![Model::new()]);
    let mut model = Model::new();
    for (i, step) in steps.iter().enumerate() {
        let revision = Revision(i as i64 + 1);
        let at = (step.resource, step.name);
        let namespace = NAMESPACES[usize::from(step.name) / 2];
        let key = Key::new(RESOURCES[step.resource], namespace, step.name.to_string());
        let effect = match (model.get(&at).cloned(), step.what) {
            (Some(_), 0) => {
                model.remove(&at);
                Effect::Delete { key }
            }
            (Some(stored), 1 | 2) => {
                let status = Bytes::from(format!("{{\"at\":{revision}}}"));
                model.insert(at, stored.with_status(revision, status.clone()));
                Effect::Status {
                    key,
                    uid: stored.uid,
                    status,
                }
            }
            (before, _) => {
                let body = Bytes::from(vec![step.body; 1000]);
                let stored = Stored {
                    key,
                    uid: before.map_or_else(|| Uuid::from_u128(i as u128), |before| before.uid),
                    revision,
                    generation: 1,
                    labels: Arc::default(),
                    metadata: Bytes::from_static(b"{}"),
                    digest: Digest::of(&body),
                    body,
                    status: Bytes::new(),
                };
                model.insert(at, stored.clone());
                Effect::Put(stored)
            }
        };
        deltas.push(Delta { revision, effect });
        models.push(model.clone());
    }
    (deltas, models)
}

fn objects(cache: &Cache, resource: usize) -> Vec<Stored> {
    cache
        .snapshot(RESOURCES[resource])
        .iter()
        .map(|stored| (**stored).clone())
        .collect()
}

fn expected(model: &Model, resource: usize) -> Vec<Stored> {
    model
        .iter()
        .filter(|((of, _), _)| *of == resource)
        .map(|(_, stored)| stored.clone())
        .collect()
}

/// A watcher with what it was told so far.
struct Follower {
    watch: Watch,
    resource: usize,
    /// Of which namespace it is told, if not of all.
    namespace: Option<&'static str>,
    state: BTreeMap<Key, Stored>,
    told: Revision,
    expired: bool,
}

impl Follower {
    fn is_told_of(&self, key: &Key) -> bool {
        self.namespace
            .is_none_or(|namespace| *key.namespace == *namespace)
    }

    /// Takes what there is. Fails on a breach of P1.
    fn drain(&mut self) {
        loop {
            match self.watch.try_next() {
                Err(_) => return self.expired = true,
                Ok(None) => return,
                Ok(Some(batch)) => {
                    for event in &batch.events {
                        assert!(event.revision > self.told);
                        self.told = event.revision;
                        let key = event.latest().key.clone();
                        assert!(self.is_told_of(&key));
                        assert_eq!(event.before.as_deref(), self.state.get(&key));
                        match &event.after {
                            Some(after) => drop(self.state.insert(key, (**after).clone())),
                            None => drop(self.state.remove(&key)),
                        }
                    }
                    assert!(batch.revision >= self.told);
                    self.told = batch.revision;
                }
            }
        }
    }
}

proptest! {
    /// What was is the replay of the log up to there, as long as the ring reaches back so far.
    #[test]
    fn the_past_is_the_replay_of_the_log_up_to_there(steps in steps(), ring in 1..70usize) {
        let (deltas, models) = log(&steps);
        let limits = Limits { events: ring, bytes: usize::MAX };
        let cache = Cache::new(Revision(0), Revision(0), limits, Vec::new());
        let head = Revision(deltas.len() as i64);
        cache.apply(Revision(0), head, deltas.clone()).unwrap();
        for (at, model) in models.iter().enumerate() {
            for (resource, name) in RESOURCES.into_iter().enumerate() {
                let since = deltas[at..].iter().filter(|delta| &*delta.effect.key().resource == name).count();
                match cache.past(name, Revision(at as i64)) {
                    Ok(past) => {
                        let was: Vec<Stored> = past.iter().map(|stored| (**stored).clone()).collect();
                        prop_assert_eq!(was, expected(model, resource));
                        prop_assert_eq!(past.revision(), Revision(at as i64));
                    }
                    Err(_) => prop_assert!(since > ring, "{} events since, {} kept", since, ring),
                }
            }
        }
    }

    /// The cache, and what every watcher was told, are the replay of the log: however the log is cut into
    /// stretches, and however these overlap.
    #[test]
    fn cache_and_watchers_are_the_replay_of_the_log(
        steps in steps(),
        cuts in proptest::collection::vec((1..8usize, 0..5usize, any::<bool>()), 60),
        ring in 1..40usize,
    ) {
        let (deltas, models) = log(&steps);
        let limits = Limits { events: ring, bytes: usize::MAX };
        let cache = Arc::new(Cache::new(Revision(0), Revision(0), limits, Vec::new()));
        let mut followers: Vec<Follower> = Vec::new();
        let mut at = 0;
        for (length, overlap, look) in cuts {
            let from = at - overlap.min(at);
            let to = (at + length).min(deltas.len());
            cache.apply(Revision(from as i64), Revision(to as i64), deltas[from..to].to_vec()).unwrap();
            at = to;
            prop_assert_eq!(cache.revision(), Revision(at as i64));
            for (resource, name) in RESOURCES.into_iter().enumerate() {
                prop_assert_eq!(objects(&cache, resource), expected(&models[at], resource));
                let snapshot = cache.snapshot(name);
                for namespace in [None, Some(NAMESPACES[0]), Some(NAMESPACES[1])] {
                    let watch = cache.watch(name, snapshot.revision()).unwrap();
                    let watch = match namespace {
                        Some(namespace) => watch.within(namespace),
                        None => watch,
                    };
                    let told = snapshot.revision();
                    let mut follower = Follower { watch, resource, namespace, state: BTreeMap::new(), told, expired: false };
                    for stored in snapshot.iter().filter(|stored| follower.namespace.is_none_or(|one| *stored.key.namespace == *one)) {
                        follower.state.insert(stored.key.clone(), (**stored).clone());
                    }
                    followers.push(follower);
                }
            }
            if look {
                followers.iter_mut().for_each(Follower::drain);
            }
        }
        for follower in &mut followers {
            follower.drain();
            let state: Vec<Stored> = follower.state.values().cloned().collect();
            if follower.expired {
                // Only a watcher that was overtaken by more events than the ring holds.
                let missed = deltas.iter().filter(|delta| {
                    delta.revision > follower.told && *delta.effect.key().resource == *RESOURCES[follower.resource]
                });
                prop_assert!(missed.count() > ring);
            } else {
                let mut expected = expected(&models[at], follower.resource);
                expected.retain(|stored| follower.is_told_of(&stored.key));
                prop_assert_eq!(state, expected);
            }
        }
    }
}

/// A change to one object of a namespace.
fn change(revision: i64, namespace: &str) -> Delta {
    let body = Bytes::from_static(b"{}");
    let stored = Stored {
        key: Key::new("r", namespace, "a"),
        uid: Uuid::nil(),
        revision: Revision(revision),
        generation: 1,
        labels: Arc::default(),
        metadata: body.clone(),
        digest: Digest::of(&body),
        body,
        status: Bytes::new(),
    };
    Delta {
        revision: Revision(revision),
        effect: Effect::Put(stored),
    }
}

#[test]
fn who_follows_a_quiet_namespace_sleeps_and_does_not_fall_out_of_the_ring() {
    let limits = Limits {
        events: 100,
        bytes: usize::MAX,
    };
    let cache = Arc::new(Cache::new(Revision(0), Revision(0), limits, Vec::new()));
    let mut watch = cache.watch("r", Revision(0)).unwrap().within("quiet");
    let mut woken = 0;
    for revision in 1..=2000 {
        let delta = change(revision, "busy");
        cache
            .apply(Revision(revision - 1), Revision(revision), vec![delta])
            .unwrap();
        if watch.is_woken() {
            woken += 1;
            assert_eq!(watch.try_next().unwrap().map(|batch| batch.events), None);
        }
    }
    assert!((1..=60).contains(&woken), "woken {woken} times");
    cache
        .apply(Revision(2000), Revision(2001), vec![change(2001, "quiet")])
        .unwrap();
    assert!(watch.is_woken() && watch.is_behind());
    let batch = watch.try_next().unwrap().unwrap();
    assert_eq!(batch.events.len(), 1);
    assert_eq!(batch.revision, Revision(2001));
}

#[test]
fn a_gap_is_refused() {
    let cache = Cache::new(
        Revision(5),
        Revision(5),
        Limits {
            events: 9,
            bytes: usize::MAX,
        },
        Vec::new(),
    );
    let gap = cache.apply(Revision(7), Revision(9), Vec::new());
    assert_eq!(
        gap,
        Err(ApplyError::Gap {
            have: Revision(5),
            from: Revision(7)
        })
    );
}

#[test]
fn a_change_that_does_not_fit_is_noticed() {
    let cache = Cache::new(
        Revision(0),
        Revision(0),
        Limits {
            events: 9,
            bytes: usize::MAX,
        },
        Vec::new(),
    );
    let key = Key::new("r", "", "nobody");
    let delta = Delta {
        revision: Revision(1),
        effect: Effect::Delete { key: key.clone() },
    };
    let corrupt = cache.apply(Revision(0), Revision(1), vec![delta]);
    assert_eq!(
        corrupt,
        Err(ApplyError::Corrupt {
            revision: Revision(1),
            key
        })
    );
}

#[test]
fn bodies_that_nobody_has_are_forgotten() {
    let mut bodies = Bodies::default();
    let body = |n: u32| Bytes::from(format!("{n:0>300}").into_bytes());
    let (steps, _) = log(&[Step {
        resource: 0,
        name: 0,
        what: 5,
        body: 0,
    }]);
    let Effect::Put(template) = steps[0].effect.clone() else {
        panic!("a put")
    };
    let mut kept = Vec::new();
    for n in 0..3000 {
        let mut stored = Stored {
            digest: Digest::of(&body(n)),
            body: body(n),
            ..template.clone()
        };
        bodies.share(&mut stored);
        if n < 10 {
            kept.push(stored);
        }
        bodies.sweep();
    }
    assert!(bodies.len() < 2100);
    assert!(
        kept.iter()
            .all(|stored| bodies.get(&stored.digest).is_some())
    );
}
