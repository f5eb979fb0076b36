//! Watches whose clients do not read. A body that nobody takes is not asked for anything, so it notices neither its own end nor how
//! long the state that it begins with is kept: somebody else looks after that, and hangs up.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::{held::Hangup, pace::Pace};

/// How long after its end a watch may still be there: what was written before has to be read yet.
const GRACE: Duration = Duration::from_secs(60);

/// How far a client has read; the end of being looked after, when it is dropped.
pub(super) struct Reading {
    /// While the state that the watch begins with is being sent.
    first: Arc<Mutex<Option<Pace>>>,
    _ended: DropGuard,
}

impl Reading {
    /// Of a watch that ends at `ends`; its connection is closed by `hangup`, if there is one.
    pub(super) fn begin(ends: Instant, hangup: Option<Hangup>) -> Self {
        let first = Arc::new(Mutex::new(Some(Pace::begin())));
        let ended = CancellationToken::new();
        if let Some(Hangup(hangup)) = hangup {
            let look = watch_over(Arc::clone(&first), ends + GRACE, hangup);
            let ended = ended.clone();
            tokio::spawn(async move { ended.run_until_cancelled(look).await });
        }
        Self {
            first,
            _ended: ended.drop_guard(),
        }
    }

    /// A piece of the first state was taken.
    pub(super) fn passed(&self, bytes: usize) {
        if let Some(pace) = &mut *self.first.lock() {
            pace.passed(bytes);
        }
    }

    /// The first state is not kept any more.
    pub(super) fn is_through(&self) {
        *self.first.lock() = None;
    }
}

/// Hangs up on a client that takes the first state too slowly, and on one that does not take the end.
async fn watch_over(first: Arc<Mutex<Option<Pace>>>, ends: Instant, hangup: CancellationToken) {
    loop {
        let due = || first.lock().map(|pace| pace.due());
        let Some(now) = due() else { break };
        sleep_until(now).await;
        if due().is_some_and(|then| then <= now) {
            tracing::debug!("a client that does not read its watch was cut off");
            hangup.cancel();
            return;
        }
    }
    sleep_until(ends).await;
    hangup.cancel();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(minutes: u64) -> (Reading, CancellationToken) {
        let hangup = CancellationToken::new();
        let ends = Instant::now() + Duration::from_secs(60 * minutes);
        let reading = Reading::begin(ends, Some(Hangup(hangup.clone())));
        (reading, hangup)
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_state_that_nobody_takes_is_not_kept() {
        let (_reading, hangup) = reading(60);
        let began = Instant::now();
        hangup.cancelled().await;
        assert!(began.elapsed() < Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_is_hung_up_on_after_the_end_only() {
        let (reading, hangup) = reading(60);
        for _ in 0..600 {
            reading.passed(64 << 10);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        reading.is_through();
        tokio::time::sleep(Duration::from_secs(50 * 60)).await;
        assert!(!hangup.is_cancelled(), "it may still be read");
        hangup.cancelled().await;
        let (reading, hangup) = self::reading(1);
        drop(reading);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(!hangup.is_cancelled(), "it has ended by itself");
    }
}
