//! Signals, and the order in which the hub ends.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::tasks::Tasks;

/// The tasks of the hub, in the order in which they end.
#[derive(Debug)]
pub(super) struct Groups {
    /// Listeners, requests, watches, sessions.
    pub(super) front: Tasks,
    /// Controllers, and what agents left to be written.
    pub(super) work: Tasks,
    /// The store.
    pub(super) store: Tasks,
    /// Health, and the embedded database.
    pub(super) base: Tasks,
}

impl Groups {
    pub(super) fn new(failed: &CancellationToken) -> Self {
        let group = || Tasks::new(failed.clone());
        Self {
            front: group(),
            work: group(),
            store: group(),
            base: group(),
        }
    }

    /// The groups with their names, in the order in which they end.
    pub(super) fn named(&self) -> Vec<(&'static str, Tasks)> {
        let Self {
            front,
            work,
            store,
            base,
        } = self;
        vec![
            ("front", front.clone()),
            ("work", work.clone()),
            ("store", store.clone()),
            ("base", base.clone()),
        ]
    }

    /// Tells whether an essential task of any group ended early.
    pub(super) fn broken(&self) -> bool {
        self.named().iter().any(|(_, group)| group.broken())
    }

    /// Ends the groups one after the other. Each may take half of what is left of `grace`, the last one all of it, so
    /// a front that hangs does not keep the store from writing what it took.
    pub(super) async fn finish(&self, grace: Duration) {
        let end = Instant::now() + grace;
        let groups = self.named();
        let last = groups.len() - 1;
        for (i, (name, group)) in groups.iter().enumerate() {
            let left = end.saturating_duration_since(Instant::now());
            let deadline = if i == last {
                end
            } else {
                Instant::now() + left / 2
            };
            let late = group.finish(deadline).await;
            if !late.is_empty() {
                tracing::warn!(
                    group = name,
                    tasks = late.join(", "),
                    "tasks did not end in time"
                );
            }
        }
    }
}

/// Returns a token that the first signal to stop cancels; the second ends the process at once.
pub(super) fn signals() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let first = stop.clone();
    tokio::spawn(async move {
        for again in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if again {
                tracing::warn!("second signal: ending at once");
                std::process::exit(1);
            }
            first.cancel();
        }
    });
    Ok(stop)
}
