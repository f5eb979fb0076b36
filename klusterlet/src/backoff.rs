//! Exponential backoff with full jitter.

use std::time::Duration;

use rand::RngExt as _;

/// Delays that double up to a ceiling; each is a random share of the current step.
#[derive(Debug, Clone)]
pub struct Backoff {
    floor: Duration,
    ceiling: Duration,
    attempt: u32,
}

impl Backoff {
    /// Starts at `floor`, never exceeds `ceiling`.
    #[must_use]
    pub const fn new(floor: Duration, ceiling: Duration) -> Self {
        Self {
            floor,
            ceiling,
            attempt: 0,
        }
    }

    /// Returns the next delay.
    ///
    /// The share is at least a tenth of the step, so that a failing call is never repeated in a busy loop.
    pub fn next_delay(&mut self) -> Duration {
        let step = self
            .floor
            .saturating_mul(2_u32.saturating_pow(self.attempt.min(20)))
            .min(self.ceiling);
        self.attempt = self.attempt.saturating_add(1);
        step.mul_f64(rand::rng().random_range(0.1..=1.0))
    }

    /// Starts over after a success.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// Returns `base` times a random factor in `[1, 1.5)`: the spread that OCM gives its periodic work.
#[must_use]
pub fn spread(base: Duration) -> Duration {
    base.mul_f64(rand::rng().random_range(1.0..1.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_ceiling_and_never_vanish() {
        let (floor, ceiling) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut backoff = Backoff::new(floor, ceiling);
        for _ in 0..100 {
            let delay = backoff.next_delay();
            assert!(delay >= floor / 10 && delay <= ceiling);
        }
        backoff.reset();
        assert!(backoff.next_delay() <= floor);
    }
}
