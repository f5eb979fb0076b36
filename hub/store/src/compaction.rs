//! Trims the log to what is retained, and sweeps what nothing refers to any more: bodies, expired certificates.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection, PgConnection};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{database::Database, metrics::Metrics, mutation::Unavailable, store::Error};

/// Rows per transaction: the writer lock is held for milliseconds.
const CHUNK: i64 = 2000;
/// Left to the writers between two chunks.
const BREATH: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
pub(crate) struct Compaction {
    pub(crate) database: Database,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) retain_age: Duration,
    pub(crate) retain_changes: i64,
    pub(crate) interval: Duration,
}

impl Compaction {
    /// Compacts now and then until `stop`. Replicas need not agree on who does it.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        while stop
            .run_until_cancelled(sleep(self.interval))
            .await
            .is_some()
        {
            if let Some(Err(error)) = stop.run_until_cancelled(self.compact()).await {
                tracing::warn!(error = %error, "cannot compact the change log");
            }
        }
        Ok(())
    }

    /// Compacts once.
    pub(crate) async fn compact(&self) -> Result<(), Unavailable> {
        let mut trimmed = 0;
        loop {
            let age = self.retain_age.as_secs_f64();
            let chunk = self
                .database
                .run(async |connection| trim(connection, age, self.retain_changes).await)
                .await?;
            trimmed += chunk.removed;
            if chunk.passed < CHUNK {
                break;
            }
            sleep(BREATH).await;
        }
        // Bodies lose their last reference when the log forgets them. One that was sent for a write which was then
        // refused stays until the next sweep.
        let mut swept = 0;
        if trimmed > 0 {
            let mut after = Vec::new();
            while let Some((last, removed)) = self
                .database
                .run(async |connection| sweep(connection, &after).await)
                .await?
            {
                after = last;
                swept += removed;
                sleep(BREATH).await;
            }
            tracing::info!(
                changes = trimmed,
                bodies = swept,
                "compacted the change log"
            );
        }
        self.metrics.compacted(trimmed, swept);
        self.database
            .run(async |connection| {
                sqlx::query!("delete from certificates where not_after < now()")
                    .execute(connection)
                    .await
            })
            .await?;
        Ok(())
    }
}

/// What a chunk of the log came to.
struct Trimmed {
    /// Changes that watches and replicas cannot begin from any more.
    passed: i64,
    /// Those of them that are gone.
    removed: u64,
}

/// Moves the horizon past the oldest changes that need not be retained, a chunk of them at most, and removes them.
///
/// What is at the horizon stays: the last change of each object before it, and the one that this rests on if only the status was
/// changed then. What comes after the horizon names them as the state before, and the past is told from them.
async fn trim(connection: &mut PgConnection, age: f64, keep: i64) -> sqlx::Result<Trimmed> {
    let mut chunk = connection.begin().await?;
    lock(&mut chunk).await?;
    let stretch = sqlx::query!(
        r#"select min(horizon) as "from", max(oldest.revision) as upto, count(oldest.revision) as "passed!"
           from registry
                cross join lateral (
                    select revision, at from changes where changes.revision > horizon order by changes.revision limit $1
                ) oldest
           where oldest.at < now() - make_interval(secs => $2) or oldest.revision <= registry.revision - $3"#,
        CHUNK,
        age,
        keep
    )
    .fetch_one(&mut *chunk)
    .await?;
    let (Some(from), Some(upto)) = (stretch.from, stretch.upto) else {
        return Ok(Trimmed {
            passed: 0,
            removed: 0,
        });
    };
    sqlx::query!("update registry set horizon = $1", upto)
        .execute(&mut *chunk)
        .await?;
    // 3 is a change of the status, 4 a deletion.
    let gone = sqlx::query!(
        "delete from changes
         where revision in (
             select prior from changes
             where revision > $1 and revision <= $2 and (kind = 4 or prior <> written)
             union all
             select before.written from changes l join changes before on before.revision = l.prior
             where l.revision > $1 and l.revision <= $2 and l.kind <> 3
             union all
             select revision from changes where revision > $1 and revision <= $2 and kind = 4
         )",
        from,
        upto
    )
    .execute(&mut *chunk)
    .await?;
    chunk.commit().await?;
    Ok(Trimmed {
        passed: stretch.passed,
        removed: gone.rows_affected(),
    })
}

/// Looks at the next bodies after a digest. Returns the last one it looked at and how many it removed.
async fn sweep(
    connection: &mut PgConnection,
    after: &[u8],
) -> sqlx::Result<Option<(Vec<u8>, u64)>> {
    let mut chunk = connection.begin().await?;
    // Under the lock no write can begin to use what is found unused.
    lock(&mut chunk).await?;
    let last = sqlx::query_scalar!(
        "select digest from (select digest from bodies where digest > $1 order by digest limit $2) b
         order by digest desc limit 1",
        after,
        CHUNK
    )
    .fetch_optional(&mut *chunk)
    .await?;
    let Some(last) = last else { return Ok(None) };
    let gone = sqlx::query!(
        "delete from bodies b
         where b.digest > $1 and b.digest <= $2
           and not exists (select from objects o where o.body is null and o.digest = b.digest)
           and not exists (select from changes c where c.body is null and c.digest is not null and c.digest = b.digest)",
        after,
        last
    )
    .execute(&mut *chunk)
    .await?;
    chunk.commit().await?;
    Ok(Some((last, gone.rows_affected())))
}

async fn lock(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(r#"select pg_advisory_xact_lock(1802463598, 1) as "lock: String""#)
        .execute(connection)
        .await?;
    Ok(())
}
