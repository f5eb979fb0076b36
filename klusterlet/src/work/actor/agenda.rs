//! When an actor looks again, and at what. Pure.
//!
//! Whatever is due is taken off when it is told: a look that does not come to its end does not make the next one due at once,
//! unless it says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{Failed, Scope, failing::Failing};
use crate::cluster::ObjectKey;

/// How soon an object that is left alone is looked at when it has changed, and how often.
const GLANCE: Duration = Duration::from_secs(2);

/// The times at which a work is looked at again, if nothing happens.
#[derive(Debug)]
pub(super) struct Agenda {
    /// Everything, at the latest.
    pub(super) full: Instant,
    /// The work as a whole is not as it should be: with it, all that failed is tried again.
    pub(super) retry: Option<Instant>,
    /// Manifests that failed.
    pub(super) failing: Failing,
    /// What the spec drops is to go.
    pub(super) drops: Option<Instant>,
    /// What was applied is to be recorded.
    pub(super) books: Option<Instant>,
    /// Objects that are left alone until then.
    pub(super) resting: BTreeMap<ObjectKey, Instant>,
    /// When those of them are looked at that have changed, and which.
    glance: Option<Instant>,
    changed: BTreeSet<ObjectKey>,
    /// The work is being deleted: it is looked at again then, whatever else was due. What is kept meanwhile may be tried again and rest.
    leaving: Option<Instant>,
}

