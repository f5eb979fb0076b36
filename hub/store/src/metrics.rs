//! Counters of the store, for the hub to read.

use std::{
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds of the flush histogram's buckets in seconds; one more bucket holds the rest.
pub const FLUSH_BUCKETS: [f64; 12] = [
    0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.25, 1.0, 4.0,
];

/// Lives in the store; every field only grows unless it says otherwise.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    batches: AtomicU64,
    applied: AtomicU64,
    refused: AtomicU64,
    ambiguous: AtomicU64,
    tail_changes: AtomicU64,
    flush_buckets: [AtomicU64; FLUSH_BUCKETS.len() + 1],
    flush_nanos: AtomicU64,
    head: AtomicI64,
    reachable: AtomicBool,
    trimmed: AtomicU64,
    swept: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsSnapshot {
    /// Batches committed.
    pub batches: u64,
    /// Writes acknowledged.
    pub applied: u64,
    /// Writes that the registry refused, each by its own outcome.
    pub refused: u64,
    /// Writes of which nobody knows whether they happened.
    pub ambiguous: u64,
    /// Changes that were read from the log, because another replica made them.
    pub tail_changes: u64,
    /// Count of flushes per bucket of [`FLUSH_BUCKETS`], and of the rest; not cumulative.
    pub flush_buckets: [u64; FLUSH_BUCKETS.len() + 1],
    pub flush_sum: Duration,
    /// Writes waiting now.
    pub queue_depth: usize,
    /// Revision of the cache now.
    pub revision: i64,
    /// How many revisions the cache is behind the newest that this replica has heard of, now.
    pub revision_lag: i64,
    /// Whether the last contact with the database succeeded.
    pub reachable: bool,
    /// Changes trimmed from the log by this replica.
    pub trimmed: u64,
    /// Unreferenced bodies removed by this replica.
    pub swept: u64,
}

impl Metrics {
    pub(crate) fn flushed(&self, took: Duration, applied: usize, refused: usize) {
        self.batches.fetch_add(1, Relaxed);
        self.applied.fetch_add(applied as u64, Relaxed);
        self.refused.fetch_add(refused as u64, Relaxed);
        let seconds = took.as_secs_f64();
        let bucket = FLUSH_BUCKETS
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(FLUSH_BUCKETS.len());
        self.flush_buckets[bucket].fetch_add(1, Relaxed);
        self.flush_nanos
            .fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        self.reachable(true);
    }

    pub(crate) fn ambiguous(&self, writes: usize) {
        self.ambiguous.fetch_add(writes as u64, Relaxed);
    }

    pub(crate) fn tailed(&self, changes: usize) {
        self.tail_changes.fetch_add(changes as u64, Relaxed);
    }

    /// Notes the newest revision that anybody has spoken of.
    pub(crate) fn heard(&self, head: i64) {
        self.head.fetch_max(head, Relaxed);
    }

    pub(crate) fn head(&self) -> i64 {
        self.head.load(Relaxed)
    }

    pub(crate) fn reachable(&self, reachable: bool) {
        if self.reachable.swap(reachable, Relaxed) != reachable {
            match reachable {
                true => tracing::info!("the database answers"),
                false => tracing::warn!("the database does not answer"),
            }
        }
    }

    pub(crate) fn compacted(&self, trimmed: u64, swept: u64) {
        self.trimmed.fetch_add(trimmed, Relaxed);
        self.swept.fetch_add(swept, Relaxed);
    }

    pub(crate) fn snapshot(&self, queue_depth: usize, revision: i64) -> MetricsSnapshot {
        MetricsSnapshot {
            batches: self.batches.load(Relaxed),
            applied: self.applied.load(Relaxed),
            refused: self.refused.load(Relaxed),
            ambiguous: self.ambiguous.load(Relaxed),
            tail_changes: self.tail_changes.load(Relaxed),
            flush_buckets: std::array::from_fn(|i| self.flush_buckets[i].load(Relaxed)),
            flush_sum: Duration::from_nanos(self.flush_nanos.load(Relaxed)),
            queue_depth,
            revision,
            revision_lag: (self.head() - revision).max(0),
            reachable: self.reachable.load(Relaxed),
            trimmed: self.trimmed.load(Relaxed),
            swept: self.swept.load(Relaxed),
        }
    }
}
