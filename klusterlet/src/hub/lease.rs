use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

/// Until when the hub certainly counts this cluster as alive, on this machine's monotonic clock.
///
/// The hub counts from when it answered a heartbeat, the agent from when it sent it: the agent's end is never the later
/// one, whatever the clocks say.
#[derive(Debug, Clone)]
pub struct Lease(Arc<watch::Sender<Option<Grant>>>);

#[derive(Debug, Clone, Copy)]
struct Grant {
    until: Instant,
    duration: Duration,
}

impl Default for Lease {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Lease {
    /// Notes a grant for a heartbeat that was sent then.
    pub fn granted(&self, sent: Instant, duration: Duration) {
        let until = sent + duration;
        self.0.send_if_modified(|current| {
            let later = current.is_none_or(|current| until > current.until);
            if later {
                *current = Some(Grant { until, duration });
            }
            later
        });
    }

    /// How long the last grant was: the hub takes a cluster of which it has not heard for so long for lost, also just after a start.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        self.0.borrow().map(|grant| grant.duration)
    }

    /// Returns the end of the lease; `None` before the first grant.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.borrow().map(|grant| grant.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_was_overtaken_does_not_shorten_the_lease() {
        let (lease, start) = (Lease::default(), Instant::now());
        assert_eq!(lease.deadline(), None);
        lease.granted(start + Duration::from_secs(10), Duration::from_secs(60));
        lease.granted(start, Duration::from_secs(60));
        assert_eq!(lease.deadline(), Some(start + Duration::from_secs(70)));
        assert_eq!(lease.duration(), Some(Duration::from_secs(60)));
    }
}