impl Agenda {
    /// Starts with a look at everything.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            full: now,
            retry: None,
            failing: Failing::default(),
            drops: None,
            books: None,
            resting: BTreeMap::new(),
            glance: None,
            changed: BTreeSet::new(),
            leaving: None,
        }
    }

    /// The work is to stay.
    pub(super) const fn stays(&mut self) {
        self.leaving = None;
    }

    /// The work is being deleted, and looked at again then: whatever else was due is moot.
    pub(super) fn leaves(&mut self, at: Instant) {
        (self.retry, self.books, self.leaving) = (None, None, Some(at));
        self.resting.clear();
        self.failing.clear();
        self.drops = None;
    }

    /// An object has changed that is left alone: it is looked at soon, so that what it says of itself is known.
    pub(super) fn changes(&mut self, key: ObjectKey, now: Instant) {
        self.changed.insert(key);
        self.glance.get_or_insert(now + GLANCE);
    }

    /// When something is due.
    pub(super) fn next(&self) -> Instant {
        let rested = self.resting.values().min().copied();
        let books = self.books.filter(|_| self.leaving.is_none());
        let again = self.failing.next();
        let all = [rested, books, self.retry, again, self.drops, self.glance];
        let all = all.into_iter().flatten();
        all.fold(self.leaving.unwrap_or(self.full), Instant::min)
    }

    /// Takes off what is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<Scope> {
        let is_due = |at: &mut Instant| *at <= now;
        if self.leaving.unwrap_or(self.full) <= now {
            return Some(Scope::Everything);
        }
        // A retry looks at what failed; what is fine was not touched.
        let over: BTreeSet<_> = self
            .resting
            .extract_if(.., |_, until| *until <= now)
            .map(|(key, _)| key)
            .collect();
        let failed = self.failing.due(now);
        if self.retry.take_if(is_due).is_some() {
            return Some(Scope::Again(over, Failed::All));
        }
        // Each look takes away what is to go.
        let drops = self.drops.take_if(is_due).is_some();
        if drops || failed.is_some() || !over.is_empty() {
            let failed = Failed::These(failed.unwrap_or_default());
            return Some(Scope::Again(over, failed));
        }
        if self.glance.take_if(is_due).is_some() {
            let mut changed = std::mem::take(&mut self.changed);
            changed.retain(|key| self.resting.contains_key(key));
            return Some(Scope::Glance(changed));
        }
        if self.leaving.is_some() {
            return None;
        }
        self.books.take_if(is_due).map(|_| Scope::Books)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::known::NAMESPACES;

    fn key(name: &str) -> ObjectKey {
        ObjectKey {
            resource: Arc::new(NAMESPACES.clone()),
            namespace: String::new(),
            name: name.into(),
        }
    }

    fn these<const N: usize>(ordinals: [usize; N]) -> Failed {
        Failed::These(BTreeSet::from(ordinals))
    }

    #[test]
    fn what_is_due_is_told_once() {
        let now = Instant::now();
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        let mut agenda = Agenda::new(at(100));
        agenda.books = Some(at(1));
        agenda.retry = Some(at(2));
        agenda.resting = BTreeMap::from([(key("a"), at(2)), (key("b"), at(3))]);
        assert_eq!((agenda.next(), agenda.due(now)), (at(1), None));
        assert_eq!(agenda.due(at(1)), Some(Scope::Books));
        assert_eq!((agenda.next(), agenda.due(at(1))), (at(2), None));
        assert_eq!(
            agenda.due(at(2)),
            Some(Scope::Again(BTreeSet::from([key("a")]), Failed::All))
        );
        assert_eq!(
            agenda.due(at(3)),
            Some(Scope::Again(BTreeSet::from([key("b")]), these([])))
        );
        agenda.failing.failed(4, at(3));
        let again = agenda.next();
        assert!(again < at(4));
        assert_eq!(
            agenda.due(again),
            Some(Scope::Again(BTreeSet::new(), these([4])))
        );
        agenda.failing.succeeded(4);
        agenda.drops = Some(at(50));
        assert_eq!((agenda.next(), agenda.due(at(49))), (at(50), None));
        let none = Scope::Again(BTreeSet::new(), these([]));
        assert_eq!(agenda.due(at(50)), Some(none));
        assert_eq!((agenda.next(), agenda.due(at(3))), (at(100), None));
        assert_eq!(agenda.due(at(100)), Some(Scope::Everything));
    }

    #[test]
    fn what_is_left_alone_is_looked_at_now_and_then() {
        let now = Instant::now();
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        let mut agenda = Agenda::new(at(100));
        agenda.resting = BTreeMap::from([(key("a"), at(3)), (key("b"), at(60))]);
        agenda.changes(key("b"), at(1));
        agenda.changes(key("a"), at(2));
        assert_eq!(agenda.next(), at(3));
        // What has rested is seen to anyhow.
        let over = Scope::Again(BTreeSet::from([key("a")]), these([]));
        assert_eq!(agenda.due(at(3)), Some(over));
        let glance = Scope::Glance(BTreeSet::from([key("b")]));
        assert_eq!(agenda.due(at(3)), Some(glance));
        assert_eq!((agenda.next(), agenda.due(at(4))), (at(60), None));
        agenda.changes(key("b"), at(5));
        assert_eq!(agenda.next(), at(7));
    }

    #[test]
    fn a_work_that_leaves_has_nothing_else_to_do() {
        let now = Instant::now();
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        let mut agenda = Agenda::new(at(100));
        agenda.books = Some(at(1));
        agenda.retry = Some(at(2));
        agenda.resting.insert(key("a"), at(3));
        agenda.failing.failed(0, now);
        // All of that is past when the deletion has to wait.
        agenda.leaves(at(2_000));
        for seconds in [4, 101, 1_999] {
            assert_eq!((agenda.next(), agenda.due(at(seconds))), (at(2_000), None));
        }
        assert_eq!(agenda.due(at(2_000)), Some(Scope::Everything));
        // It is kept meanwhile, and something of that failed.
        (agenda.retry, agenda.books) = (Some(at(5)), Some(at(4)));
        assert_eq!(agenda.next(), at(5));
        assert_eq!(agenda.due(at(4)), None);
        assert_eq!(
            agenda.due(at(5)),
            Some(Scope::Again(BTreeSet::new(), Failed::All))
        );
        agenda.books = None;
        // It is to stay after all.
        agenda.stays();
        assert_eq!(agenda.next(), at(100));
    }
}
