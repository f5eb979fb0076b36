//! The audit table: appended to, read in order, and trimmed from its beginning when the time of records is over.

use std::time::Duration;

use koinon_api::audit::{Head, Page, Record};
use sqlx::Connection as _;

use crate::{mutation::Unavailable, store::Store};

/// Access to the table, by [`Store::audit`].
#[derive(Clone, Debug)]
pub struct AuditLog(pub(crate) Store);

impl AuditLog {
    /// Appends records. A record that is there already is left: a repetition after a lost answer does no harm.
    pub async fn append(&self, records: &[Record]) -> Result<(), Unavailable> {
        let replicas: Vec<&str> = records.iter().map(|record| &*record.replica).collect();
        let sequences: Vec<i64> = records
            .iter()
            .map(|record| i64::try_from(record.sequence).unwrap_or(i64::MAX))
            .collect();
        let hashes: Vec<&str> = records.iter().map(|record| &*record.hash).collect();
        let texts: Vec<String> = records
            .iter()
            .map(|record| serde_json::to_string(record).unwrap_or_default())
            .collect();
        let run = self.0.database().run(async |connection| {
            let mut batch = connection.begin().await?;
            // One at a time, so that ids are in order of commit: whoever reads page by page must not miss what commits late.
            sqlx::query!(r#"select pg_advisory_xact_lock(1802463598, 3) as "lock: String""#)
                .execute(&mut *batch)
                .await?;
            sqlx::query!(
                "insert into audit (replica, sequence, hash, record)
                 select * from unnest($1::text[], $2::bigint[], $3::text[], $4::text[])
                 on conflict (replica, sequence) do nothing",
                &replicas as &[&str],
                &sequences,
                &hashes as &[&str],
                &texts
            )
            .execute(&mut *batch)
            .await?;
            batch.commit().await
        });
        run.await.map(drop)
    }

    /// The ends of the chains that were written to last.
    pub async fn heads(&self, most: usize) -> Result<Vec<Head>, Unavailable> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let run = self.0.database().run(async |connection| {
            sqlx::query!(
                // From chain to chain by the index: there are few of them, and a table of millions of records is not read for it.
                r#"with recursive chains as (
                       (select replica from audit order by replica limit 1)
                       union all
                       select (select a.replica from audit a where a.replica > c.replica order by a.replica limit 1)
                       from chains c where c.replica is not null
                   )
                   select h.replica as "replica!", h.sequence as "sequence!", h.hash as "hash!"
                   from chains c
                        cross join lateral (select a.id, a.replica, a.sequence, a.hash from audit a
                                            where a.replica = c.replica order by a.sequence desc limit 1) h
                   order by h.id desc limit $1"#,
                most
            )
            .fetch_all(connection)
            .await
        });
        let rows = run.await?;
        Ok(rows
            .into_iter()
            .map(|row| Head {
                replica: row.replica,
                sequence: row.sequence.unsigned_abs(),
                hash: row.hash,
            })
            .collect())
    }

    /// A page of records: those after `after`, at most `most`.
    pub async fn page(&self, after: i64, most: usize) -> Result<Page, Unavailable> {
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let run = self.0.database().run_aside(async |connection| {
            let mut snapshot = connection
                .begin_with("begin isolation level repeatable read read only")
                .await?;
            let trimmed = sqlx::query!("select replica, sequence, hash from audit_trims")
                .fetch_all(&mut *snapshot)
                .await?;
            let rows = sqlx::query!(
                "select id, record from audit where id > $1 order by id limit $2",
                after,
                limit
            )
            .fetch_all(&mut *snapshot)
            .await?;
            snapshot.rollback().await?;
            Ok((trimmed, rows))
        });
        let (trimmed, rows) = run.await?;
        let mut page = Page {
            trimmed: trimmed
                .into_iter()
                .map(|row| Head {
                    replica: row.replica,
                    sequence: row.sequence.unsigned_abs(),
                    hash: row.hash,
                })
                .collect(),
            next: (rows.len() == most)
                .then(|| rows.last().map(|row| row.id))
                .flatten(),
            ..Page::default()
        };
        for row in rows {
            match serde_json::from_str(&row.record) {
                Ok(record) => page.records.push(record),
                Err(_) => page.unreadable.push(row.id),
            }
        }
        Ok(page)
    }

    /// What there is to be removed of what is older than `keep`: up to where, and the heads of what goes. A bounded part.
    pub async fn over(&self, keep: Duration) -> Result<Option<(i64, Vec<Head>)>, Unavailable> {
        let seconds = keep.as_secs_f64();
        let run = self.0.database().run(async |connection| {
            let edge = sqlx::query_scalar!(
                "select max(id) from (select id from audit where at < now() - make_interval(secs => $1)
                                      order by id limit 10000) old",
                seconds
            )
            .fetch_one(&mut *connection)
            .await?;
            let Some(edge) = edge else { return Ok(None) };
            let rows = sqlx::query!(
                "select distinct on (replica) replica, sequence, hash from audit where id <= $1
                 order by replica, sequence desc",
                edge
            )
            .fetch_all(connection)
            .await?;
            Ok(Some((edge, rows)))
        });
        let Some((edge, rows)) = run.await? else {
            return Ok(None);
        };
        let heads = rows.into_iter().map(|row| Head {
            replica: row.replica,
            sequence: row.sequence.unsigned_abs(),
            hash: row.hash,
        });
        Ok(Some((edge, heads.collect())))
    }

    /// Removes records up to `edge`, and remembers where the chains go on and for how long that is kept. Returns how many went.
    pub async fn trim(&self, edge: i64, keep: Duration) -> Result<u64, Unavailable> {
        let seconds = keep.as_secs_f64();
        let run = self.0.database().run(async |connection| {
            let row = sqlx::query!(r#"select audit_trim($1, $2) as "removed!""#, edge, seconds)
                .fetch_one(connection)
                .await?;
            Ok(row.removed)
        });
        Ok(run.await?.unsigned_abs())
    }
}
