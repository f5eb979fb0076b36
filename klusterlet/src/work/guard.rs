//! Mass deletion waits for somebody to agree.
//!
//! A tombstone is always obeyed (P3), but a script that deletes a namespace on the hub makes a thousand of them. So a cluster
//! lets only a share of what is applied in it go within a while; the rest waits until an admin approves what was told up to a
//! revision of the hub. That is a fact of the hub, so an approval holds across restarts of the agent and never covers what
//! is deleted later.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use koinon_proto::v1::DeletionHold;
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

/// Deletions within this time count together.
const WINDOW: Duration = Duration::from_secs(600);

/// How much may be deleted without being asked for twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Share of the applied objects, in percent; 100 lets everything pass.
    pub percent: u8,
    /// So many objects may go whatever share they are.
    pub objects: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            percent: 50,
            objects: 20,
        }
    }
}

/// Whether a deletion may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Permit {
    Granted,
    /// It waits; for people.
    Held(String),
}

#[derive(Debug, Default)]
struct State {
    /// Objects that each work owns.
    applied: BTreeMap<String, usize>,
    /// Deletions that were let pass lately.
    passed: VecDeque<(Instant, usize)>,
    /// Deletions that wait: by work, objects and the revision at which they were told.
    waiting: BTreeMap<String, (usize, i64)>,
    /// What was told up to this revision is approved.
    approved: i64,
}

/// Counts the deletions of all works. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DeletionGuard {
    state: Arc<Mutex<State>>,
    allowance: Allowance,
    approvals: watch::Sender<i64>,
    /// Counts what was let pass.
    passes: watch::Sender<u64>,
}

impl DeletionGuard {
    /// Starts with nothing applied and nothing approved.
    #[must_use]
    pub fn new(allowance: Allowance) -> Self {
        Self {
            state: Arc::default(),
            allowance,
            approvals: watch::Sender::new(0),
            passes: watch::Sender::new(0),
        }
    }

    /// Tells when a deletion was let pass, so that it is remembered across a restart.
    #[must_use]
    pub fn passes(&self) -> watch::Receiver<u64> {
        self.passes.subscribe()
    }

    /// What was let pass lately: Unix time in seconds, and objects. `now` is one moment by both clocks.
    #[must_use]
    pub fn passed(&self, now: (i64, Instant)) -> Vec<(i64, usize)> {
        let state = self.state.lock();
        let passed = state.passed.iter();
        passed
            .map(|(at, objects)| (now.0 - age(*at, now.1), *objects))
            .collect()
    }

    /// Takes over what an earlier process let pass.
    pub fn restore(&self, passed: &[(i64, usize)], now: (i64, Instant)) {
        let mut state = self.state.lock();
        for (at, objects) in passed {
            // A clock that was set back makes them as young as can be.
            let age = Duration::from_secs(now.0.saturating_sub(*at).max(0).unsigned_abs());
            if age < WINDOW
                && let Some(at) = now.1.checked_sub(age)
            {
                state.passed.push_back((at, *objects));
            }
        }
    }

    /// Approves what was told up to a revision of the hub, and nothing that is told later.
    pub fn approve(&self, revision: i64) {
        self.state.lock().approved = revision;
        self.approvals.send_replace(revision);
    }

    /// Tells of approvals.
    pub(super) fn approvals(&self) -> watch::Receiver<i64> {
        self.approvals.subscribe()
    }

    /// What waits, if anything does.
    #[must_use]
    pub fn hold(&self) -> Option<DeletionHold> {
        let state = self.state.lock();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Some(DeletionHold {
            revision: state.waiting.values().map(|(_, told)| *told).max()?,
            works: count(state.waiting.len()),
            objects: count(state.waiting.values().map(|(objects, _)| objects).sum()),
            applied: count(state.applied.values().sum()),
        })
    }

    /// Notes how many objects a work owns and has not asked to delete; none when it is gone.
    pub(super) fn applied(&self, work: &str, objects: usize) {
        let mut state = self.state.lock();
        if objects == 0 {
            state.applied.remove(work);
        } else {
            state.applied.insert(work.to_owned(), objects);
        }
    }

    /// The work does not want to delete anything (any more).
    pub(super) fn content(&self, work: &str) {
        self.state.lock().waiting.remove(work);
    }

