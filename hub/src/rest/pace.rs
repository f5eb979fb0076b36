//! How slowly a body may come or go: whoever holds something up for others has to get on with it.

use std::time::Duration;

use tokio::time::Instant;

/// What every body gets.
const GRACE: Duration = Duration::from_secs(30);
/// And a second for each of these many bytes: half a megabit.
const BYTES_PER_SECOND: u64 = 64 << 10;

/// The time that a body has, by how much of it has gone through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    began: Instant,
    bytes: u64,
}

impl Pace {
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            bytes: 0,
        }
    }

    /// Some of it has gone through.
    pub(super) fn passed(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// When it has to have ended, or more have gone through.
    pub(super) fn due(&self) -> Instant {
        self.began
            + GRACE
            + Duration::from_millis(self.bytes.saturating_mul(1000) / BYTES_PER_SECOND)
    }
}
