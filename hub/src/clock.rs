//! The only place that reads wall time.
//!
//! Durations inside the process come from [`tokio::time`]; wall time is for what is stored or shown.

use jiff::Timestamp;

/// Returns the wall time.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Returns how long it is until `at` (seconds since the epoch), zero if it has passed.
#[must_use]
pub fn until_unix(at: i64) -> std::time::Duration {
    std::time::Duration::from_secs(u64::try_from(at - now().as_second()).unwrap_or(0))
}