    /// Asks whether a work may delete so many of its objects, as it was told at `told`.
    pub(super) fn ask(&self, work: &str, objects: usize, told: i64, now: Instant) -> Permit {
        let state = &mut *self.state.lock();
        while let Some((at, _)) = state.passed.front()
            && now.duration_since(*at) >= WINDOW
        {
            state.passed.pop_front();
        }
        state.waiting.remove(work);
        let passed: usize = state.passed.iter().map(|(_, objects)| objects).sum();
        let waiting: usize = state.waiting.values().map(|(objects, _)| objects).sum();
        let total = passed + state.applied.values().sum::<usize>();
        let wanted = passed + waiting + objects;
        let small = wanted <= self.allowance.objects
            || wanted * 100 <= total * usize::from(self.allowance.percent)
            || self.allowance.percent >= 100;
        if small || told <= state.approved {
            state.passed.push_back((now, objects));
            self.passes.send_modify(|count| *count += 1);
            // From now on they count as passed, and not as applied as well.
            if let Some(applied) = state.applied.get_mut(work) {
                *applied = applied.saturating_sub(objects);
            }
            return Permit::Granted;
        }
        state.waiting.insert(work.to_owned(), (objects, told));
        Permit::Held(format!(
            "{wanted} of {total} applied objects would be deleted within {} minutes; they stay until that is approved: koinon cluster approve-deletion",
            WINDOW.as_secs() / 60
        ))
    }
}

fn age(at: Instant, now: Instant) -> i64 {
    i64::try_from(now.saturating_duration_since(at).as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(works: usize, objects: usize) -> DeletionGuard {
        let guard = DeletionGuard::new(Allowance {
            percent: 50,
            objects: 3,
        });
        for n in 0..works {
            guard.applied(&format!("w{n}"), objects);
        }
        guard
    }

    fn granted(
        guard: &DeletionGuard,
        work: usize,
        objects: usize,
        told: i64,
        now: Instant,
    ) -> bool {
        guard.ask(&format!("w{work}"), objects, told, now) == Permit::Granted
    }

    #[test]
    fn a_share_may_go_and_the_rest_waits_for_its_own_approval() {
        let (guard, now) = (guard(10, 2), Instant::now());
        let mut passed = 0;
        for n in 0..10 {
            passed += usize::from(granted(&guard, n, 2, 100, now));
        }
        assert_eq!(passed, 5);
        let hold = guard.hold().unwrap();
        assert_eq!(
            (hold.revision, hold.works, hold.objects, hold.applied),
            (100, 5, 10, 10)
        );
        // An older approval is not for these.
        guard.approve(99);
        assert!(!granted(&guard, 9, 2, 100, now));
        guard.approve(100);
        for n in 5..10 {
            assert!(granted(&guard, n, 2, 100, now));
        }
        assert_eq!(guard.hold(), None);
        // And this one is not for later ones.
        guard.applied("late", 100);
        assert_ne!(guard.ask("late", 100, 101, now), Permit::Granted);
    }

    #[test]
    fn what_was_let_pass_counts_after_a_restart_as_long_as_before() {
        let (before, now) = (guard(4, 2), Instant::now());
        assert!(granted(&before, 0, 2, 1, now) && granted(&before, 1, 2, 1, now));
        let stored = before.passed((1_000, now + Duration::from_secs(5)));
        assert_eq!(stored, [(995, 2), (995, 2)]);
        let now = now + WINDOW;
        for (unix, left) in [
            (1_000, false),
            (995 + 599, false),
            (995 + 600, true),
            (10, false),
        ] {
            let after = guard(4, 2);
            after.applied("w0", 0);
            after.applied("w1", 0);
            after.restore(&stored, (unix, now));
            assert_eq!(granted(&after, 2, 2, 1, now), left, "{unix}");
        }
    }

    #[test]
    fn a_few_objects_may_always_go_and_time_heals() {
        let (small, now) = (guard(1, 3), Instant::now());
        assert!(granted(&small, 0, 3, 1, now));
        let guard = guard(4, 2);
        assert!(granted(&guard, 0, 2, 1, now) && granted(&guard, 1, 2, 1, now));
        assert!(!granted(&guard, 2, 2, 1, now));
        assert!(granted(&guard, 2, 2, 1, now + WINDOW));
    }

    #[test]
    fn a_work_that_wants_its_objects_after_all_does_not_wait() {
        let (guard, now) = (guard(1, 50), Instant::now());
        assert!(!granted(&guard, 0, 50, 1, now));
        assert!(guard.hold().is_some());
        guard.content("w0");
        assert_eq!(guard.hold(), None);
    }

    #[test]
    fn everything_passes_where_that_is_wanted() {
        let guard = DeletionGuard::new(Allowance {
            percent: 100,
            objects: 0,
        });
        guard.applied("w0", 9);
        assert!(granted(&guard, 0, 9, 1, Instant::now()));
    }
}
