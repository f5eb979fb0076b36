//! A throwaway Postgres for tests.

use std::{path::PathBuf, time::Duration};

pub use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{
    config::StoreConfig,
    server::{Durability, PostgresServer, ServerError},
};

/// For a test of outages: does not wait long for a database that is away.
pub fn impatient(config: &mut StoreConfig) {
    config.write_timeout = Duration::from_secs(2);
    config.query_timeout = Duration::from_secs(2);
}

/// Looks into the tables, past the store.
#[derive(Debug)]
pub struct Inspector(PgConnection);

impl Inspector {
    /// How many rows a table has.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn count(&mut self, table: &'static str) -> i64 {
        let sql = AssertSqlSafe(format!("select count(*) from {table}"));
        sqlx::query_scalar(sql)
            .fetch_one(&mut self.0)
            .await
            .expect("the server answers")
    }

    /// Revision and name of each change in the log.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn log(&mut self) -> Vec<(i64, String)> {
        let rows = sqlx::query_as("select revision, name from changes order by revision");
        rows.fetch_all(&mut self.0)
            .await
            .expect("the server answers")
    }

    /// Each change in the log: revision, name, kind, and the text in its body, or in its status if only that changed.
    ///
    /// # Panics
    /// When the server does not answer, or an object has no such text.
    pub async fn log_texts(&mut self) -> Vec<(i64, String, i16, String)> {
        let rows = sqlx::query_as(
            "select revision, name, kind,
                    coalesce(convert_from(body, 'UTF8')::json #>> '{spec,text}', convert_from(status, 'UTF8')::json ->> 'text', '')
             from changes order by revision",
        );
        rows.fetch_all(&mut self.0)
            .await
            .expect("the server answers")
    }

    /// Runs statements that change what the store relies on.
    ///
    /// # Panics
    /// When they fail.
    pub async fn execute(&mut self, sql: &'static str) {
        sqlx::raw_sql(sql)
            .execute(&mut self.0)
            .await
            .expect("the statement succeeds");
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

/// A Postgres with an empty database, gone with the value.
#[derive(Debug)]
pub struct TestPostgres {
    server: PostgresServer,
    dir: PathBuf,
}

impl TestPostgres {
    /// Starts a server that forgets everything on a crash, and is fast.
    ///
    /// # Errors
    /// When there is no Postgres or it does not start.
    pub async fn start() -> Result<Self, ServerError> {
        Self::start_with(Durability::None).await
    }

    /// Starts a server.
    ///
    /// # Errors
    /// When there is no Postgres or it does not start.
    pub async fn start_with(durability: Durability) -> Result<Self, ServerError> {
        let dir =
            PathBuf::from("/tmp").join(format!("koinon-pg-{}", uuid::Uuid::new_v4().simple()));
        let mut server = PostgresServer::prepare(&dir, durability).await?;
        server.start(PATIENCE).await?;
        Ok(Self { server, dir })
    }

    /// The URL of its database.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Settings for a store on it that takes a loaded machine for no outage.
    pub fn config(&self) -> StoreConfig {
        StoreConfig {
            write_timeout: Duration::from_secs(60),
            query_timeout: Duration::from_secs(60),
            ..StoreConfig::new(self.url())
        }
    }

    /// A connection to look at what is stored.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn connect(&self) -> Inspector {
        Inspector(
            PgConnection::connect(&self.url())
                .await
                .expect("the server answers"),
        )
    }

    /// Kills the server as a power cut would.
    pub async fn kill(&mut self) {
        self.server.kill().await;
    }

    /// Stops the server in order.
    pub async fn stop(&mut self) {
        self.server.stop(PATIENCE).await;
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.server.start(PATIENCE).await
    }

    /// Sends a signal to all processes of the server.
    pub fn signal(&self, signal: Signal) {
        self.server.signal(signal);
    }

    /// The process id of the server.
    pub fn pid(&self) -> Option<i32> {
        self.server.pid()
    }
}

impl Drop for TestPostgres {
    fn drop(&mut self) {
        self.server.end_now();
        // What is left is in /tmp and harms nobody.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
