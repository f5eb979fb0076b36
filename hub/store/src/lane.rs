//! The writer lane: one batch at a time, one transaction for it, one outcome for each of its writes.
//!
//! What waits while a batch is flushed makes up the next one: nobody lingers for company, and under load batches
//! grow by themselves. An acknowledged write is in this replica's cache already.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    cache::{ApplyError, Cache},
    database::Line,
    key::{Incarnation, Revision},
    lane::batch::{Answer, Batch, Failure, Verdict},
    lineage,
    log::{self, Pace, ReadError},
    metrics::Metrics,
    mutation::{Unavailable, WriteError, Written},
    peers::Peers,
    queue::{Job, Queue},
    store::Error,
};

mod batch;

/// Pause between attempts to connect.
const RETRY: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) queue: Arc<Queue>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) incarnation: Incarnation,
    pub(crate) line: Line,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) busy: Arc<std::sync::atomic::AtomicBool>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) pace: Pace,
    pub(crate) write_timeout: Duration,
}

impl Lane {
    /// Writes until `stop`, then what is still queued.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        while stop
            .run_until_cancelled(self.queue.filled())
            .await
            .is_some()
        {
            self.step().await?;
        }
        self.queue.close();
        while self.queue.len() > 0 {
            self.step().await?;
        }
        Ok(())
    }

    /// Writes one batch, or answers those who have waited too long for the database.
    async fn step(&mut self) -> Result<(), Error> {
        expire(&self.queue);
        let mut connection = match self.connect().await {
            Ok(connection) => connection?,
            Err(error) => {
                tracing::debug!(error = %error, "cannot connect for writing");
                self.metrics.reachable(false);
                tokio::time::sleep(RETRY).await;
                return Ok(());
            }
        };
        let jobs = self.queue.take();
        if jobs.is_empty() {
            self.line.keep(connection);
            return Ok(());
        }
        self.busy.store(true, std::sync::atomic::Ordering::Release);
        let usable = self.flush(&mut connection, jobs).await;
        self.busy.store(false, std::sync::atomic::Ordering::Release);
        if usable? {
            self.line.keep(connection);
        }
        Ok(())
    }

    /// Returns the connection to write on. A new one begins a new stretch of history: it may be one to a restored copy.
    ///
    /// Nobody waits for it longer than for his write.
    async fn connect(&mut self) -> sqlx::Result<Result<sqlx::PgConnection, Error>> {
        if !self.line.is_broken() {
            return self.line.take().await.map(Ok);
        }
        let (queue, cache, limit) = (self.queue.clone(), self.cache.clone(), self.write_timeout);
        let begun = async {
            let mut connection = self.line.take().await?;
            let begun = timeout(limit, begin(&mut connection, &cache))
                .await
                .unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
            Ok(begun.map(|()| connection))
        };
        let mut begun = std::pin::pin!(begun);
        loop {
            match timeout(RETRY, &mut begun).await {
                Ok(connection) => return connection,
                Err(_) => expire(&queue),
            }
        }
    }

    /// Commits `jobs` and answers them. Returns whether the connection can be used again.
    async fn flush(
        &mut self,
        connection: &mut sqlx::PgConnection,
        jobs: Vec<Job>,
    ) -> Result<bool, Error> {
        let began = Instant::now();
        let batch = Batch::new(&jobs, self.queue.share_above(), !self.peers.are_absent());
        // The server gives up first, which leaves no doubt; our own limit is for a server that is not there.
        let limit = self.write_timeout + Duration::from_secs(1);
        let failure = match timeout(limit, batch.apply(connection)).await {
            Ok(Ok(verdict)) => {
                let refused = verdict.refused();
                self.metrics
                    .flushed(began.elapsed(), jobs.len() - refused, refused);
                return self.settle(connection, jobs, verdict).await;
            }
            Ok(Err(error)) => Failure::of(error),
            Err(_) => Failure::Doubt("the database did not answer in time".to_owned()),
        };
        match failure {
            Failure::Refused(reason) if jobs.len() == 1 => {
                answer_all(jobs, &WriteError::Rejected(reason));
                Ok(true)
            }
            // One of them is at fault: its neighbours must not suffer for it.
            Failure::Refused(_) => {
                for job in jobs {
                    if !Box::pin(self.flush(connection, vec![job])).await? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Failure::RolledBack(reason) => {
                tracing::warn!(reason, writes = jobs.len(), "a batch was rolled back");
                answer_all(jobs, &Unavailable::new(reason).into());
                Ok(true)
            }
            Failure::Doubt(reason) => {
                self.metrics.reachable(false);
                self.metrics.ambiguous(jobs.len());
                tracing::warn!(
                    reason,
                    writes = jobs.len(),
                    "the fate of a batch is not known"
                );
                answer_all(jobs, &Unavailable::ambiguous(reason).into());
                Ok(false)
            }
        }
    }

    /// Brings a committed batch into the cache, and answers.
    async fn settle(
        &mut self,
        connection: &mut sqlx::PgConnection,
        jobs: Vec<Job>,
        verdict: Verdict,
    ) -> Result<bool, Error> {
        let usable = self.catch_up(connection, verdict.base).await?;
        let head = verdict.head();
        self.metrics.heard(head.0);
        // The connection broke between commit and catching up: the feeder will do it over another one.
        if self.cache.revision() < verdict.base {
            drop(timeout(self.write_timeout, self.cache.reached(head)).await);
        }
        let base = verdict.base;
        let (deltas, answers) = verdict.into_deltas(jobs);
        let mut states = match self.cache.apply(base, head, deltas) {
            Ok(states) => states,
            Err(ApplyError::Gap { .. }) => Vec::new(),
            Err(error) => return Err(Error::Corrupt(error)),
        }
        .into_iter();
        for answer in answers {
            match answer {
                Answer::Applied(revision, reply) => {
                    let state = states.next().flatten();
                    let outcome = state.map(|stored| Written { revision, stored });
                    reply.send(outcome.ok_or_else(in_doubt));
                }
                Answer::Unchanged(revision, job) => {
                    let outcome = match self.cache.get(job.key()) {
                        Some(stored) => Ok(Written { revision, stored }),
                        None => Err(WriteError::NotFound),
                    };
                    job.answer(outcome);
                }
                Answer::Refused(error, job) => job.answer(Err(error)),
            }
        }
        Ok(usable)
    }

    /// Reads what other replicas wrote before `base`. Returns whether the connection is still good.
    async fn catch_up(
        &mut self,
        connection: &mut sqlx::PgConnection,
        base: Revision,
    ) -> Result<bool, Error> {
        while self.cache.revision() < base {
            let from = self.cache.revision();
            let limit = self.pace.limit();
            let read = log::read(connection, &self.cache, self.incarnation, from, base, limit);
            let stretch = match timeout(self.write_timeout, read).await {
                Ok(Ok(stretch)) => stretch,
                Ok(Err(ReadError::Lost(error))) => return Err(error),
                Ok(Err(ReadError::Database(_))) | Err(_) => {
                    self.pace.too_slow();
                    return Ok(false);
                }
            };
            self.pace.in_time();
            self.metrics.tailed(stretch.deltas.len());
            self.cache
                .apply(from, stretch.to, stretch.deltas)
                .map_err(Error::Corrupt)?;
        }
        Ok(true)
    }
}

impl Drop for Lane {
    /// However it ends: nobody waits for what will never be written.
    fn drop(&mut self) {
        self.queue.close();
        for job in self.queue.rest() {
            job.answer(Err(Unavailable::new("the hub is shutting down").into()));
        }
    }
}

/// Answers those who have waited too long.
fn expire(queue: &Queue) {
    for job in queue.expired(Instant::now()) {
        job.answer(Err(Unavailable::new("the database does not answer").into()));
    }
}

/// Begins a stretch of history, if it continues the one that the cache has.
async fn begin(
    connection: &mut sqlx::PgConnection,
    cache: &Cache,
) -> sqlx::Result<Result<(), Error>> {
    // Before the stretch begins: whoever tails the log may have read of it before we get our answer.
    let have = cache.revision();
    let stamp = lineage::stamp_on(connection, have).await?;
    if !cache.lineage().agrees(have, stamp) {
        return Ok(Err(Error::Forked { have }));
    }
    let begun = lineage::begin(connection).await?;
    Ok(if begun > have {
        Ok(())
    } else {
        Err(Error::Rewound { have, head: begun })
    })
}

/// The write is committed, but what it left cannot be shown.
fn in_doubt() -> WriteError {
    Unavailable::ambiguous("the write is committed; its result is not known yet").into()
}

fn answer_all(jobs: Vec<Job>, error: &WriteError) {
    for job in jobs {
        job.answer(Err(error.clone()));
    }
}
