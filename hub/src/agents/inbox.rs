//! Work statuses: checked per session, written by one lane for all.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use koinon_api::work::ManifestWorkStatus;
use koinon_proto::v1::WorkStatus;
use koinon_store::{Change, Key, Mutation, Share, Store, WriteError};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{metrics::AgentMetrics, outbox::Outbox, resource, transitions};
use crate::{clock, tasks::Backoff, telemetry::Chain};

/// Statuses in one write.
const BATCH: usize = 512;
/// Statuses that may wait; sessions that bring more wait themselves, in turn.
const QUEUE: usize = 2048;
/// Memory that waiting statuses may take, in KiB.
const QUEUE_KIB: usize = 64 * 1024;
/// Largest status that is stored; an agent cuts its own at half of that.
const MOST_STATUS: usize = 2 << 20;

/// Why a status is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reject {
    /// There is no such work in the agent's namespace.
    Unknown,
    /// The work was replaced by another of its name.
    Uid,
    /// Not the status of a work.
    Malformed,
    /// Larger than any that an agent of ours sends, or with more conditions.
    TooLarge,
}

impl Reject {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "status_unknown_work",
            Self::Uid => "status_other_uid",
            Self::Malformed => "status_malformed",
            Self::TooLarge => "status_too_large",
        }
    }
}

/// Where sessions leave statuses.
#[derive(Debug)]
pub(super) struct Inbox {
    store: Store,
    queue: mpsc::Sender<Waiting>,
    memory: Arc<Semaphore>,
    metrics: AgentMetrics,
}

#[derive(Debug)]
struct Waiting {
    mutation: Mutation,
    /// Gone with the session.
    session: Weak<Outbox>,
    since: Instant,
    _memory: OwnedSemaphorePermit,
}

/// The registry ended while statuses were waiting.
#[derive(Debug)]
pub(super) struct Closed;

impl Inbox {
    pub(super) fn new(store: Store, metrics: AgentMetrics) -> (Self, Lane) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let lane = Lane {
            store: store.clone(),
            waiting,
            away: None,
            metrics: metrics.clone(),
        };
        (
            Self {
                store,
                queue,
                memory: Arc::new(Semaphore::new(QUEUE_KIB)),
                metrics,
            },
            lane,
        )
    }

    /// Leaves what is good of `statuses`, waiting for room.
    ///
    /// # Errors
    ///
    /// [`Closed`] when this replica is going down.
    pub(super) async fn submit(
        &self,
        session: &Arc<Outbox>,
        statuses: Vec<WorkStatus>,
    ) -> Result<(), Closed> {
        let cluster = &session.cluster;
        for status in statuses {
            let mutation = match self.check(cluster, &status) {
                Ok(change) => Mutation {
                    share: Share::Agents,
                    ..change.into()
                },
                Err(reject) => {
                    if reject == Reject::TooLarge {
                        let bytes = status.status_json.len();
                        tracing::warn!(%cluster, work = status.name, bytes, "a status is too long, so an old one is shown");
                    } else {
                        tracing::debug!(%cluster, work = status.name, reason = reject.as_str(), "status not taken");
                    }
                    self.metrics.reject(reject.as_str());
                    continue;
                }
            };
            let kib = u32::try_from(status.status_json.len() / 1024 + 1).unwrap_or(u32::MAX);
            let memory = self
                .memory
                .clone()
                .acquire_many_owned(kib)
                .await
                .map_err(|_| Closed)?;
            self.queue
                .send(Waiting {
                    mutation,
                    session: Arc::downgrade(session),
                    since: Instant::now(),
                    _memory: memory,
                })
                .await
                .map_err(|_| Closed)?;
        }
        Ok(())
    }

    fn check(&self, cluster: &Arc<str>, status: &WorkStatus) -> Result<Change, Reject> {
        if status.status_json.len() > MOST_STATUS {
            return Err(Reject::TooLarge);
        }
        let uid: Uuid = status.uid.parse().map_err(|_| Reject::Uid)?;
        // The namespace is the certificate's, whatever the message says (P6).
        let key = Key::new(resource::WORKS, cluster.clone(), status.name.as_str());
        let stored = self.store.get(&key).ok_or(Reject::Unknown)?;
        if stored.uid != uid {
            return Err(Reject::Uid);
        }
        Ok(Change::Status {
            key,
            uid,
            status: normalise(&status.status_json, &stored.status)?,
            // The session is the only writer.
            expected: None,
        })
    }
}

