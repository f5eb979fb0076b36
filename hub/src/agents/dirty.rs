//! What a session still has to tell its agent: a pure state machine.
//!
//! It holds names, not messages: however often a work changes, it is told once, as it is when its turn comes. So
//! memory is bounded by the number of works, and an agent that reads slowly hears less, never late news.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::work::Work;

/// Marks above this turn into a resync, which needs none.
const MOST_MARKS: usize = 65_536;

/// The works of one namespace, as they are now.
pub(super) trait Works {
    /// Returns the revision at which they are so.
    fn revision(&self) -> i64;
    /// Returns one work.
    fn get(&self, name: &str) -> Option<Work>;
    /// Returns the works after `name` in order of name, at most `most`.
    fn after(&self, name: &str, most: usize) -> Vec<(Arc<str>, Work)>;
}

#[derive(Debug)]
struct Mark {
    revision: i64,
    /// The last state, if the work is gone altogether.
    gone: Option<Work>,
    /// The agent cannot have the body.
    new: bool,
}

/// A set of works whose state the agent has not been told.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    marks: BTreeMap<Arc<str>, Mark>,
    /// All works after this name have to be told, marked or not.
    resync_after: Option<Arc<str>>,
    /// A resync has come to its end, and the agent was not told so.
    complete: bool,
    /// The agent knows everything up to this revision.
    floor: i64,
}

/// What is told next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) works: Vec<(Arc<str>, Work)>,
    /// Those of them whose body the agent cannot have. In a resync it has most.
    pub(super) new: BTreeSet<Arc<str>>,
    /// Every work was told since the resync began.
    pub(super) complete: bool,
}

impl Dirty {
    /// Forgets all that the agent knows already by knowing the state at `revision`.
    pub(super) fn known_up_to(&mut self, revision: i64) {
        self.floor = revision;
        self.marks.retain(|_, mark| mark.revision > revision);
    }

    /// Demands that every work is told.
    pub(super) fn resync(&mut self) {
        self.resync_after = Some(Arc::from(""));
        self.complete = false;
        self.marks.retain(|_, mark| mark.gone.is_some());
    }

    /// Takes note of a change; says whether there is something new to tell.
    pub(super) fn changed(
        &mut self,
        name: &Arc<str>,
        revision: i64,
        before: Option<&Work>,
        after: Option<&Work>,
    ) -> bool {
        if revision <= self.floor || before == after {
            return false;
        }
        let untold = self.marks.contains_key(name)
            || self.resync_after.as_ref().is_some_and(|done| name > done);
        let gone = match (before, after) {
            (Some(before), None) if before.tombstone && !untold => return false,
            // It went without a tombstone, or before its tombstone was told: this notice is the tombstone.
            (Some(before), None) => Some(Work {
                tombstone: true,
                ..before.clone()
            }),
            _ => None,
        };
        if self.marks.len() >= MOST_MARKS && !self.marks.contains_key(name) {
            self.resync();
        }
        let body = |work: &Work| (work.uid, work.digest);
        let new = after.is_some_and(|work| !work.tombstone)
            && (before.map(body) != after.map(body)
                || self.marks.get(name).is_some_and(|mark| mark.new));
        let mark = Mark {
            revision,
            gone,
            new,
        };
        self.marks.insert(name.clone(), mark);
        true
    }

    /// Marks a work as untold whatever the agent was told before.
    pub(super) fn again(&mut self, name: &Arc<str>) {
        self.marks.entry(name.clone()).or_insert(Mark {
            revision: i64::MAX,
            gone: None,
            new: false,
        });
    }

    /// Says whether there is anything to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.resync_after.is_none() && !self.complete
    }

    /// Takes what is to be told next, at most `most` works.
    pub(super) fn take(&mut self, works: &impl Works, most: usize) -> Told {
        let (mut told, mut new) = (Vec::new(), BTreeSet::new());
        if let Some(done) = self.resync_after.take() {
            told = works.after(&done, most);
            for (name, _) in &told {
                self.marks.remove(name);
            }
            if told.len() == most {
                self.resync_after = told.last().map(|(name, _)| name.clone());
            }
            self.complete = self.resync_after.is_none();
        }
        while told.len() < most {
            let Some((name, mark)) = self.marks.pop_first() else {
                break;
            };
            if let Some(work) = works.get(&name).or(mark.gone) {
                if mark.new && !work.tombstone {
                    new.insert(name.clone());
                }
                told.push((name, work));
            }
        }
        Told {
            works: told,
            new,
            complete: std::mem::take(&mut self.complete),
        }
    }
}

#[cfg(test)]
mod tests;
