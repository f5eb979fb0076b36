//! The one task that makes records of events and hands them to the sinks.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use koinon_api::audit::{ENDED, Head, Record, TRIMMED};
use koinon_store::AuditLog;
use serde_json::{Value, json};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Untold, Waiting,
    lines::{self, Lines},
};
use crate::{clock, tasks::Backoff};

/// Records written at once.
const BATCH: usize = 2048;
/// How long the writer waits for more before it writes less than that.
const LINGER: Duration = Duration::from_millis(100);
/// Heads of other chains that a new one names: as many as replicas may have run lately.
const CHAINS: usize = 64;
/// How often other chains are looked at, and records whose time is over removed.
const PERIOD: Duration = Duration::from_secs(3600);
/// How long the number of what has no record waits for a record to come with.
const TELL: Duration = Duration::from_secs(60);
/// How long the last records may take when the hub stops.
const LAST: Duration = Duration::from_secs(5);

/// Where records go.
#[derive(Debug, Default)]
pub struct Sinks {
    /// The table in the registry, and how long it keeps records.
    pub table: Option<(AuditLog, Duration)>,
    /// JSON lines: a file, or standard output for `-`.
    pub lines: Option<PathBuf>,
}

/// Writes records until stopped.
pub struct Writer {
    events: mpsc::Receiver<Waiting>,
    untold: Arc<Untold>,
    sinks: Sinks,
    replica: String,
    head: Option<Head>,
    /// The ends of other chains that this one has named last.
    named: Vec<Head>,
    /// Up to where records are removed as soon as the chain says so.
    trim_to: Option<i64>,
    /// Room for the bodies of what waits for the table.
    rooms: Vec<OwnedSemaphorePermit>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("replica", &self.replica)
            .finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn new(events: mpsc::Receiver<Waiting>, untold: Arc<Untold>, sinks: Sinks) -> Self {
        Self {
            events,
            untold,
            sinks,
            replica: uuid::Uuid::new_v4().to_string(),
            head: None,
            named: Vec::new(),
            trim_to: None,
            rooms: Vec::new(),
        }
    }

