//! Signs of life: one narrow row per cluster, outside of objects, changes and revisions.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::{mutation::Unavailable, store::Store};

/// A cluster's sign of life, in one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    pub cluster: String,
    pub session: Uuid,
}

/// A cluster's last sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub cluster: String,
    pub session: Uuid,
    /// By the database's clock.
    pub at: Timestamp,
    /// How long ago that was, by the same clock.
    pub age: Duration,
}

/// Access to heartbeats, by [`Store::heartbeats`].
#[derive(Clone, Debug)]
pub struct Heartbeats(pub(crate) Store);

impl Heartbeats {
    /// Records that all these clusters are alive now, by the database's clock. Durable when it returns.
    pub async fn beat_many(&self, beats: &[Beat]) -> Result<(), Unavailable> {
        if beats.is_empty() {
            return Ok(());
        }
        // In order of name: two replicas that share clusters for a moment must not wait for each other in a circle.
        let mut beats: Vec<&Beat> = beats.iter().collect();
        beats.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        beats.dedup_by(|later, kept| later.cluster == kept.cluster);
        let clusters: Vec<&str> = beats.iter().map(|beat| beat.cluster.as_str()).collect();
        let sessions: Vec<Uuid> = beats.iter().map(|beat| beat.session).collect();
        let run = self.0.database().run(async |connection| {
            sqlx::query!(
                "insert into heartbeats (cluster, session, at)
                 select t.cluster, t.session, clock_timestamp()
                 from unnest($1::text[], $2::uuid[]) with ordinality as t (cluster, session, ordinal)
                 order by t.ordinal
                 on conflict (cluster) do update set session = excluded.session, at = excluded.at",
                &clusters as &[&str],
                &sessions
            )
            .execute(connection)
            .await
        });
        run.await.map(drop)
    }

    /// Returns how long ago each cluster was last heard of, by the database's clock.
    pub async fn ages(&self) -> Result<Vec<(String, Duration)>, Unavailable> {
        Ok(self
            .all()
            .await?
            .into_iter()
            .map(|heartbeat| (heartbeat.cluster, heartbeat.age))
            .collect())
    }

    /// Returns how long ago one cluster was last heard of, by the database's clock.
    pub async fn age(&self, cluster: &str) -> Result<Option<Duration>, Unavailable> {
        let run = self.0.database().read(async |connection| {
            sqlx::query_scalar!(
                r#"select extract(epoch from clock_timestamp() - at)::float8 as "age!"
                   from heartbeats where cluster = $1"#,
                cluster
            )
            .fetch_optional(connection)
            .await
        });
        // The clock of the database may be set back.
        Ok(run
            .await?
            .map(|age| Duration::try_from_secs_f64(age).unwrap_or_default()))
    }

    /// Returns the last sign of life of each cluster.
    pub async fn all(&self) -> Result<Vec<Heartbeat>, Unavailable> {
        let run = self.0.database().read(async |connection| {
            sqlx::query!(
                r#"select cluster, session, at as "at: jiff_sqlx::Timestamp",
                          extract(epoch from clock_timestamp() - at)::float8 as "age!"
                   from heartbeats order by cluster"#
            )
            .fetch_all(connection)
            .await
        });
        Ok(run
            .await?
            .into_iter()
            .map(|row| Heartbeat {
                cluster: row.cluster,
                session: row.session,
                at: row.at.to_jiff(),
                // The clock of the database may be set back.
                age: Duration::try_from_secs_f64(row.age).unwrap_or_default(),
            })
            .collect())
    }
}
