//! Supervised tasks: each has a name and an owner, none outlives the process quietly.

use std::{future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument as _, error, warn};

/// What the end of a task means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The agent cannot do its job without it: its end or panic stops the process.
    Essential,
    /// Its end is normal; a panic still stops the process, since shared state may be half changed.
    Optional,
}

/// Starts tasks and waits for them.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    failure: Arc<Mutex<Option<String>>>,
}

impl Tasks {
    /// Creates a supervisor whose tasks end with `stop`; it also cancels `stop` when an essential task fails.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop,
            failure: Arc::default(),
        }
    }

    /// Returns the token that ends all tasks.
    #[must_use]
    pub const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs `future` to its end.
    pub fn spawn(
        &self,
        name: &'static str,
        policy: Policy,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let guard = Guard {
            name,
            policy,
            stop: self.stop.clone(),
            failure: self.failure.clone(),
            done: false,
        };
        let span = tracing::error_span!("task", task = name);
        self.tracker.spawn(
            async move {
                let mut guard = guard;
                future.await;
                guard.done = true;
            }
            .instrument(span),
        );
    }

    /// Says whether every task has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Waits until every task has ended, at most `grace`. Returns why the process must fail, if it must.
    pub async fn finish(self, grace: Duration) -> Option<String> {
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait())
            .await
            .is_err()
        {
            warn!(
                late = self.tracker.len(),
                "tasks did not end within the grace period"
            );
        }
        self.failure.lock().take()
    }
}

/// Sees the end of a task even when it panics.
struct Guard {
    name: &'static str,
    policy: Policy,
    stop: CancellationToken,
    failure: Arc<Mutex<Option<String>>>,
    done: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let expected = self.done && self.policy == Policy::Optional;
        if expected || self.stop.is_cancelled() {
            return;
        }
        error!(task = self.name, "an essential task ended");
        self.failure
            .lock()
            .get_or_insert_with(|| format!("task {} ended", self.name));
        self.stop.cancel();
    }
}
