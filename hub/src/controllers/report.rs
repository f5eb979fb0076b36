//! What each controller last did, for `/debug/tasks` and the metrics.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};
use serde::Serialize;
use tokio::time::Instant;

use super::driver::{Failure, Outcome};
use crate::{
    clock,
    metrics::{Label, Metrics},
};

/// State of one controller.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Whether this replica runs it now.
    pub running: bool,
    pub runs: u64,
    pub last_start: Option<jiff::Timestamp>,
    pub last_seconds: Option<f64>,
    pub last_keys: usize,
    /// Keys of the last run that failed and are tried again.
    pub last_failed: usize,
    pub last_error: Option<String>,
}

/// All controllers of this replica.
#[derive(Clone, Debug)]
pub struct Reports {
    lines: Arc<Mutex<BTreeMap<&'static str, Line>>>,
    runs: Family<Label, Counter>,
    failures: Family<Label, Counter>,
    backlog: Family<Label, Gauge>,
    seconds: Family<Label, Histogram, fn() -> Histogram>,
}

fn histogram() -> Histogram {
    Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0])
}

impl Reports {
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        Self {
            lines: Arc::default(),
            runs: metrics.register("controller_runs", "Runs of a controller", Family::default()),
            failures: metrics.register(
                "controller_failures",
                "Keys and runs that failed",
                Family::default(),
            ),
            backlog: metrics.register(
                "controller_backlog",
                "Keys at the start of the last run",
                Family::default(),
            ),
            seconds: metrics.register("controller_run_seconds", "Duration of runs", seconds),
        }
    }

    /// The controllers by name.
    #[must_use]
    pub fn list(&self) -> BTreeMap<&'static str, Line> {
        self.lines.lock().clone()
    }

    pub(super) fn of(&self, name: &'static str) -> Report {
        let report = Report {
            all: self.clone(),
            name,
            started: Arc::default(),
        };
        report.line(|line| line.running = true);
        report
    }
}

/// The controller that this is given to reports here.
#[derive(Clone, Debug)]
pub(super) struct Report {
    all: Reports,
    name: &'static str,
    started: Arc<Mutex<Option<Instant>>>,
}

impl Report {
    pub(super) fn started(&self, backlog: usize) {
        *self.started.lock() = Some(Instant::now());
        self.all
            .backlog
            .get_or_create(&self.label())
            .set(i64::try_from(backlog).unwrap_or(i64::MAX));
        self.line(|line| line.last_start = Some(clock::now()));
    }

    pub(super) fn ended(&self, outcome: &Outcome) {
        let seconds = self.end();
        if let Some(error) = &outcome.error {
            tracing::warn!(
                controller = self.name,
                failed = outcome.failed,
                error,
                "some keys failed; they are tried again"
            );
        }
        self.all
            .failures
            .get_or_create(&self.label())
            .inc_by(outcome.failed as u64);
        self.line(|line| {
            line.runs += 1;
            line.last_seconds = Some(seconds.as_secs_f64());
            line.last_keys = outcome.keys;
            line.last_failed = outcome.failed;
            line.last_error.clone_from(&outcome.error);
        });
    }

    pub(super) fn failed(&self, failure: &Failure) {
        self.end();
        tracing::warn!(controller = self.name, error = %failure, "controller failed; it is tried again");
        self.all.failures.get_or_create(&self.label()).inc();
        self.line(|line| line.last_error = Some(failure.to_string()));
    }

    pub(super) fn stopped(&self) {
        self.line(|line| line.running = false);
    }

    fn end(&self) -> Duration {
        let seconds = self
            .started
            .lock()
            .take()
            .map_or(Duration::ZERO, |started| started.elapsed());
        self.all.runs.get_or_create(&self.label()).inc();
        self.all
            .seconds
            .get_or_create(&self.label())
            .observe(seconds.as_secs_f64());
        seconds
    }

    fn label(&self) -> Label {
        [("controller", self.name)]
    }

    fn line(&self, change: impl FnOnce(&mut Line)) {
        change(self.all.lines.lock().entry(self.name).or_default());
    }
}
