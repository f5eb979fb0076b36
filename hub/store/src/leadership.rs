//! Leadership: one replica at a time, every term with a higher epoch.
//!
//! An advisory lock says who leads and ends with its session; the epoch is what makes it safe: a write carries it,
//! and the transaction that applies it refuses any but the latest (P5).

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{key::Epoch, mutation::Unavailable, store::Store};

/// Between attempts to become leader.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Between looks at the session that holds the lock.
const CHECK: Duration = Duration::from_secs(1);

/// A candidacy, by [`Store::election`].
#[derive(Clone, Debug)]
pub struct Election {
    pub(crate) store: Store,
    pub(crate) holder: String,
}

impl Election {
    /// Waits until this replica leads, through outages of the database too.
    ///
    /// # Cancel safety
    /// Dropping the future ends the candidacy.
    pub async fn campaign(&self) -> Leadership {
        loop {
            match self.attempt().await {
                Ok(Some(leadership)) => return leadership,
                Ok(None) => {}
                Err(error) => tracing::debug!(error = %error, "cannot stand for election"),
            }
            sleep(ATTEMPT).await;
        }
    }

    /// Returns who leads, or led last, and in which term.
    pub async fn current(&self) -> Result<Option<(Epoch, String)>, Unavailable> {
        let run = self.store.database().run(async |connection| {
            sqlx::query!("select epoch, holder from leadership")
                .fetch_optional(connection)
                .await
        });
        Ok(run.await?.map(|row| (Epoch(row.epoch), row.holder)))
    }

    async fn attempt(&self) -> sqlx::Result<Option<Leadership>> {
        let mut connection = self.store.database().dedicated().await?;
        let limit = self.store.query_timeout();
        let term = timeout(limit, begin_term(&mut connection, &self.holder)).await;
        let Some(epoch) = term.unwrap_or(Err(sqlx::Error::PoolTimedOut))? else {
            // Let the server know at once: a thousand attempts must not leave a thousand sessions.
            timeout(limit, connection.close()).await.unwrap_or(Ok(()))?;
            return Ok(None);
        };
        let (ended, lost) = watch::channel(false);
        let keeper = tokio::spawn(keep(connection, ended, limit));
        tracing::info!(epoch = epoch.0, "leading");
        Ok(Some(Leadership {
            epoch,
            lost,
            keeper,
        }))
    }
}

/// Takes the lock and begins a new term, if nobody leads.
async fn begin_term(connection: &mut PgConnection, holder: &str) -> sqlx::Result<Option<Epoch>> {
    let locked = sqlx::query_scalar!(r#"select pg_try_advisory_lock(1802463598, 2) as "locked!""#)
        .fetch_one(&mut *connection)
        .await?;
    if !locked {
        return Ok(None);
    }
    let mut term = connection.begin().await?;
    // The writer lock: no batch that was checked against the old epoch commits after this.
    sqlx::query!(r#"select pg_advisory_xact_lock(1802463598, 1) as "lock: String""#)
        .execute(&mut *term)
        .await?;
    let epoch = sqlx::query_scalar!(
        "insert into leadership as l (epoch, holder) values (1, $1)
         on conflict (one) do update set epoch = l.epoch + 1, holder = excluded.holder, since = now()
         returning epoch",
        holder
    )
    .fetch_one(&mut *term)
    .await?;
    term.commit().await?;
    Ok(Some(Epoch(epoch)))
}

/// Watches over the session that holds the lock. When the session is over, so is the term.
async fn keep(mut connection: PgConnection, ended: watch::Sender<bool>, limit: Duration) {
    // Another replica leads once the server has seen this session end; that cannot be before we see it fail, or are
    // cut off, in which case the epoch protects.
    while let Ok(Ok(())) = timeout(limit, connection.ping()).await {
        sleep(CHECK).await;
    }
    tracing::warn!("leadership was lost");
    ended.send_replace(true);
}

/// A term as leader. Dropping it resigns.
#[derive(Debug)]
pub struct Leadership {
    epoch: Epoch,
    lost: watch::Receiver<bool>,
    keeper: JoinHandle<()>,
}

impl Leadership {
    /// The epoch that writes of this term carry.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Resolves when the term is over.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn lost(&self) {
        // An error means that the keeper of the term is gone: lost as well.
        let _ = self.lost.clone().wait_for(|lost| *lost).await;
    }

    pub fn is_lost(&self) -> bool {
        *self.lost.borrow() || self.keeper.is_finished()
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        // Dropping the connection closes it, and the server lets go of the lock.
        self.keeper.abort();
    }
}
