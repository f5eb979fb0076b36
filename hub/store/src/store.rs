//! The handle that the hub holds, and the tasks behind it.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    audit::AuditLog,
    authorities::Authorities,
    cache::{ApplyError, Cache, Crier, Expired, Limits, Moves, Snapshot, Watch},
    compaction::Compaction,
    config::StoreConfig,
    data_keys,
    database::{Database, Line},
    feeder::Feeder,
    fresh::{Fresh, FreshTask},
    heartbeats::Heartbeats,
    identities::Identities,
    key::{Digest, Incarnation, Key, Revision},
    lane::Lane,
    leadership::Election,
    load::load,
    log::Pace,
    metrics::{Metrics, MetricsSnapshot},
    mutation::{Change, Mutation, Unavailable, WriteError},
    peers::Peers,
    queue::{Outcome, Queue},
    reseal::Resealing,
    seal::{SealError, Sealer},
    stored::Stored,
    token_keys::TokenKeys,
};

/// Why the store could not be opened, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open the registry: {0}")]
    Open(&'static str, #[source] sqlx::Error),
    #[error("the database now holds another registry")]
    Replaced,
    #[error("the registry went back to revision {head}, before {have} which this hub has seen")]
    Rewound { have: Revision, head: Revision },
    #[error("the registry has another history than this hub has seen up to revision {have}")]
    Forked { have: Revision },
    #[error("the change log was trimmed up to {horizon}, past {have} which this hub has read")]
    FellBehind { have: Revision, horizon: Revision },
    #[error("change {revision} in the log is malformed")]
    Malformed { revision: Revision },
    #[error("change {revision} in the log cannot be read")]
    Sealed {
        revision: Revision,
        #[source]
        source: SealError,
    },
    #[error("the cache no longer follows the log: {0}")]
    Corrupt(#[source] ApplyError),
    #[error("a task of the store ended: {0}")]
    Task(String),
}

/// The registry. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    database: Database,
    cache: Arc<Cache>,
    incarnation: Incarnation,
    queue: Arc<Queue>,
    fresh: Fresh,
    metrics: Arc<Metrics>,
    write_timeout: Duration,
    query_timeout: Duration,
}

/// The writer lane, the feeder of the cache, the crier of its watchers and compaction; they run until stopped.
#[derive(Debug)]
pub struct StoreTasks {
    lane: Lane,
    feeder: Feeder,
    listen: bool,
    fresh: FreshTask,
    compaction: Compaction,
    resealing: Resealing,
    crier: Arc<Crier>,
}

impl Store {
    /// Connects, migrates, and loads the registry into memory.
    ///
    /// # Errors
    /// When the database does not answer in time, or holds something else.
    pub async fn open(config: StoreConfig) -> Result<(Self, StoreTasks), Error> {
        let database = Database::open(&config).await?;
        let limits = Limits {
            events: config.ring_events,
            bytes: config.ring_bytes,
        };
        let (incarnation, cache) = load(&database, limits, &config.sealer)
            .await
            .map_err(|error| Error::Open("cannot load it", error))?;
        // After what is there could be read: a hub with another key changes nothing.
        let failed = |error| Error::Open("cannot agree on a data key", error);
        let mut connection = database.dedicated().await.map_err(failed)?;
        let agreed = data_keys::share(&mut connection, &config.sealer).await;
        agreed.map_err(failed)?;
        drop(connection);
        let resealing =
            Resealing::new(database.clone(), config.sealer.clone(), config.intern_above);
        let resealed = resealing
            .run()
            .await
            .map_err(|error| Error::Open("cannot seal what is secret in it", error))?;
        if resealed > 0 {
            tracing::info!(resealed, "secrets were sealed with the present key");
        }
        let cache = Arc::new(cache);
        let metrics = Arc::new(Metrics::default());
        metrics.reachable(true);
        let queue = Arc::new(Queue::new(
            config.queue_limit,
            config.queue_bytes,
            config.sealer.clone(),
            config.intern_above,
        ));
        let hints = Arc::new(Notify::new());
        let busy = Arc::new(AtomicBool::new(false));
        let peers = Arc::new(Peers::default());
        let (fresh, callers) = Fresh::new();
        let tasks = StoreTasks {
            lane: Lane {
                queue: queue.clone(),
                cache: cache.clone(),
                incarnation,
                line: Line::new(
                    database.lane_options(config.write_timeout),
                    config.query_timeout,
                ),
                metrics: metrics.clone(),
                busy: busy.clone(),
                peers: peers.clone(),
                pace: Pace::default(),
                write_timeout: config.write_timeout,
            },
            feeder: Feeder {
                line: Line::pooled(&database),
                database: database.clone(),
                cache: cache.clone(),
                incarnation,
                metrics: metrics.clone(),
                lane_busy: busy,
                peers,
                hints: hints.clone(),
                pace: Pace::default(),
                poll_interval: config.poll_interval,
                query_timeout: config.query_timeout,
            },
            listen: config.listen,
            fresh: FreshTask {
                line: Line::pooled(&database),
                cache: cache.clone(),
                callers,
                metrics: metrics.clone(),
                hints,
                query_timeout: config.query_timeout,
            },
            compaction: Compaction {
                database: database.clone(),
                metrics: metrics.clone(),
                retain_age: config.retain_age,
                retain_changes: config.retain_changes,
                interval: config.compaction_interval,
            },
            resealing,
            crier: cache.crier(),
        };
        let shared = Shared {
            database,
            cache,
            incarnation,
            queue,
            fresh,
            metrics,
            write_timeout: config.write_timeout,
            query_timeout: config.query_timeout,
        };
        Ok((Self(Arc::new(shared)), tasks))
    }

