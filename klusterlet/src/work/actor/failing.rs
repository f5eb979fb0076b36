//! When manifests that failed are tried again. Pure.
//!
//! Each has a back-off of its own: one that can never be applied must not make the others wait for a minute when something of
//! theirs fails once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::backoff::Backoff;

/// How soon a manifest is tried again after its first failure, and how seldom after many. The API server's answer tells nothing
/// about when it would be another one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// What is due so soon after something else is tried together with it, and what has waited for half of its pause: each try sums
/// up the whole work, and thousands of manifests may fail.
const TOGETHER: Duration = Duration::from_millis(200);

/// Manifests that could not be applied, by place in the work.
#[derive(Debug, Default)]
pub(super) struct Failing(BTreeMap<usize, Again>);

#[derive(Debug)]
struct Again {
    at: Instant,
    pause: Duration,
    backoff: Backoff,
}

impl Failing {
    /// A manifest failed, again perhaps.
    pub(super) fn failed(&mut self, ordinal: usize, now: Instant) {
        let again = self.0.entry(ordinal).or_insert_with(|| Again {
            at: now,
            pause: Duration::ZERO,
            backoff: Backoff::new(PAUSE.0, PAUSE.1),
        });
        again.pause = again.backoff.next_delay();
        again.at = now + again.pause;
    }

    /// A manifest was applied.
    pub(super) fn succeeded(&mut self, ordinal: usize) {
        self.0.remove(&ordinal);
    }

    /// What some failed for may be over, now or in a moment: they are tried at once, though not as soon as they failed, and soon again.
    pub(super) fn hope(&mut self, now: Instant, among: impl Fn(usize) -> bool) {
        for (ordinal, again) in &mut self.0 {
            if among(*ordinal) {
                let soonest = (again.at - again.pause + PAUSE.0).max(now);
                again.at = again.at.min(soonest);
                again.backoff.reset();
            }
        }
    }

    /// Other manifests are wanted.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|again| again.at).min()
    }

    /// Takes off what is due, if anything is: a try that does not come to its end is repeated, but not at once.
    pub(super) fn due(&mut self, now: Instant) -> Option<BTreeSet<usize>> {
        self.next().filter(|next| *next <= now)?;
        let mut due = BTreeSet::new();
        for (ordinal, again) in &mut self.0 {
            if again.at <= now + TOGETHER.max(again.pause / 2) {
                (again.at, again.pause) = (now + PAUSE.1, Duration::ZERO);
                due.insert(*ordinal);
            }
        }
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_always_fails_keeps_no_other_waiting() {
        let mut now = Instant::now();
        let mut failing = Failing::default();
        assert_eq!((failing.next(), failing.due(now)), (None, None));
        for _ in 0..40 {
            failing.failed(7, now);
            now = failing.next().unwrap();
            assert_eq!(failing.due(now), Some(BTreeSet::from([7])));
        }
        // Told once; should that try come to nothing, another one follows.
        assert_eq!(failing.due(now), None);
        assert_eq!(failing.next(), Some(now + PAUSE.1));

        failing.failed(3, now);
        let soon = failing.next().unwrap();
        assert!(soon <= now + PAUSE.0);
        assert_eq!(failing.due(soon), Some(BTreeSet::from([3])));
        failing.succeeded(3);
        assert_eq!(failing.next(), Some(now + PAUSE.1));
    }

    #[test]
    fn what_they_failed_for_may_be_over() {
        let now = Instant::now();
        let mut failing = Failing::default();
        for ordinal in [1, 2, 3] {
            for _ in 0..20 {
                failing.failed(ordinal, now);
            }
        }
        let later = now + PAUSE.0;
        failing.hope(later, |ordinal| ordinal != 3);
        assert_eq!(failing.due(later), Some(BTreeSet::from([1, 2])));
        // It is not over; however often there is hope, it is not tried all the time.
        failing.failed(1, later);
        for _ in 0..20 {
            failing.hope(later, |ordinal| ordinal == 1);
        }
        let next = failing.next().unwrap();
        assert!(later < next && next <= later + PAUSE.0);
        failing.clear();
        assert!(failing.is_empty());
        assert_eq!(failing.next(), None);
    }

    #[test]
    fn thousands_that_fail_are_tried_together() {
        let start = Instant::now();
        let mut failing = Failing::default();
        for ordinal in 0..5_000 {
            for _ in 0..20 {
                failing.failed(ordinal, start);
            }
        }
        let (mut now, mut looks) = (start, 0);
        while now < start + Duration::from_secs(600) {
            now = failing.next().unwrap();
            looks += 1;
            for ordinal in failing.due(now).unwrap() {
                failing.failed(ordinal, now);
            }
        }
        assert!(looks < 120, "{looks} looks in ten minutes");
    }
}
