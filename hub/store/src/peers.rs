//! Whether anybody but this replica listens for changes.
//!
//! Whoever listens holds a shared advisory lock on the connection that listens, and says so on the channel when it begins.
//! A replica that is alone notifies nobody of its writes: it would wake itself, and nobody else, at each of them.
//! Nothing relies on notifications, so being wrong for a moment costs a poll interval and nothing more.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::SeqCst};

use sqlx::{PgConnection, postgres::PgListener};

/// What is known of other replicas.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    alone: AtomicBool,
    /// How often somebody began to listen.
    hellos: AtomicU64,
    /// Process of the connection that listens for this replica; 0 for none.
    listener: AtomicI32,
}

impl Peers {
    /// Whether nobody else listens.
    pub(crate) fn are_absent(&self) -> bool {
        self.alone.load(SeqCst)
    }

    /// Shows that this replica listens on `listener` from now on.
    pub(crate) async fn join(&self, listener: &mut PgListener) -> sqlx::Result<()> {
        let row = sqlx::query!(
            r#"select pg_backend_pid() as "pid!", pg_advisory_lock_shared(1802463598, 4) as "lock: String",
                      pg_notify('koinon_changes', '') as "told: String""#
        )
        .fetch_one(listener)
        .await?;
        self.listener.store(row.pid, SeqCst);
        Ok(())
    }

    /// Somebody began to listen.
    pub(crate) fn hello(&self) {
        self.hellos.fetch_add(1, SeqCst);
        self.alone.store(false, SeqCst);
    }

    /// Looks who listens.
    pub(crate) async fn look(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let hellos = self.hellos.load(SeqCst);
        let others = sqlx::query_scalar!(
            r#"select exists(
                   select from pg_locks
                   where locktype = 'advisory' and classid = 1802463598::oid and objid = 4::oid and objsubid = 2
                     and database = (select oid from pg_database where datname = current_database())
                     and granted and pid <> $1
               ) as "others!""#,
            self.listener.load(SeqCst)
        )
        .fetch_one(connection)
        .await?;
        // Who came while we looked may have been overlooked.
        self.alone
            .store(!others && self.hellos.load(SeqCst) == hellos, SeqCst);
        Ok(())
    }
}
