//! Connections: how they are made, and how long anybody waits for them.
//!
//! Advisory locks are of class 1802463598 and have a number each: 1 the writer of the log, 2 who leads, 3 the writer of the audit
//! table, 4 (shared) whoever listens.

use std::{str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool,
    migrate::{MigrateError, Migrator},
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions, Postgres},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};

use crate::{config::StoreConfig, mutation::Unavailable, store::Error};

/// A newer release may have migrated further than this one knows: two releases may run on one database.
fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("../../migrations");
    migrator.set_ignore_missing(true);
    migrator
}

/// Connections for short queries. The writer lane and leadership have their own besides.
const POOL: u32 = 6;
/// How many of them may be busy with what users ask for, and may take long. Heartbeats need the others.
const ASIDE: usize = 2;
/// A dead peer is noticed after about this time, where the network says nothing.
const DEAD_PEER: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "10000"),
];

#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) pool: PgPool,
    options: PgConnectOptions,
    timeout: Duration,
    aside: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl Database {
    /// Connects with patience, and migrates.
    pub(crate) async fn open(config: &StoreConfig) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(&config.url)
            .map_err(|error| Error::Open("the database URL is not valid", error))?
            .application_name("koinon-hub")
            .log_statements(tracing::log::LevelFilter::Trace)
            .options(DEAD_PEER);
        let limit = millis(config.query_timeout + Duration::from_secs(1));
        let pooled = options.clone().options([
            ("statement_timeout", &limit),
            ("idle_in_transaction_session_timeout", &limit),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(POOL)
            .acquire_timeout(config.query_timeout)
            .connect_lazy_with(pooled);
        let this = Self {
            pool,
            options,
            timeout: config.query_timeout,
            aside: Arc::new(Semaphore::new(ASIDE)),
            turn: Arc::new(Semaphore::new(1)),
        };
        let deadline = Instant::now() + config.open_timeout;
        loop {
            let error = match timeout_at(deadline, this.options.connect()).await {
                // A migration of a large registry takes its time: to give up in the middle is to begin again.
                Ok(Ok(connection)) => match prepare(connection).await {
                    Ok(()) => break,
                    Err(error) => error,
                },
                Ok(Err(error)) => error,
                Err(_) => sqlx::Error::PoolTimedOut,
            };
            if Instant::now() >= deadline || !is_transient(&error) {
                return Err(Error::Open("cannot prepare the database", error));
            }
            tracing::info!(error = %error, "waiting for the database");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(this)
    }

    /// A connection without a bound on statements, for long reads.
    pub(crate) async fn dedicated(&self) -> sqlx::Result<PgConnection> {
        connect(&self.options, self.timeout).await
    }

    /// What the writer lane connects with.
    pub(crate) fn lane_options(&self, write_timeout: Duration) -> PgConnectOptions {
        let limit = millis(write_timeout);
        self.options.clone().options([
            ("statement_timeout", limit.as_str()),
            ("lock_timeout", &limit),
            // plpgsql would otherwise plan the same joins anew on every call. A generic plan made while the tables
            // were empty must still be right when they are large: leave the primary key as the only way.
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("enable_seqscan", "off"),
            ("jit", "off"),
        ])
    }

    /// Reads what a user asked for, and what may take as long as a query may: a few at a time, so that nobody else waits for it.
    pub(crate) async fn run_aside<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> Result<T, Unavailable> {
        let turn = timeout(self.timeout, self.aside.acquire()).await;
        let _turn = turn.map_err(|_| Unavailable::new("too many long queries are waiting"))?;
        self.read(work).await
    }

    /// Runs what waits for the writer lock: one after the other, so that heartbeats find a connection whoever has it.
    pub(crate) async fn run_in_turn<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> Result<T, Unavailable> {
        let turn = timeout(self.timeout, self.turn.acquire()).await;
        let _turn = turn.map_err(|_| Unavailable::new("too many wait for the writer"))?;
        self.run(work).await
    }

    /// Runs a short piece of reading with a deadline: however it fails, nothing was changed.
    pub(crate) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> Result<T, Unavailable> {
        let read = self.run(work).await;
        read.map_err(|error| Unavailable::new(error.reason))
    }

    /// Runs a short piece of database work with a deadline.
    pub(crate) async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> Result<T, Unavailable> {
        let deadline = Instant::now() + self.timeout;
        let mut connection: PoolConnection<Postgres> = self
            .pool
            .acquire()
            .await
            .map_err(|error| Unavailable::new(error.to_string()))?;
        match timeout_at(deadline, work(&mut connection)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Unavailable::ambiguous(error.to_string())),
            Err(_) => {
                // Its answer is still to come: nobody else may use this connection.
                connection.close_on_drop();
                Err(Unavailable::ambiguous(
                    "the database did not answer in time",
                ))
            }
        }
    }
}

/// One connection that is made anew when it breaks.
#[derive(Debug)]
pub(crate) struct Line {
    options: PgConnectOptions,
    timeout: Duration,
    connection: Option<PgConnection>,
}

impl Line {
    pub(crate) fn new(options: PgConnectOptions, timeout: Duration) -> Self {
        Self {
            options,
            timeout,
            connection: None,
        }
    }

    pub(crate) fn pooled(database: &Database) -> Self {
        Self::new((*database.pool.connect_options()).clone(), database.timeout)
    }

    /// Says whether the next [`Line::take`] connects anew.
    pub(crate) fn is_broken(&self) -> bool {
        self.connection.is_none()
    }

    /// Takes the connection out, making it if there is none. Put it back with [`Line::keep`] when it is still good:
    /// so one that broke, or was left in the middle of something, is never used again.
    pub(crate) async fn take(&mut self) -> sqlx::Result<PgConnection> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => connect(&self.options, self.timeout).await,
        }
    }

    pub(crate) fn keep(&mut self, connection: PgConnection) {
        self.connection = Some(connection);
    }
}

/// Migrates.
async fn prepare(mut connection: PgConnection) -> sqlx::Result<()> {
    migrator()
        .run(&mut connection)
        .await
        .map_err(|error| match error {
            MigrateError::Execute(error) => error,
            error => sqlx::Error::Migrate(Box::new(error)),
        })?;
    warn_unless_durable(&mut connection).await;
    // However this connection ends, it was not needed any more.
    let _ = connection.close().await;
    Ok(())
}

async fn connect(options: &PgConnectOptions, within: Duration) -> sqlx::Result<PgConnection> {
    timeout(within, options.connect())
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// Whether waiting may help. A wrong password or database stays wrong.
fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        // 57P03: starting up or shutting down. 53300: too many connections.
        sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("57P03" | "53300")),
        sqlx::Error::Configuration(_) | sqlx::Error::Migrate(_) => false,
        _ => true,
    }
}

async fn warn_unless_durable(connection: &mut PgConnection) {
    let settings = sqlx::query!(
        r#"select current_setting('fsync') = 'on' and current_setting('synchronous_commit') <> 'off' as "durable!""#
    )
    .fetch_one(connection)
    .await;
    if settings.is_ok_and(|settings| !settings.durable) {
        tracing::warn!(
            "the database runs without fsync or synchronous_commit: acknowledged writes can be lost"
        );
    }
}
