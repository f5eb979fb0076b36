//! Keeps the cache up with the log: what other replicas write, and what a broken connection kept from us.
//!
//! A notification is a hint and nothing relies on it: the log is read from the cache's own revision, and read now
//! and then anyway.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::postgres::PgListener;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    cache::Cache,
    database::{Database, Line},
    key::{Incarnation, Revision},
    log::{self, Pace, ReadError},
    metrics::Metrics,
    peers::Peers,
    store::Error,
};

/// How long to leave a hinted revision to the lane, which may be about to publish it itself.
const LEAVE_TO_LANE: Duration = Duration::from_millis(20);
const RETRY: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Feeder {
    pub(crate) database: Database,
    pub(crate) line: Line,
    pub(crate) cache: Arc<Cache>,
    pub(crate) incarnation: Incarnation,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the lane has a batch in flight.
    pub(crate) lane_busy: Arc<AtomicBool>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) hints: Arc<Notify>,
    pub(crate) pace: Pace,
    pub(crate) poll_interval: Duration,
    pub(crate) query_timeout: Duration,
}

impl Feeder {
    /// Follows the log until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        while let Some(followed) = stop.run_until_cancelled(self.follow()).await {
            followed?;
        }
        Ok(())
    }

    /// Waits for a reason to read, and reads.
    async fn follow(&mut self) -> Result<(), Error> {
        let poll_at = Instant::now() + self.poll_interval;
        let mut polls = true;
        while timeout_at(poll_at, self.hints.notified()).await.is_ok() {
            let head = Revision(self.metrics.head());
            if self.cache.revision() >= head {
                continue;
            }
            if self.lane_busy.load(Ordering::Acquire)
                && timeout(LEAVE_TO_LANE, self.cache.reached(head))
                    .await
                    .is_ok()
            {
                continue;
            }
            polls = false;
            break;
        }
        match self.catch_up().await {
            Ok(()) => {
                self.metrics.reachable(true);
                if polls {
                    self.look_around().await;
                }
            }
            Err(ReadError::Lost(error)) => return Err(error),
            Err(ReadError::Database(error)) => {
                tracing::debug!(error = %error, "cannot read the change log");
                self.metrics.reachable(false);
                sleep(RETRY).await;
            }
        }
        Ok(())
    }

    /// Looks who else listens. Not knowing costs a few notifications.
    async fn look_around(&mut self) {
        let mut look = async || -> sqlx::Result<()> {
            let mut connection = self.line.take().await?;
            self.peers.look(&mut connection).await?;
            self.line.keep(connection);
            Ok(())
        };
        match timeout(self.query_timeout, look()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = %error, "cannot see who listens"),
            Err(_) => tracing::debug!("cannot see in time who listens"),
        }
    }

    /// Reads the log to its end, a stretch at a time: each that was read stays, so that time is given to one only.
    async fn catch_up(&mut self) -> Result<(), ReadError> {
        loop {
            let stretch = match timeout(self.query_timeout, self.stretch()).await {
                Ok(Ok(stretch)) => stretch,
                Ok(Err(error)) => {
                    // The server has a limit of its own for a statement.
                    self.pace.too_slow();
                    return Err(error);
                }
                Err(_) => {
                    self.pace.too_slow();
                    return Err(sqlx::Error::PoolTimedOut.into());
                }
            };
            self.pace.in_time();
            if !stretch {
                return Ok(());
            }
        }
    }

    /// Reads the next stretch; says whether there is more.
    async fn stretch(&mut self) -> Result<bool, ReadError> {
        let mut connection = self.line.take().await?;
        let (from, end) = (self.cache.revision(), Revision(i64::MAX));
        let limit = self.pace.limit();
        let (cache, incarnation) = (&self.cache, self.incarnation);
        let stretch = log::read(&mut connection, cache, incarnation, from, end, limit).await?;
        self.line.keep(connection);
        self.metrics.heard(stretch.to.0);
        self.metrics.tailed(stretch.deltas.len());
        self.cache
            .apply(from, stretch.to, stretch.deltas)
            .map_err(Error::Corrupt)?;
        Ok(stretch.more)
    }

    /// Turns notifications into hints, until `stop`.
    pub(crate) async fn listen(
        database: Database,
        metrics: Arc<Metrics>,
        hints: Arc<Notify>,
        peers: Arc<Peers>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let listen = async {
            loop {
                let listened = Self::listen_once(&database, &metrics, &hints, &peers).await;
                if let Err(error) = listened {
                    tracing::debug!(error = %error, "cannot listen for changes");
                }
                sleep(RETRY).await;
            }
        };
        stop.run_until_cancelled(listen).await;
        Ok(())
    }

    async fn listen_once(
        database: &Database,
        metrics: &Metrics,
        hints: &Notify,
        peers: &Peers,
    ) -> sqlx::Result<()> {
        let mut listener = PgListener::connect_with(&database.pool).await?;
        listener.listen("koinon_changes").await?;
        peers.join(&mut listener).await?;
        // What was committed before we listened was notified to nobody: the poll finds it.
        while let Some(notification) = listener.try_recv().await? {
            match notification.payload().parse() {
                Ok(head) => {
                    metrics.heard(head);
                    hints.notify_one();
                }
                Err(_) => peers.hello(),
            }
        }
        Ok(())
    }
}
