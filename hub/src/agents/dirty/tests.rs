//! The dirty set against a model of hub and agent (P3, P12).

use koinon_store::Digest;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

type Hub = BTreeMap<Arc<str>, Work>;

impl Works for Hub {
    fn revision(&self) -> i64 {
        0
    }

    fn get(&self, name: &str) -> Option<Work> {
        BTreeMap::get(self, name).cloned()
    }

    fn after(&self, name: &str, most: usize) -> Vec<(Arc<str>, Work)> {
        self.iter()
            .filter(|(key, _)| &***key > name)
            .take(most)
            .map(|(name, work)| (name.clone(), work.clone()))
            .collect()
    }
}

fn work(generation: i64) -> Work {
    let digest = Digest::of(&generation.to_be_bytes());
    Work {
        uid: Uuid::from_u128(1),
        generation,
        digest,
        tombstone: false,
        directives: BTreeMap::new(),
    }
}

#[test]
fn a_work_that_changes_often_is_told_once_as_it_is() {
    let name: Arc<str> = "a".into();
    let mut dirty = Dirty::default();
    let mut hub = Hub::new();
    for generation in 1..=1000 {
        let before = hub.insert(name.clone(), work(generation));
        dirty.changed(&name, generation, before.as_ref(), Some(&work(generation)));
    }
    assert_eq!(dirty.take(&hub, 10).works, [(name, work(1000))]);
    assert!(dirty.is_empty());
}

#[test]
fn a_change_that_agents_cannot_see_is_not_told() {
    let mut dirty = Dirty::default();
    assert!(!dirty.changed(&"a".into(), 1, Some(&work(1)), Some(&work(1))));
    assert!(dirty.is_empty());
}

#[test]
fn a_removal_that_was_told_as_a_tombstone_is_not_told_again() {
    let tombstone = Work {
        tombstone: true,
        ..work(1)
    };
    let mut dirty = Dirty::default();
    assert!(!dirty.changed(&"a".into(), 2, Some(&tombstone), None));
    assert!(dirty.changed(&"b".into(), 3, Some(&work(1)), None));
    assert_eq!(dirty.take(&Hub::new(), 10).works, [("b".into(), tombstone)]);
}

#[test]
fn the_end_of_a_resync_is_told_once_and_only_when_every_work_was() {
    let hub: Hub = (0..5).map(|n| (format!("{n}").into(), work(1))).collect();
    for (most, ends_at) in [(2, 3), (5, 2), (9, 1)] {
        let mut dirty = Dirty::default();
        dirty.resync();
        let mut turns = Vec::new();
        while !dirty.is_empty() {
            turns.push(dirty.take(&hub, most));
        }
        let works: usize = turns.iter().map(|turn| turn.works.len()).sum();
        let ends: Vec<bool> = turns.iter().map(|turn| turn.complete).collect();
        assert_eq!(works, 5);
        assert_eq!(ends.iter().filter(|end| **end).count(), 1, "{most}");
        assert_eq!((ends.len(), ends.last()), (ends_at, Some(&true)), "{most}");
    }
    // There is an end also where there is no work; without a resync there is none.
    let mut dirty = Dirty::default();
    dirty.resync();
    assert!(dirty.take(&Hub::new(), 9).complete);
    dirty.changed(&"a".into(), 1, None, Some(&work(1)));
    assert!(!dirty.take(&hub, 9).complete);
    // A resync that begins anew ends anew.
    dirty.resync();
    dirty.take(&hub, 4);
    dirty.resync();
    assert!(!dirty.take(&hub, 4).complete);
    assert!(dirty.take(&hub, 4).complete);
}

#[test]
fn marks_are_bounded_by_falling_back_to_a_resync() {
    let mut dirty = Dirty::default();
    for i in 0..MOST_MARKS + 10 {
        dirty.changed(&format!("{i:08}").into(), 1, None, Some(&work(1)));
    }
    assert!(dirty.marks.len() <= MOST_MARKS);
    assert!(dirty.resync_after.is_some());
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8),
    /// Begins a deletion: the object stays with a tombstone.
    Delete(u8),
    /// The object goes, with or without a tombstone before.
    Vanish(u8),
    Resync,
    Take(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..12u8).prop_map(Step::Put),
        2 => (0..12u8).prop_map(Step::Delete),
        2 => (0..12u8).prop_map(Step::Vanish),
        1 => Just(Step::Resync),
        4 => (1..5usize).prop_map(Step::Take),
    ];
    proptest::collection::vec(step, 0..80)
}

/// The agent as it believes the hub to be; a tombstone removes.
fn tell(agent: &mut Hub, told: Vec<(Arc<str>, Work)>) {
    for (name, work) in told {
        if work.tombstone {
            agent.remove(&name);
        } else {
            agent.insert(name, work);
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_agent_ends_with_what_the_hub_has(steps in steps(), known in any::<bool>()) {
        let mut hub = Hub::new();
        let mut agent = Hub::new();
        let mut dirty = Dirty::default();
        let mut revision = 0;
        for name in 0..6u8 {
            hub.insert(format!("{name:02}").into(), work(1));
        }
        // A new session: either the agent holds all that there is, or it is told everything.
        dirty.known_up_to(revision);
        if known {
            agent.clone_from(&hub);
        } else {
            dirty.resync();
        }
        for step in steps {
            revision += 1;
            let name = |name: u8| -> Arc<str> { format!("{name:02}").into() };
            match step {
                Step::Put(n) => {
                    let name = name(n);
                    let before = hub.get(&name).cloned();
                    let after = Work { tombstone: before.as_ref().is_some_and(|b| b.tombstone), ..work(revision) };
                    hub.insert(name.clone(), after.clone());
                    dirty.changed(&name, revision, before.as_ref(), Some(&after));
                }
                Step::Delete(n) => {
                    let name = name(n);
                    if let Some(before) = hub.get(&name).cloned() {
                        let after = Work { tombstone: true, ..before.clone() };
                        hub.insert(name.clone(), after.clone());
                        dirty.changed(&name, revision, Some(&before), Some(&after));
                    }
                }
                Step::Vanish(n) => {
                    let name = name(n);
                    let before = hub.remove(&name);
                    dirty.changed(&name, revision, before.as_ref(), None);
                }
                Step::Resync => dirty.resync(),
                Step::Take(most) => {
                    let told = dirty.take(&hub, most).works;
                    prop_assert!(told.len() <= most);
                    tell(&mut agent, told);
                }
            }
            prop_assert!(dirty.marks.len() <= 12);
        }
        while !dirty.is_empty() {
            let told = dirty.take(&hub, 3).works;
            tell(&mut agent, told);
        }
        hub.retain(|_, work| !work.tombstone);
        prop_assert_eq!(agent, hub);
    }
}
