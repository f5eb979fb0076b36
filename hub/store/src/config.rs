//! Settings of the store, with defaults that fit a hub on two cores.

use std::time::Duration;

use crate::seal::Sealer;

/// How to reach the database, and how much to keep.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// `postgres://…`
    pub url: String,
    /// How long [`Store::open`](crate::Store::open) waits for the database to answer.
    pub open_timeout: Duration,
    /// How long a write may wait for its turn and its answer.
    pub write_timeout: Duration,
    /// Bound of every other call to the database.
    pub query_timeout: Duration,
    /// Whether to listen for notifications of changes. A pooler that hands out a connection for one transaction does not
    /// pass them on; without them another replica's changes are noticed at the next poll.
    pub listen: bool,
    /// How often the change log is read when nobody has hinted at news.
    pub poll_interval: Duration,
    /// Writes that may wait for their turn.
    pub queue_limit: usize,
    /// Bytes of bodies and statuses that may wait for their turn.
    pub queue_bytes: usize,
    /// Bodies above this are stored once by digest.
    pub intern_above: usize,
    /// Events kept in memory for each resource: from how far back a watch can be resumed.
    pub ring_events: usize,
    /// Bytes of superseded states kept in memory for each resource.
    pub ring_bytes: usize,
    /// Changes older than this leave the log…
    pub retain_age: Duration,
    /// …and so do the oldest above this number.
    pub retain_changes: i64,
    /// How often the log is trimmed and unreferenced bodies are swept.
    pub compaction_interval: Duration,
    /// What is sealed before it is stored; the default seals nothing.
    pub sealer: Sealer,
}

impl StoreConfig {
    /// The defaults, for the database at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            open_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            query_timeout: Duration::from_secs(5),
            listen: true,
            poll_interval: Duration::from_secs(1),
            queue_limit: 8192,
            queue_bytes: 256 << 20,
            intern_above: 2048,
            ring_events: 16_384,
            ring_bytes: 64 << 20,
            retain_age: Duration::from_secs(30 * 24 * 3600),
            retain_changes: 5_000_000,
            compaction_interval: Duration::from_secs(300),
            sealer: Sealer::default(),
        }
    }
}
