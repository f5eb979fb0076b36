//! The read index: which revision is current, asked once for everybody who waits.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    cache::Cache, database::Line, key::Revision, metrics::Metrics, mutation::Unavailable,
    store::Error,
};

/// Callers that may wait for the next question; more wait for a place.
const WAITING: usize = 1024;

type Answer = oneshot::Sender<Result<Revision, Unavailable>>;

/// Where callers ask.
#[derive(Clone, Debug)]
pub(crate) struct Fresh(mpsc::Sender<Answer>);

/// Where the question is put to the database.
#[derive(Debug)]
pub(crate) struct FreshTask {
    pub(crate) line: Line,
    pub(crate) cache: Arc<Cache>,
    pub(crate) callers: mpsc::Receiver<Answer>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) hints: Arc<Notify>,
    pub(crate) query_timeout: Duration,
}

impl Fresh {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Answer>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Returns the revision that was current at some moment after the call.
    pub(crate) async fn revision(&self) -> Result<Revision, Unavailable> {
        let stopped = || Unavailable::new("the hub is shutting down");
        let (sender, answer) = oneshot::channel();
        self.0.send(sender).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl FreshTask {
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut waiting = Vec::new();
        while let Some(1..) = stop
            .run_until_cancelled(self.callers.recv_many(&mut waiting, WAITING))
            .await
        {
            let have = self.cache.revision();
            let asked = timeout(self.query_timeout, self.ask(have)).await;
            let answer = match asked {
                Ok(Ok(Registry { revision, same })) => {
                    if self.cache.revision() < revision {
                        self.metrics.heard(revision.0);
                        self.hints.notify_one();
                    }
                    // The feeder finds out the same, and ends the store.
                    same.then_some(revision)
                        .ok_or_else(|| Unavailable::new("the registry was set back"))
                }
                Ok(Err(error)) => Err(Unavailable::new(error.to_string())),
                Err(_) => Err(Unavailable::new("the database did not answer in time")),
            };
            self.metrics.reachable(answer.is_ok());
            for caller in waiting.drain(..) {
                // The caller may have given up.
                let _ = caller.send(answer.clone());
            }
        }
        Ok(())
    }

    /// How the registry stands, compared with what this replica has read up to `have`.
    async fn ask(&mut self, have: Revision) -> sqlx::Result<Registry> {
        let mut connection = self.line.take().await?;
        let registry = sqlx::query!(
            r#"select revision as "revision!",
                      (select stamp from lineage where start <= $1 order by start desc limit 1) as "stamp?"
               from registry"#,
            have.0
        )
        .fetch_one(&mut connection)
        .await?;
        self.line.keep(connection);
        let same = registry.revision >= have.0 && self.cache.lineage().agrees(have, registry.stamp);
        Ok(Registry {
            revision: Revision(registry.revision),
            same,
        })
    }
}

struct Registry {
    revision: Revision,
    /// Whether its history is the one that this replica has read.
    same: bool,
}