    /// Runs until stopped, then writes what is left.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        use anyhow::Context as _;
        let Some(path) = self.sinks.lines.clone() else {
            self.write(Lines::default(), &stop).await;
            return Ok(());
        };
        let opened = lines::open(&path).await;
        let (lines, sink) =
            opened.with_context(|| format!("cannot write to {}", path.display()))?;
        let ended = CancellationToken::new();
        let records = async {
            self.write(lines, &stop).await;
            ended.cancel();
        };
        let rest = async {
            ended.cancelled().await;
            tokio::time::sleep(LAST).await;
        };
        let sink = async {
            tokio::select! {
                () = sink.run() => {}
                () = rest => tracing::warn!("the last audit lines are not written"),
            }
        };
        tokio::join!(records, sink);
        Ok(())
    }

    async fn write(mut self, mut lines: Lines, stop: &CancellationToken) {
        let begin = self.begin().await;
        let mut waiting = vec![self.seal(&begin)];
        lines.write(&waiting);
        let mut pause = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut look_at = Instant::now();
        let mut has_ended = false;
        loop {
            if !self.store(&waiting).await {
                let pause = tokio::time::sleep(pause.pause());
                if stop.is_cancelled() || stop.run_until_cancelled(pause).await.is_none() {
                    tracing::error!(
                        records = waiting.len(),
                        "audit records are not in the table"
                    );
                    return;
                }
            } else {
                waiting.clear();
                self.rooms.clear();
                pause.reset();
                // What was said to be removed is, now that the chain says so; there may be more.
                if self.trim().await {
                    look_at = Instant::now();
                }
            }
            let mut said = Vec::new();
            if waiting.is_empty() && Instant::now() >= look_at {
                look_at = Instant::now() + PERIOD;
                said = self.look_after_table().await;
            }
            // What waits for the table holds up new events, which then wait in the queue: nothing grows.
            let more = BATCH.saturating_sub(waiting.len());
            let wait = waiting.is_empty() && said.is_empty();
            let (events, ended) = self
                .gather(more, stop, wait.then(|| look_at.min(Instant::now() + TELL)))
                .await;
            let count = |kind: &str, count: &AtomicU64| {
                let events = count.swap(0, Ordering::Relaxed);
                (events > 0).then(|| json!({ "kind": kind, "events": events, "at": now() }))
            };
            let untold = if waiting.len() + events.len() < BATCH {
                [
                    count("Lost", &self.untold.lost),
                    count("Refused", &self.untold.refused),
                ]
            } else {
                [None, None]
            };
            // Whoever cuts off what comes before it takes it along, which shows.
            let end = ended && !std::mem::replace(&mut has_ended, ended);
            let end = end.then(|| json!({ "kind": ENDED, "at": now() }));
            let all = said
                .into_iter()
                .chain(untold.into_iter().flatten())
                .chain(events)
                .chain(end);
            let fresh: Vec<Record> = all.map(|event| self.seal(&event)).collect();
            lines.write(&fresh);
            waiting.extend(fresh);
            if ended && waiting.is_empty() {
                // Nobody is left who could record anything; that is no reason to end before the hub does.
                stop.cancelled().await;
                return;
            }
        }
    }

    /// Takes events; waits for the first until `until`, or not at all. Tells whether that was the last of them.
    async fn gather(
        &mut self,
        most: usize,
        stop: &CancellationToken,
        until: Option<Instant>,
    ) -> (Vec<Value>, bool) {
        let mut events = Vec::new();
        if let Some(until) = until {
            let first = timeout_at(until, self.events.recv());
            match stop.run_until_cancelled(first).await {
                Some(Ok(Some(waiting))) => self.open(waiting, &mut events),
                Some(Err(_)) => return (events, false),
                Some(Ok(None)) | None => {
                    // Stopped: what is still under way may take a moment.
                    self.events.close();
                    let rest = async {
                        while let Some(waiting) = self.events.recv().await {
                            self.open(waiting, &mut events);
                        }
                    };
                    if tokio::time::timeout(LAST, rest).await.is_err() {
                        tracing::warn!("the last requests are not in the audit log");
                    }
                    return (events, true);
                }
            }
            self.take(&mut events, most);
            if events.len() < most {
                // A quiet hub can wait a moment for more; a busy one has filled the batch.
                let _ = stop.run_until_cancelled(tokio::time::sleep(LINGER)).await;
            }
        }
        self.take(&mut events, most);
        (events, false)
    }

    fn take(&mut self, events: &mut Vec<Value>, most: usize) {
        while events.len() < most {
            match self.events.try_recv() {
                Ok(waiting) => self.open(waiting, events),
                Err(_) => break,
            }
        }
    }

    /// Takes an event out of its wrapping; its room stays taken until it is stored.
    fn open(&mut self, waiting: Waiting, events: &mut Vec<Value>) {
        events.push(waiting.event);
        self.rooms.extend(waiting.room);
    }

    fn seal(&mut self, event: &Value) -> Record {
        let record = Record::seal(&self.replica, self.head.as_ref(), event);
        self.head = Some(record.head());
        record
    }

    /// The first event of this chain: it names the ends of the others.
    async fn begin(&mut self) -> Value {
        if let Some((table, _)) = &self.sinks.table {
            match table.heads(CHAINS).await {
                Ok(heads) => self.named = heads,
                Err(error) => {
                    tracing::warn!(%error, "the audit log begins without knowing what was before");
                }
            }
        }
        let version = env!("CARGO_PKG_VERSION");
        json!({ "kind": "ChainBegin", "at": now(), "version": version, "chains": self.named })
    }

    /// Now and then: what others have written since, and what is about to be removed because its time is over. Each is in this chain
    /// before it counts.
    async fn look_after_table(&mut self) -> Vec<Value> {
        let Some((table, keep)) = &self.sinks.table else {
            return Vec::new();
        };
        let mut said = Vec::new();
        match table.heads(CHAINS).await {
            Ok(mut heads) => {
                heads.retain(|head| head.replica != self.replica);
                if heads != self.named {
                    said.push(json!({ "kind": "Checkpoint", "at": now(), "chains": heads }));
                    self.named = heads;
                }
            }
            Err(error) => tracing::warn!(%error, "cannot look at the ends of other chains"),
        }
        match table.over(*keep).await {
            Ok(None) => {}
            Ok(Some((edge, heads))) => {
                said.push(json!({ "kind": TRIMMED, "at": now(), "chains": heads }));
                self.trim_to = Some(edge);
            }
            Err(error) => tracing::warn!(%error, "cannot look for old audit records"),
        }
        said
    }

    /// Removes what the chain says is removed; tells whether anything was.
    async fn trim(&mut self) -> bool {
        let (Some((table, keep)), Some(edge)) = (&self.sinks.table, self.trim_to.take()) else {
            return false;
        };
        match table.trim(edge, *keep).await {
            Ok(removed) => {
                tracing::info!(removed, "old audit records were removed");
                true
            }
            Err(error) => {
                tracing::warn!(%error, "cannot remove old audit records");
                false
            }
        }
    }

    async fn store(&self, records: &[Record]) -> bool {
        let Some((table, _)) = &self.sinks.table else {
            return true;
        };
        if records.is_empty() {
            return true;
        }
        match table.append(records).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, records = records.len(), "cannot store audit records; trying again");
                false
            }
        }
    }
}

fn now() -> String {
    clock::now().to_string()
}
