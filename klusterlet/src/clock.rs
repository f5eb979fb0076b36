//! The only place that reads the wall clock. Intervals use `tokio::time`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Reads the time, cut to seconds as Kubernetes stores it.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// Reads the time as Unix seconds.
#[must_use]
pub fn unix() -> i64 {
    now().0.as_second()
}
