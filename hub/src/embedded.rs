//! A private Postgres for hubs without a database URL.

use std::{path::Path, time::Duration};

use koinon_store::server::{Durability, PostgresServer, ServerError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long a start may take; after a power cut the log has to be replayed first.
const START: Duration = Duration::from_secs(60);
/// How long an orderly stop may take.
const STOP: Duration = Duration::from_secs(10);
/// Pause before another start, after one that failed.
const RETRY: Duration = Duration::from_secs(1);

/// A running Postgres in the hub's data folder. It ends when the value is dropped, or the process dies.
#[derive(Debug)]
pub struct Postgres {
    server: PostgresServer,
}

impl Postgres {
    /// Starts the Postgres in `<data_dir>/postgres`, and makes it first if there is none.
    ///
    /// # Errors
    ///
    /// When no Postgres is installed, the folder cannot be used, or the server does not answer in time.
    pub async fn start(data_dir: &Path) -> Result<Self, ServerError> {
        let mut server =
            PostgresServer::prepare(&data_dir.join("postgres"), Durability::Full).await?;
        server.start(START).await?;
        Ok(Self { server })
    }

    /// The URL of its database; it stays the same over restarts.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The process id of the server, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.server.pid()
    }

    /// Starts the server again whenever it dies, until `stop`; then stops it in order. Whoever uses the database
    /// should have ended before.
    pub async fn run(mut self, stop: CancellationToken) {
        while stop
            .run_until_cancelled(self.server.ended())
            .await
            .is_some()
        {
            tracing::warn!("the embedded Postgres died; starting it again");
            let restarted = stop.run_until_cancelled(async {
                while let Err(error) = self.server.start(START).await {
                    tracing::error!(error = %error, "the embedded Postgres does not start");
                    sleep(RETRY).await;
                }
            });
            if restarted.await.is_none() {
                break;
            }
        }
        self.server.stop(STOP).await;
    }
}