    /// Writes durably: once acknowledged it survives the death of hub and database (P2), and this
    /// replica's cache shows it.
    ///
    /// # Errors
    /// See [`WriteError`]. After [`Unavailable`] with [`Applied::Maybe`](crate::Applied::Maybe) the write may have
    /// happened: read before writing again.
    ///
    /// # Cancel safety
    /// A write whose future is dropped may still happen.
    pub async fn write(&self, mutation: impl Into<Mutation>) -> Outcome {
        let deadline = Instant::now() + self.0.write_timeout;
        let mutation = mutation.into();
        let kept = self.kept(&mutation);
        let answer = self.0.queue.push(mutation, kept, deadline).await?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Writes many, each with its own outcome, in order of `mutations`; order is kept per key.
    pub async fn write_many(&self, mutations: Vec<Mutation>) -> Vec<Outcome> {
        let deadline = Instant::now() + self.0.write_timeout;
        let mut answers = Vec::with_capacity(mutations.len());
        for mutation in mutations {
            let kept = self.kept(&mutation);
            answers.push(self.0.queue.push(mutation, kept, deadline).await);
        }
        let mut outcomes = Vec::with_capacity(answers.len());
        for answer in answers {
            outcomes.push(match answer {
                Ok(answer) => answer.await.unwrap_or_else(|_| Err(stopped())),
                Err(unavailable) => Err(unavailable.into()),
            });
        }
        outcomes
    }

    /// Digest of the body that a replace leaves as it is: such a body is neither hashed nor sent again.
    fn kept(&self, mutation: &Mutation) -> Option<Digest> {
        let Change::Replace { draft, expected } = &mutation.change else {
            return None;
        };
        let stored = self.0.cache.get(&draft.key)?;
        (stored.revision == *expected && stored.body == draft.body).then_some(stored.digest)
    }

    /// Returns an object as this replica knows it.
    pub fn get(&self, key: &Key) -> Option<Arc<Stored>> {
        self.0.cache.get(key)
    }

    /// Returns all objects of a resource as this replica knows them.
    pub fn snapshot(&self, resource: &str) -> Snapshot {
        self.0.cache.snapshot(resource)
    }

    /// Returns all objects of a resource as they were at an earlier revision.
    ///
    /// # Errors
    /// [`Expired`] when what happened since then is no longer all known. A revision that is still to come has no past:
    /// compare with [`Store::revision`] first.
    pub fn past(&self, resource: &str, revision: Revision) -> Result<Snapshot, Expired> {
        self.0.cache.past(resource, revision)
    }

    /// Follows a resource from `from` on: the first batch has what happened after it.
    ///
    /// # Errors
    /// [`Expired`] when the events since then are no longer all known.
    pub fn watch(&self, resource: &str, from: Revision) -> Result<Watch, Expired> {
        self.0.cache.watch(resource, from)
    }

    /// Waits until this replica knows all that was committed when the call began, and returns that revision.
    ///
    /// # Errors
    /// When the database does not answer, or the cache does not get there in time.
    pub async fn fresh(&self) -> Result<Revision, Unavailable> {
        let deadline = Instant::now() + self.0.query_timeout;
        let late = |_| Unavailable::new("the database did not answer in time");
        let revision = timeout_at(deadline, self.0.fresh.revision())
            .await
            .map_err(late)??;
        timeout_at(deadline, self.0.cache.reached(revision))
            .await
            .map_err(late)?;
        Ok(revision)
    }

    /// Wakes for whatever happens to any of `resources`.
    pub fn moves(&self, resources: &[Arc<str>]) -> Moves {
        self.0.cache.moves(resources)
    }

    /// The identity of this registry (P4).
    pub fn incarnation(&self) -> Incarnation {
        self.0.incarnation
    }

    /// The stamp of the history that a revision belongs to, if this replica knows the revision and it has one (P4).
    ///
    /// A registry that was restored from a copy has other stamps at the revisions that it lost.
    pub fn stamp(&self, revision: Revision) -> Option<uuid::Uuid> {
        self.0.cache.lineage().stamp(revision)
    }

    /// The revision up to which this replica knows everything.
    pub fn revision(&self) -> Revision {
        self.0.cache.revision()
    }

    pub fn heartbeats(&self) -> Heartbeats {
        Heartbeats(self.clone())
    }

    pub fn identities(&self) -> Identities {
        Identities(self.clone())
    }

    pub fn authorities(&self) -> Authorities {
        Authorities(self.clone())
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        self.0.cache.sealer()
    }

    /// The audit table.
    pub fn audit(&self) -> AuditLog {
        AuditLog(self.clone())
    }

    /// The keys that sign service tokens.
    pub fn token_keys(&self) -> TokenKeys {
        TokenKeys(self.clone())
    }

    /// Stands for election under a name that operators recognise.
    pub fn election(&self, holder: impl Into<String>) -> Election {
        Election {
            store: self.clone(),
            holder: holder.into(),
        }
    }

    pub fn metrics(&self) -> MetricsSnapshot {
        self.0
            .metrics
            .snapshot(self.0.queue.len(), self.0.cache.revision().0)
    }

    pub(crate) fn database(&self) -> &Database {
        &self.0.database
    }

    pub(crate) fn query_timeout(&self) -> Duration {
        self.0.query_timeout
    }
}

impl StoreTasks {
    /// Runs until `stop`; what is queued then is still written.
    ///
    /// # Errors
    /// When the cache cannot follow the database any more (it was restored to an earlier state, or its
    /// change log was trimmed past what was read). The process must start anew.
    ///
    /// # Cancel safety
    /// Dropping the future ends the tasks at once.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let Self {
            lane,
            feeder,
            listen,
            fresh,
            compaction,
            resealing,
            crier,
        } = self;
        // The lane stops first: it may need the feeder for the last answers.
        let rest = CancellationToken::new();
        let mut tasks = JoinSet::new();
        if listen {
            tasks.spawn(Feeder::listen(
                feeder.database.clone(),
                feeder.metrics.clone(),
                feeder.hints.clone(),
                feeder.peers.clone(),
                rest.clone(),
            ));
        }
        tasks.spawn(feeder.run(rest.clone()));
        tasks.spawn(fresh.run(rest.clone()));
        tasks.spawn(compaction.run(rest.clone()));
        tasks.spawn({
            let rest = rest.clone();
            async move {
                rest.run_until_cancelled(crier.run()).await;
                Ok(())
            }
        });
        tasks.spawn({
            let resealing = resealing.again(rest.clone());
            async move {
                resealing.await;
                Ok(())
            }
        });
        let lane = tasks.spawn({
            let rest = rest.clone();
            async move {
                let _rest = rest.drop_guard();
                lane.run(stop).await
            }
        });
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|error| Error::Task(error.to_string()))??;
        }
        debug_assert!(lane.is_finished());
        Ok(())
    }
}

fn stopped() -> WriteError {
    Unavailable::ambiguous("the hub is shutting down").into()
}