/// Reads a status as a work's and writes it in our own form: unknown fields go, conditions keep the time since when they
/// have been as they are, and equal statuses are equal bytes.
fn normalise(json: &[u8], before: &[u8]) -> Result<bytes::Bytes, Reject> {
    // serde would read an array as the fields in order.
    let read = || serde_json::from_slice(json).ok();
    let is_object = json.trim_ascii_start().starts_with(b"{");
    let mut status: ManifestWorkStatus = is_object.then(read).flatten().ok_or(Reject::Malformed)?;
    if !transitions::are_bearable(&status) {
        return Err(Reject::TooLarge);
    }
    let before = serde_json::from_slice(before).unwrap_or_default();
    transitions::keep(before, &mut status, clock::now());
    serde_json::to_value(&status)
        .and_then(|value| serde_json::to_vec(&value))
        // It is kept for long: without the room that it was written in.
        .map(|json| json.into_boxed_slice().into())
        .map_err(|_| Reject::Malformed)
}

/// Writes what sessions leave in the inbox.
#[derive(Debug)]
pub(super) struct Lane {
    store: Store,
    waiting: mpsc::Receiver<Waiting>,
    /// When the registry was last away.
    away: Option<Instant>,
    metrics: AgentMetrics,
}

impl Waiting {
    /// What waited while the registry was away is good for a session that is still there. Of one that ended the agent may have told
    /// another replica, or this one, something newer by now; the next session compares, and repeats what is missing.
    fn is_good(&self, away: Option<Instant>) -> bool {
        away.is_none_or(|away| self.since > away) || self.session.strong_count() > 0
    }
}

impl Lane {
    /// Runs until stopped; what was taken before is still written, if the registry answers.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let taken = tokio::select! {
                // What waits comes before the wish to stop.
                biased;
                taken = self.waiting.recv_many(&mut batch, BATCH) => taken,
                () = stop.cancelled() => 0,
            };
            if taken == 0 {
                return;
            }
            self.write(std::mem::take(&mut batch), &stop).await;
        }
    }

    /// Writes a batch, again and again while the registry is away: an agent sends a status once.
    async fn write(&mut self, mut batch: Vec<Waiting>, stop: &CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            batch.retain(|waiting| waiting.is_good(self.away));
            let mutations = batch.iter().map(|waiting| waiting.mutation.clone());
            let outcomes = self.store.write_many(mutations.collect()).await;
            let mut away = None;
            let mut again = Vec::new();
            for (waiting, outcome) in batch.into_iter().zip(outcomes) {
                match outcome {
                    Ok(_) => {
                        self.metrics.statuses.inc();
                    }
                    Err(WriteError::Unavailable(error)) => {
                        again.push(waiting);
                        away = Some(error);
                    }
                    // Deleted or replaced since it was looked up.
                    Err(WriteError::NotFound | WriteError::Conflict) => {
                        self.metrics.reject("status_work_gone")
                    }
                    Err(error) => {
                        self.metrics.reject("status_refused");
                        tracing::warn!(key = %waiting.mutation.change.key(), error = %Chain(&error), "failed to write a status");
                    }
                }
            }
            let Some(error) = away else { return };
            tracing::warn!(statuses = again.len(), error = %Chain(&error), "statuses wait for the registry");
            (batch, self.away) = (again, Some(Instant::now()));
            if stop
                .run_until_cancelled(tokio::time::sleep(backoff.pause()))
                .await
                .is_none()
            {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waited_for_the_registry_is_good_for_its_session_alone() {
        let session = Outbox::new("east".into(), "a".into());
        let since = Instant::now();
        let key = Key::new(resource::WORKS, "east", "w");
        let change = Change::Status {
            key,
            uid: Uuid::nil(),
            status: bytes::Bytes::new(),
            expected: None,
        };
        let waiting = Waiting {
            mutation: change.into(),
            session: Arc::downgrade(&session),
            since,
            _memory: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
        };
        let (before, after) = (
            since.checked_sub(Duration::from_secs(1)),
            since.checked_add(Duration::from_secs(1)),
        );
        let good = || [None, before, after].map(|away| waiting.is_good(away));
        assert_eq!(good(), [true, true, true]);
        drop(session);
        assert_eq!(good(), [true, true, false]);
    }

    #[test]
    fn statuses_are_normalised() {
        let one = normalise(br#"{"unknown":1,"conditions":[]}"#, b"").unwrap();
        let two = normalise(b"{}", b"").unwrap();
        assert_eq!(one, two);
    }

    #[test]
    fn what_is_no_status_is_refused() {
        for bad in [
            &b""[..],
            b"[]",
            b"null",
            br#"{"conditions":"no"}"#,
            br#"{"conditions":[{"type":1}]}"#,
            b"{} x",
        ] {
            assert_eq!(
                normalise(bad, b""),
                Err(Reject::Malformed),
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
    }
}
