//! Mass deletion waits for somebody to agree.
//!
//! A tombstone is always obeyed (P3), but a script that deletes a namespace on the hub makes a thousand of them. So a cluster
//! lets only a share of what is applied in it go within a while; the rest waits until an admin approves what was told up to a
//! revision of the hub. That is a fact of the hub, so an approval holds across restarts of the agent and never covers what
//! is deleted later.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use koinon_proto::v1::DeletionHold;
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

/// Deletions within this time count together.
const WINDOW: Duration = Duration::from_secs(600);

/// What is let pass within this time is one entry: a list of all would grow with the works of a cluster, and be stored each time.
const TOGETHER: Duration = Duration::from_secs(1);

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
    /// Nobody knows yet how much is applied; it is soon known.
    Later,
    /// It waits; for people.
    Held(String),
}

/// How much is to go, of how much.
struct Share {
    wanted: usize,
    total: usize,
}

/// Numbers by name, and their sum: it is asked for with each deletion, and there may be ten thousand works.
#[derive(Debug, Default)]
struct Tally {
    each: BTreeMap<String, usize>,
    sum: usize,
}

impl Tally {
    /// Sets a number; returns the one before.
    fn set(&mut self, name: &str, number: usize) -> usize {
        let before = if number == 0 {
            self.each.remove(name)
        } else {
            self.each.insert(name.to_owned(), number)
        };
        let before = before.unwrap_or_default();
        self.sum = self.sum - before + number;
        before
    }

    /// Takes so much off a number, as far as it goes.
    fn reduce(&mut self, name: &str, by: usize) {
        if let Some(number) = self.each.get_mut(name) {
            let by = by.min(*number);
            *number -= by;
            self.sum -= by;
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// Objects that each work owns.
    applied: Tally,
    /// Works that were here before this process and have not said what they own.
    expected: BTreeSet<String>,
    /// Deletions that were let pass lately.
    passed: VecDeque<(Instant, usize)>,
    /// Deletions that wait: by work, objects and the revision at which they were told.
    waiting: BTreeMap<String, (usize, i64)>,
    /// What was told up to this revision is approved.
    approved: i64,
}

impl State {
    /// Forgets what passed too long ago to count.
    fn age(&mut self, now: Instant) {
        while let Some((at, _)) = self.passed.front()
            && now.duration_since(*at) >= WINDOW
        {
            self.passed.pop_front();
        }
    }

    fn passed(&self) -> usize {
        self.passed.iter().map(|(_, objects)| objects).sum()
    }

    /// What all would come to that waits, with so much that has passed before.
    fn share(&self, passed: usize) -> Share {
        // What is approved and has not gone on yet is no mass any more.
        let waiting = self.waiting.values();
        let waiting = waiting.filter(|(_, told)| *told > self.approved);
        let waiting: usize = waiting.map(|(objects, _)| objects).sum();
        Share {
            wanted: passed + waiting,
            total: passed + self.applied.sum,
        }
    }
}

impl Allowance {
    const fn lets(self, share: &Share) -> bool {
        share.wanted <= self.objects
            || share.wanted * 100 <= share.total * self.percent as usize
            || self.percent >= 100
    }
}

/// Counts the deletions of all works. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DeletionGuard {
    state: Arc<Mutex<State>>,
    allowance: Allowance,
    /// Counts reasons for which what waits may go on: all but that time passes.
    room: watch::Sender<u64>,
    /// Counts what was let pass.
    passes: watch::Sender<u64>,
    /// How much of that would be known after a restart; nothing is said where nobody stores it.
    stored: watch::Sender<Option<u64>>,
}

impl DeletionGuard {
    /// Starts with nothing applied and nothing approved.
    #[must_use]
    pub fn new(allowance: Allowance) -> Self {
        Self {
            state: Arc::default(),
            allowance,
            room: watch::Sender::new(0),
            passes: watch::Sender::new(0),
            stored: watch::Sender::new(None),
        }
    }

    /// Counts the deletions that were let pass, for who stores them: from now on none begins before it is said to be
    /// [stored](Self::stored). An agent that dies in between must not let as much pass again.
    #[must_use]
    pub fn passes(&self) -> watch::Receiver<u64> {
        self.stored
            .send_modify(|stored| _ = stored.get_or_insert(0));
        self.passes.subscribe()
    }

    /// What was let pass up to this count would be known after a restart.
    pub fn stored(&self, count: u64) {
        self.stored.send_replace(Some(count));
    }

