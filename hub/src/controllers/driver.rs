//! Runs a reconciler: when something it reads has changed, when a time has come, and every so often anyway.
//!
//! ```text
//!   store watches ─► observe ─► dirty keys ─┐
//!   timers, retries ────────────────────────┼─► fresh view ─► reconcile ─► report
//!   period ─► sweep (everything is dirty) ──┘
//! ```
//!
//! Each run begins with a view that has everything committed before it, the reconciler's own writes included: it
//! never acts twice for one cause.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use koinon_machinery::ApiError;
use koinon_store::{Event, Expired, Unavailable};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Context, feed::Feed, queue::Pending, report::Report};
use crate::tasks::Backoff;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Brings one aspect of the registry to what it should be.
pub(crate) trait Reconciler: Send {
    /// The resources it reads; each is observed from its present state on.
    fn resources(&self) -> Vec<Arc<str>>;

    /// How often everything gets a look although nothing has changed.
    fn period(&self) -> Duration;

    /// Forgets all that was observed; the present is observed again.
    fn reset(&mut self);

    /// Takes a change in, and marks what it concerns.
    fn observe(&mut self, event: &Event);

    /// Marks everything.
    fn sweep(&mut self);

    /// What is marked, and what will be due without any change.
    fn pending(&self) -> &dyn Pending;

    /// Deals with everything that is due. What fails on its own is marked again and counted in the outcome.
    fn reconcile<'a>(&'a mut self, context: &'a Context)
    -> BoxFuture<'a, Result<Outcome, Failure>>;
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// How many keys were looked at.
    pub(crate) keys: usize,
    /// Keys that failed and will be tried again, and the first of their errors.
    pub(crate) failed: usize,
    pub(crate) error: Option<String>,
}

impl Outcome {
    pub(crate) fn fail(&mut self, error: impl ToString) {
        self.failed += 1;
        self.error.get_or_insert_with(|| error.to_string());
    }
}

/// Why a run could not be made at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error("{0}")]
    Api(String),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Api(error.to_string())
    }
}

/// Runs `reconciler` until stopped.
pub(super) async fn drive(
    mut reconciler: Box<dyn Reconciler>,
    context: Context,
    report: Report,
    stop: CancellationToken,
) {
    let reconciler = reconciler.as_mut();
    let mut feed: Option<Feed> = None;
    let mut sweep_at = Instant::now() + reconciler.period();
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let run = run(reconciler, &mut feed, &context, &report);
        let Some(done) = stop.run_until_cancelled(run).await else {
            return;
        };
        let pause = match done {
            Ok(()) => {
                backoff.reset();
                None
            }
            Err(()) => Some(Instant::now() + backoff.pause()),
        };
        let wait = wait(reconciler, &mut feed, pause, sweep_at);
        if stop.run_until_cancelled(wait).await.is_none() {
            return;
        }
        let now = Instant::now();
        if now >= sweep_at {
            reconciler.sweep();
            sweep_at = now + reconciler.period();
        }
    }
}

/// One run on a fresh view.
async fn run(
    reconciler: &mut dyn Reconciler,
    feed: &mut Option<Feed>,
    context: &Context,
    report: &Report,
) -> Result<(), ()> {
    if let Err(error) = refresh(reconciler, feed, context).await {
        report.failed(&error);
        return Err(());
    }
    if !reconciler.pending().due(Instant::now()) {
        return Ok(());
    }
    report.started(reconciler.pending().len());
    match reconciler.reconcile(context).await {
        Ok(outcome) => {
            report.ended(&outcome);
            Ok(())
        }
        Err(error) => {
            report.failed(&error);
            Err(())
        }
    }
}

async fn refresh(
    reconciler: &mut dyn Reconciler,
    feed: &mut Option<Feed>,
    context: &Context,
) -> Result<(), Failure> {
    let store = context.client.store();
    store.fresh().await?;
    if let Some(open) = feed
        && open.drain(|event| reconciler.observe(event)).is_err()
    {
        *feed = None;
    }
    if feed.is_none() {
        let resources = reconciler.resources();
        reconciler.reset();
        let expired = |expired: Expired| Failure::Api(expired.to_string());
        let open = Feed::open(store, &resources, |event| reconciler.observe(event));
        let mut open = open.await.map_err(expired)?;
        // What is there was not all of the same moment.
        open.drain(|event| reconciler.observe(event))
            .map_err(expired)?;
        *feed = Some(open);
    }
    Ok(())
}

/// Waits until a run is due; changes are observed meanwhile, but do not cut a pause short.
async fn wait(
    reconciler: &mut dyn Reconciler,
    feed: &mut Option<Feed>,
    pause: Option<Instant>,
    sweep_at: Instant,
) {
    if let Some(until) = pause {
        return sleep_until(until).await;
    }
    loop {
        if reconciler.pending().due(Instant::now()) {
            return;
        }
        let until = reconciler
            .pending()
            .next()
            .map_or(sweep_at, |at| at.min(sweep_at));
        let Some(open) = feed else { return };
        tokio::select! {
            changed = open.changed(|event| reconciler.observe(event)) => {
                if changed.is_err() {
                    *feed = None;
                    return;
                }
            }
            () = sleep_until(until) => return,
        }
    }
}
