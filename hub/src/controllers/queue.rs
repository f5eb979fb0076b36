//! Keys that need a look: each once, now or at a time.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    time::Duration,
};

use tokio::time::Instant;

/// The first pause of a key that failed; it doubles with every further failure.
const FIRST_RETRY: Duration = Duration::from_millis(20);
/// A key that keeps failing is tried this often.
const SLOWEST_RETRY: Duration = Duration::from_secs(30);

/// A work queue without duplicates. One failing key delays itself only.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    dirty: BTreeSet<K>,
    timers: BTreeSet<(Instant, K)>,
    timer_of: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            dirty: BTreeSet::new(),
            timers: BTreeSet::new(),
            timer_of: HashMap::new(),
            failures: HashMap::new(),
        }
    }
}

impl<K: Clone + Ord + Hash> Queue<K> {
    pub(crate) fn add(&mut self, key: K) {
        self.dirty.insert(key);
    }

    /// Wants a look at `key` at `at`, or earlier if that was asked for already.
    pub(crate) fn add_at(&mut self, key: K, at: Instant) {
        match self.timer_of.get(&key) {
            Some(earlier) if *earlier <= at => return,
            Some(later) => {
                self.timers.remove(&(*later, key.clone()));
            }
            None => {}
        }
        self.timer_of.insert(key.clone(), at);
        self.timers.insert((at, key));
    }

    /// Takes all keys that are due, in order.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<K> {
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.timers.pop_first() {
                self.timer_of.remove(&key);
                self.dirty.insert(key);
            }
        }
        std::mem::take(&mut self.dirty).into_iter().collect()
    }

    /// Puts a key that failed back, to be taken after a pause; also if it was marked since it was taken, for what
    /// taking back the failure marked is no reason to try at once.
    pub(crate) fn failed(&mut self, key: K, now: Instant) {
        self.dirty.remove(&key);
        let failures = self.failures.entry(key.clone()).or_default();
        let pause = FIRST_RETRY
            .saturating_mul(1 << (*failures).min(16))
            .min(SLOWEST_RETRY);
        *failures += 1;
        self.add_at(key, now + pause.mul_f64(rand::random_range(0.5..=1.0)));
    }

    /// Forgets that a key failed before.
    pub(crate) fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What the driver has to know of keys that need a look.
pub(crate) trait Pending {
    /// Whether one is marked, or its time has come.
    fn due(&self, now: Instant) -> bool;

    /// When the next timer ends.
    fn next(&self) -> Option<Instant>;

    /// How many are marked.
    fn len(&self) -> usize;
}

impl<K: Clone + Ord + Hash> Pending for Queue<K> {
    fn due(&self, now: Instant) -> bool {
        !self.dirty.is_empty() || self.timers.first().is_some_and(|(at, _)| *at <= now)
    }

    fn next(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn len(&self) -> usize {
        self.dirty.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_once() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.add("b");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.take(now), ["a", "b"]);
        assert!(queue.take(now).is_empty());
    }

    #[test]
    fn the_earliest_timer_of_a_key_counts() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.add_at("a", now + Duration::from_secs(2));
        queue.add_at("a", now + Duration::from_secs(1));
        queue.add_at("a", now + Duration::from_secs(3));
        assert_eq!(queue.next(), Some(now + Duration::from_secs(1)));
        assert!(!queue.due(now));
        assert_eq!(queue.take(now + Duration::from_secs(1)), ["a"]);
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn a_key_that_failed_waits_although_it_was_marked_meanwhile() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.add("a");
        queue.add("b");
        queue.failed("a", now);
        assert_eq!(queue.take(now), ["b"]);
        assert!(queue.next().unwrap() > now);
        // A change from outside does not wait.
        queue.add("a");
        assert_eq!(queue.take(now), ["a"]);
    }

    #[test]
    fn failures_slow_a_key_down_until_it_succeeds() {
        let mut queue = Queue::default();
        let now = Instant::now();
        for _ in 0..40 {
            queue.failed("a", now);
            let at = queue.next().unwrap();
            assert!(at > now && at <= now + SLOWEST_RETRY);
            assert_eq!(queue.take(at), ["a"]);
        }
        queue.succeeded(&"a");
        queue.failed("a", now);
        assert!(queue.next().unwrap() <= now + FIRST_RETRY);
    }
}
