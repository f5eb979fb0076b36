//! Supervised tasks: each has a name, and a policy for when it ends early.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

/// What the early end of a task means for the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The process cannot do its work without it: an early end, an error or a panic ends the process with failure.
    Essential,
    /// Its end is logged.
    Optional,
}

/// A running task as `/debug/tasks` shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Running {
    /// The name given at its start.
    pub name: &'static str,
    /// Seconds since its start.
    pub seconds: u64,
}

/// A group of tasks that stop together, when its token is cancelled.
#[derive(Debug, Clone)]
pub struct Tasks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stop: CancellationToken,
    failed: CancellationToken,
    broken: AtomicBool,
    next: AtomicU64,
    running: Mutex<BTreeMap<u64, (&'static str, Instant)>>,
    ended: Notify,
}

impl Tasks {
    /// Makes an empty group. `failed` is cancelled when an essential task ends before the group was stopped.
    #[must_use]
    pub fn new(failed: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            stop: CancellationToken::new(),
            failed,
            broken: AtomicBool::new(false),
            next: AtomicU64::new(0),
            running: Mutex::default(),
            ended: Notify::new(),
        }))
    }

    /// Returns the token that every task of the group selects on.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.0.stop.clone()
    }

    /// Starts a task.
    pub fn spawn<F>(&self, name: &'static str, policy: Policy, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let inner = self.0.clone();
        let id = inner.next.fetch_add(1, Ordering::Relaxed);
        inner.running.lock().insert(id, (name, Instant::now()));
        tokio::spawn(async move {
            let end = AssertUnwindSafe(task).catch_unwind().await;
            inner.running.lock().remove(&id);
            inner.report(name, policy, end.map_err(drop));
            inner.ended.notify_waiters();
        });
    }

    /// Lists what is running.
    #[must_use]
    pub fn list(&self) -> Vec<Running> {
        let running = self.0.running.lock();
        running
            .values()
            .map(|(name, since)| Running {
                name,
                seconds: since.elapsed().as_secs(),
            })
            .collect()
    }

    /// Tells whether an essential task ended early.
    #[must_use]
    pub fn broken(&self) -> bool {
        self.0.broken.load(Ordering::Relaxed)
    }

    /// Stops the group and waits for its tasks until `deadline`; returns the names of those that were late.
    pub async fn finish(&self, deadline: Instant) -> Vec<&'static str> {
        self.0.stop.cancel();
        loop {
            let ended = self.0.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.0.running.lock().is_empty() {
                return Vec::new();
            }
            if tokio::time::timeout_at(deadline, ended).await.is_err() {
                return self
                    .0
                    .running
                    .lock()
                    .values()
                    .map(|(name, _)| *name)
                    .collect();
            }
        }
    }
}

impl Inner {
    fn report(&self, task: &'static str, policy: Policy, end: Result<anyhow::Result<()>, ()>) {
        let stopping = self.stop.is_cancelled();
        match &end {
            Ok(Ok(())) if stopping => return tracing::debug!(task, "task ended"),
            Ok(Ok(())) => tracing::warn!(task, "task ended early"),
            Ok(Err(error)) => tracing::error!(task, error = format!("{error:#}"), "task failed"),
            Err(()) => tracing::error!(task, "task panicked"),
        }
        if policy == Policy::Essential && !stopping {
            self.broken.store(true, Ordering::Relaxed);
            self.failed.cancel();
        }
    }
}

/// Pauses between attempts: exponential with full jitter.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    first: Duration,
    most: Duration,
}

impl Backoff {
    /// Makes a backoff whose upper bound doubles from `first` to `most`.
    #[must_use]
    pub fn new(first: Duration, most: Duration) -> Self {
        Self {
            next: first,
            first,
            most,
        }
    }

    /// Returns the next pause.
    pub fn pause(&mut self) -> Duration {
        let bound = self.next;
        self.next = (self.next * 2).min(self.most);
        bound.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn an_essential_task_that_ends_early_breaks_the_process() {
        let failed = CancellationToken::new();
        let tasks = Tasks::new(failed.clone());
        tasks.spawn("short", Policy::Essential, async { Ok(()) });
        failed.cancelled().await;
        assert!(tasks.broken());
    }

    #[tokio::test]
    async fn a_panic_in_an_optional_task_harms_nobody() {
        let failed = CancellationToken::new();
        let tasks = Tasks::new(failed.clone());
        tasks.spawn("panics", Policy::Optional, async { panic!("on purpose") });
        assert!(tasks.finish(soon()).await.is_empty());
        assert!(!failed.is_cancelled());
    }

    #[tokio::test]
    async fn finish_names_who_was_late() {
        let tasks = Tasks::new(CancellationToken::new());
        let stop = tasks.stop_token();
        tasks.spawn("polite", Policy::Essential, async move {
            stop.cancelled().await;
            Ok(())
        });
        tasks.spawn("stuck", Policy::Essential, std::future::pending());
        assert_eq!(
            tasks
                .finish(Instant::now() + Duration::from_millis(200))
                .await,
            ["stuck"]
        );
        assert!(!tasks.broken());
    }
}
