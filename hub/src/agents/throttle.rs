//! Who does something too often has to wait.

use std::{collections::HashMap, hash::Hash, net::IpAddr, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Those remembered; above it, those who have been forgiven most are forgotten.
const MOST: usize = 16_384;

/// Counts per peer, or per cluster. What is not counted costs nothing, so a fleet behind one address can enrol at once.
#[derive(Debug)]
pub(super) struct Throttle<K> {
    burst: u32,
    forgive: Duration,
    counts: Mutex<HashMap<K, Count>>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    count: u32,
    since: Instant,
}

impl Count {
    fn at(self, now: Instant, forgive: Duration) -> Self {
        let forgiven =
            u32::try_from((now - self.since).as_secs() / forgive.as_secs()).unwrap_or(u32::MAX);
        Self {
            count: self.count.saturating_sub(forgiven),
            since: self.since + forgive * forgiven.min(self.count),
        }
    }
}

impl Throttle<IpAddr> {
    /// For enrolments that fail: 20 in a row, one more every 3 s.
    pub(super) fn of_failures() -> Self {
        Self::new(20, Duration::from_secs(3))
    }

    /// For records of calls without an agent's certificate: 5 in a row, one more every minute.
    pub(super) fn of_strangers() -> Self {
        Self::new(5, Duration::from_secs(60))
    }
}

impl Throttle<String> {
    /// For the certificates of one cluster, which live for `life`: 10 at once, for an agent that is restarted again and again;
    /// then one a minute, or ten in a short life, of which an agent in order takes two.
    pub(super) fn of_certificates(life: Duration) -> Self {
        let forgive = (life.as_secs() / 10).clamp(1, 60);
        Self::new(10, Duration::from_secs(forgive))
    }
}

impl<K: Eq + Hash> Throttle<K> {
    /// `burst` at once, and one more after every `forgive`, which is whole seconds.
    fn new(burst: u32, forgive: Duration) -> Self {
        Self {
            burst,
            forgive,
            counts: Mutex::default(),
        }
    }

    /// Says whether one may try.
    pub(super) fn admits(&self, who: &K) -> bool {
        let now = Instant::now();
        let counts = self.counts.lock();
        let count = counts.get(who);
        count.is_none_or(|count| count.at(now, self.forgive).count < self.burst)
    }

    /// Counts one more.
    pub(super) fn count(&self, who: K) {
        let now = Instant::now();
        let mut counts = self.counts.lock();
        if counts.len() >= MOST {
            counts.retain(|_, count| count.at(now, self.forgive).count > 0);
        }
        if counts.len() >= MOST {
            // All still count: rather forget them than refuse everybody.
            counts.clear();
        }
        let count = counts.entry(who).or_insert(Count {
            count: 0,
            since: now,
        });
        let before = count.at(now, self.forgive);
        *count = Count {
            count: before.count.saturating_add(1).min(self.burst * 2),
            since: if before.count == 0 { now } else { before.since },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_fails_waits_and_is_forgiven() {
        let throttle = Throttle::of_failures();
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..throttle.burst {
            assert!(throttle.admits(&peer));
            throttle.count(peer);
        }
        assert!(!throttle.admits(&peer));
        assert!(
            throttle.admits(&"192.0.2.2".parse().unwrap()),
            "others are not concerned"
        );
        tokio::time::advance(throttle.forgive).await;
        assert!(throttle.admits(&peer));
    }
}