    /// Waits until what was let pass by now is stored.
    pub(super) async fn is_stored(&self) {
        let passed = *self.passes.borrow();
        let mut stored = self.stored.subscribe();
        // The sender is ours, so there is no error.
        let _ = stored
            .wait_for(|stored| stored.is_none_or(|stored| stored >= passed))
            .await;
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
                note(&mut state.passed, at, *objects);
            }
        }
    }

    /// Approves what was told up to a revision of the hub, and nothing that is told later.
    pub fn approve(&self, revision: i64) {
        self.state.lock().approved = revision;
        self.room.send_modify(|count| *count += 1);
    }

    /// Tells when what waits may go on, for another reason than that time passed: an approval, or more is applied than was known.
    pub(super) fn room(&self) -> watch::Receiver<u64> {
        self.room.subscribe()
    }

    /// Says whether a work that waits need not any more, or does not wait at all.
    pub(super) fn may_go(&self, work: &str, now: Instant) -> bool {
        let mut state = self.state.lock();
        state.age(now);
        let Some((_, told)) = state.waiting.get(work) else {
            return true;
        };
        *told <= state.approved || self.allowance.lets(&state.share(state.passed()))
    }

    /// When, after `now`, a work that waits need not any more, if nothing changes but that what passed does not count for ever.
    pub(super) fn room_at(&self, work: &str, now: Instant) -> Option<Instant> {
        let state = self.state.lock();
        state.waiting.get(work)?;
        let mut left = state.passed();
        let ends = state.passed.iter().map(|(at, objects)| {
            left -= objects;
            (*at + WINDOW, self.allowance.lets(&state.share(left)))
        });
        let mut room = ends.filter_map(|(at, lets)| lets.then_some(at));
        // What is past was asked for already, or is not asked for any more.
        room.find(|at| *at > now)
    }

    /// A work was here before this process. Until all of those are counted nothing is taken for a mass.
    pub(super) fn expect(&self, work: &str) {
        self.state.lock().expected.insert(work.to_owned());
    }

    pub(super) fn expects(&self, work: &str) -> bool {
        self.state.lock().expected.contains(work)
    }

    /// What the work owns is known, or nothing is known of it that could be waited for.
    pub(super) fn counted(&self, work: &str) {
        self.state.lock().expected.remove(work);
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
            applied: count(state.applied.sum),
        })
    }

    /// Notes how many objects a work owns and has not asked to delete; none when it is gone.
    pub(super) fn applied(&self, work: &str, objects: usize) {
        let mut state = self.state.lock();
        let more = objects > state.applied.set(work, objects);
        if more && !state.waiting.is_empty() && self.allowance.lets(&state.share(state.passed())) {
            drop(state);
            self.room.send_modify(|count| *count += 1);
        }
    }

    /// The work does not want to delete anything (any more).
    pub(super) fn content(&self, work: &str) {
        self.state.lock().waiting.remove(work);
    }

    /// Asks whether a work may delete so many of its objects, as it was told at `told`.
    pub(super) fn ask(&self, work: &str, objects: usize, told: i64, now: Instant) -> Permit {
        let state = &mut *self.state.lock();
        state.age(now);
        state.waiting.insert(work.to_owned(), (objects, told));
        let share = state.share(state.passed());
        let small = self.allowance.lets(&share);
        if small || told <= state.approved {
            state.waiting.remove(work);
            // From now on they do not count as applied any more, but as passed; what somebody agreed to is no reason to ask about more.
            state.applied.reduce(work, objects);
            if told > state.approved {
                note(&mut state.passed, now, objects);
                self.passes.send_modify(|count| *count += 1);
            }
            return Permit::Granted;
        }
        if !state.expected.is_empty() {
            state.waiting.remove(work);
            return Permit::Later;
        }
        let Share { wanted, total } = share;
        let passed = match state.passed() {
            0 => String::new(),
            passed => format!("{passed} of them are deleted, the rest stays; "),
        };
        Permit::Held(format!(
            "{wanted} of {total} applied objects would go within {} minutes; {passed}to let them go: koinon cluster approve-deletion CLUSTER",
            WINDOW.as_secs() / 60
        ))
    }
}

/// Adds what was let pass to what was let pass before.
fn note(passed: &mut VecDeque<(Instant, usize)>, at: Instant, objects: usize) {
    match passed.back_mut() {
        Some((last, sum)) if at.saturating_duration_since(*last) < TOGETHER => *sum += objects,
        _ => passed.push_back((at, objects)),
    }
}

fn age(at: Instant, now: Instant) -> i64 {
    i64::try_from(now.saturating_duration_since(at).as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
