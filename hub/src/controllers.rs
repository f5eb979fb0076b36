//! Reconcilers: what keeps the registry as its objects say it should be.
//!
//! ```text
//!   store watches ─► index ─► decide(key) ─► actions ─► registry::Client (epoch) ─► store
//!                   (pure)     (pure)                    admission as for users
//! ```
//!
//! Each controller decides in plain synchronous code from an index that it keeps up to date change by change, so a
//! change costs what it affects and not what exists. They run on the leader only, and every write carries the
//! leader's epoch (P5). Input that has not changed writes nothing (P13).

mod abandoned;
mod aggregation;
mod announce;
mod clusterset;
mod csr;
mod decode;
mod driver;
mod events;
mod expiry;
mod feed;
mod finalize;
#[cfg(test)]
mod fixtures;
mod gc;
mod keyed;
mod lease;
mod namespace;
mod placement;
mod queue;
mod registration;
mod report;
mod resource;
mod selection;
mod setroles;
mod taint;
mod workset;

use std::time::Duration;

use jiff::Timestamp;
use koinon_store::Epoch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::{
    driver::{Reconciler, drive},
    keyed::Loop,
};
pub use self::{
    events::Recorder,
    report::{Line, Reports},
    selection::{Selection, Unknown},
};
use crate::{
    audit::Audit,
    metrics::Metrics,
    registry::{Client, Kinds, Writer},
    tasks::{Policy, Tasks},
};

/// Writes of one controller in flight: enough to fill the store's batches, few enough to leave room for others.
const CONCURRENT_WRITES: usize = 256;

/// How long the controllers of a term that is over may take to end.
const TERM_GRACE: Duration = Duration::from_secs(5);

/// What every controller works with.
#[derive(Clone, Debug)]
pub struct Context {
    /// Writes with the epoch of the term.
    pub client: Client,
    /// The same, for writes without a type.
    pub writer: Writer,
    pub events: Recorder,
}

/// Makes a controller for one term.
type Make = fn(&Kinds) -> Box<dyn Reconciler>;

/// All controllers, by their name in `--controllers`.
const ALL: &[(&str, Make)] = &[
    ("aggregation", |_| {
        Loop::boxed(aggregation::Aggregation::default())
    }),
    ("announce", |_| {
        Loop::boxed(announce::Announcements::default())
    }),
    ("clusterset", |_| {
        Loop::boxed(clusterset::ClusterSets::default())
    }),
    ("csr", |_| Loop::boxed(csr::Requests::default())),
    ("event-ttl", |_| {
        Loop::boxed(expiry::Expiry::<expiry::events::Events>::default())
    }),
    ("finalize", |_| Loop::boxed(finalize::Finalize::default())),
    ("finished", |_| {
        Loop::boxed(expiry::Expiry::<expiry::finished::Finished>::default())
    }),
    ("gc", |kinds| Loop::boxed(gc::Garbage::new(kinds))),
    ("identity-cleaner", |_| Loop::boxed(abandoned::Abandoned)),
    ("lease", |_| Box::new(lease::Leases::new())),
    ("namespace", |kinds| {
        Loop::boxed(namespace::Namespaces::new(kinds))
    }),
    ("placement", |_| Box::<placement::Placements>::default()),
    ("registration", |_| {
        Loop::boxed(registration::Registration::default())
    }),
    ("set-roles", |_| Loop::boxed(setroles::SetRoles::default())),
    ("taint", |_| Loop::boxed(taint::Taints::default())),
    ("token-cleaner", |_| {
        Loop::boxed(expiry::Expiry::<expiry::tokens::Tokens>::default())
    }),
    ("workset", |_| Box::<workset::ReplicaSets>::default()),
];

/// The names that `--controllers` knows.
#[must_use]
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|(name, _)| *name).collect()
}

/// The controllers of this replica.
#[derive(Clone, Debug)]
pub struct Controllers {
    selection: Selection,
    reports: Reports,
    audit: Option<Audit>,
}

impl Controllers {
    /// Takes a parsed `--controllers`.
    #[must_use]
    pub fn new(selection: Selection, metrics: &Metrics) -> Self {
        Self {
            selection,
            reports: Reports::new(metrics),
            audit: None,
        }
    }

    /// The same, whose deeds are recorded.
    #[must_use]
    pub fn recorded(self, audit: Option<Audit>) -> Self {
        Self { audit, ..self }
    }

    /// What each controller last did.
    #[must_use]
    pub fn reports(&self) -> Reports {
        self.reports.clone()
    }

    /// Runs one term of leadership: from now until stopped, with a client that carries the term's epoch.
    ///
    /// # Errors
    /// A controller panicked.
    pub async fn term(
        &self,
        client: &Client,
        epoch: Epoch,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let broken = CancellationToken::new();
        let tasks = Tasks::new(broken.clone());
        let client = client.with_epoch(epoch);
        let kinds = client.registry().kinds().clone();
        let (events, writer) = events::recorder(client.clone());
        let ending = tasks.stop_token();
        tasks.spawn("controllers/events", Policy::Essential, async move {
            writer.run(ending).await;
            Ok(())
        });
        for (name, make) in ALL.iter().filter(|(name, _)| self.selection.contains(name)) {
            let report = self.reports.of(name);
            let client = client.as_controller(name, self.audit.as_ref());
            let context = Context {
                writer: client.writer().clone(),
                client,
                events: events.clone(),
            };
            let ending = tasks.stop_token();
            let reconciler = make(&kinds);
            tasks.spawn(name, Policy::Essential, async move {
                drive(reconciler, context, report.clone(), ending).await;
                report.stopped();
                Ok(())
            });
        }
        drop(events);
        tokio::select! {
            () = stop.cancelled() => {}
            () = broken.cancelled() => {}
        }
        let late = tasks.finish(Instant::now() + TERM_GRACE).await;
        anyhow::ensure!(
            late.is_empty(),
            "controllers did not end in time: {}",
            late.join(", ")
        );
        anyhow::ensure!(!tasks.broken(), "a controller failed");
        Ok(())
    }
}

/// How long it is from `now` until `at`; zero if that has passed.
fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}
