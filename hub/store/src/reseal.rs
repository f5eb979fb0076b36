//! At start: what is secret and stored in the clear, or under an older key, is sealed with the present one.
//!
//! No revision changes, for nothing that anybody can see does. A row that another replica writes meanwhile is skipped: it
//! was sealed by that write.

use std::time::Duration;

use bytes::Bytes;
use sqlx::{Connection as _, PgConnection};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    database::Database,
    key::{Digest, Key},
    log::fetch_bodies,
    seal::{Part, SealError, Sealer},
};

/// Rows looked at once.
const PIECE: i64 = 500;
/// When what a replica that is going down still writes is looked at, and when all is again.
const SOON: Duration = Duration::from_secs(60);
const LATER: Duration = Duration::from_secs(3600);

/// A row of `objects` or `changes`.
struct Row {
    revision: i64,
    resource: String,
    namespace: String,
    name: String,
    digest: Option<Vec<u8>>,
    metadata: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
    status: Option<Vec<u8>>,
}

/// What a row becomes.
struct Renewed {
    revision: i64,
    metadata: Vec<u8>,
    body: Vec<u8>,
    status: Vec<u8>,
    digest: Digest,
}

/// Seals what is not sealed as it should be; returns how many rows that were.
pub(crate) async fn reseal(database: &Database, sealer: &Sealer) -> sqlx::Result<u64> {
    if !sealer.is_on() {
        return Ok(0);
    }
    let mut connection = database.dedicated().await?;
    let mut count = private_keys(&mut connection, sealer).await?;
    let mut left: Vec<Vec<u8>> = Vec::new();
    for table in [Table::Objects, Table::Changes] {
        let mut after = 0;
        loop {
            let rows = table.rows(&mut connection, after).await?;
            let Some(last) = rows.last() else { break };
            after = last.revision;
            for row in rows {
                let shared = row.digest.clone().filter(|_| row.body.is_none());
                if let Some(renewed) = renew(&mut connection, sealer, row).await? {
                    table.write(&mut connection, &renewed).await?;
                    left.extend(shared);
                    count += 1;
                }
            }
        }
    }
    forget(&mut connection, &left).await?;
    Ok(count)
}

/// Does it again a minute after the start and then now and then: an older replica may have written meanwhile, with another key.
pub(crate) async fn again(database: Database, sealer: Sealer, stop: CancellationToken) {
    let mut pause = SOON;
    while sealer.is_on() {
        if stop.run_until_cancelled(sleep(pause)).await.is_none() {
            return;
        }
        pause = LATER;
        match reseal(&database, &sealer).await {
            Ok(0) => {}
            Ok(resealed) => tracing::info!(resealed, "secrets were sealed with the present key"),
            Err(error) => tracing::warn!(%error, "cannot seal secrets with the present key"),
        }
    }
}

/// Removes bodies in the clear that nobody refers to any more.
async fn forget(connection: &mut PgConnection, digests: &[Vec<u8>]) -> sqlx::Result<()> {
    if digests.is_empty() {
        return Ok(());
    }
    let mut batch = connection.begin().await?;
    // Under the lock of writers none can begin to use what is found unused.
    sqlx::query!(r#"select pg_advisory_xact_lock(1802463598, 1) as "lock: String""#)
        .execute(&mut *batch)
        .await?;
    sqlx::query!(
        "delete from bodies b
         where b.digest = any ($1)
           and not exists (select from objects o where o.body is null and o.digest = b.digest)
           and not exists (select from changes c where c.body is null and c.digest is not null and c.digest = b.digest)",
        digests
    )
    .execute(&mut *batch)
    .await?;
    batch.commit().await
}

#[derive(Clone, Copy)]
enum Table {
    Objects,
    Changes,
}

impl Table {
    async fn rows(self, connection: &mut PgConnection, after: i64) -> sqlx::Result<Vec<Row>> {
        match self {
            Self::Objects => {
                sqlx::query_as!(
                    Row,
                    r#"select revision, resource, namespace, name, digest as "digest?", metadata as "metadata?", body,
                              status as "status?"
                       from objects where resource = 'secrets' and revision > $1 order by revision limit $2"#,
                    after,
                    PIECE
                )
                .fetch_all(connection)
                .await
            }
            Self::Changes => {
                sqlx::query_as!(
                    Row,
                    "select revision, resource, namespace, name, digest, metadata, body, status
                     from changes where resource = 'secrets' and revision > $1 order by revision limit $2",
                    after,
                    PIECE
                )
                .fetch_all(connection)
                .await
            }
        }
    }

    async fn write(self, connection: &mut PgConnection, row: &Renewed) -> sqlx::Result<()> {
        let Renewed {
            revision,
            metadata,
            body,
            status,
            digest,
        } = row;
        match self {
            Self::Objects => {
                sqlx::query!(
                    "update objects set metadata = $2, body = $3, status = $4, digest = $5 where revision = $1",
                    revision,
                    metadata,
                    body,
                    status,
                    &digest.0
                )
                .execute(connection)
                .await?;
            }
            Self::Changes => {
                sqlx::query!(
                    "update changes set metadata = $2, body = $3, status = $4, digest = $5 where revision = $1",
                    revision,
                    metadata,
                    body,
                    status,
                    &digest.0
                )
                .execute(connection)
                .await?;
            }
        }
        Ok(())
    }
}

/// What a row is to become; `None` if it is all right, or has nothing to hide.
async fn renew(
    connection: &mut PgConnection,
    sealer: &Sealer,
    row: Row,
) -> sqlx::Result<Option<Renewed>> {
    let (Some(metadata), Some(digest)) = (row.metadata, row.digest) else {
        return Ok(None);
    };
    let status = row.status.unwrap_or_default();
    let fine = row
        .body
        .as_deref()
        .is_some_and(|body| sealer.is_current(body));
    if fine && sealer.is_current(&metadata) && sealer.is_current(&status) {
        return Ok(None);
    }
    let body = match row.body {
        Some(body) => Bytes::from(body),
        None => shared(connection, &digest).await?,
    };
    let key = Key::new(row.resource, row.namespace, row.name);
    let again = |part, bytes: Bytes| {
        if part == Part::Status && bytes.is_empty() {
            return Ok(Vec::new());
        }
        let plain = sealer.open(&key, part, bytes)?;
        sealer.seal(&key, part, &plain)
    };
    let body = again(Part::Body, body).map_err(failed)?;
    Ok(Some(Renewed {
        revision: row.revision,
        metadata: again(Part::Metadata, metadata.into()).map_err(failed)?,
        status: again(Part::Status, status.into()).map_err(failed)?,
        digest: Digest::of(&body),
        body,
    }))
}

/// A body that was stored by its digest.
async fn shared(connection: &mut PgConnection, digest: &[u8]) -> sqlx::Result<Bytes> {
    let missing = || sqlx::Error::Decode("the body of a secret is missing".into());
    let digest = Digest(digest.try_into().map_err(|_| missing())?);
    let mut bodies = std::collections::HashMap::new();
    fetch_bodies(connection, &[digest], &mut bodies).await?;
    bodies.remove(&digest).ok_or_else(missing)
}

/// The keys of the CA and of service tokens.
async fn private_keys(connection: &mut PgConnection, sealer: &Sealer) -> sqlx::Result<u64> {
    let mut count = 0;
    let authorities = sqlx::query!("select name, private_key from authorities")
        .fetch_all(&mut *connection)
        .await?;
    for row in authorities {
        let key = Key::new("authorities", "", row.name.as_str());
        if let Some(sealed) = renew_key(sealer, &key, row.private_key).map_err(failed)? {
            sqlx::query!(
                "update authorities set private_key = $2 where name = $1",
                row.name,
                sealed
            )
            .execute(&mut *connection)
            .await?;
            count += 1;
        }
    }
    let keys = sqlx::query!("select id, private_key from token_keys")
        .fetch_all(&mut *connection)
        .await?;
    for row in keys {
        let key = Key::new("token_keys", "", row.id.as_str());
        if let Some(sealed) = renew_key(sealer, &key, row.private_key).map_err(failed)? {
            sqlx::query!(
                "update token_keys set private_key = $2 where id = $1",
                row.id,
                sealed
            )
            .execute(&mut *connection)
            .await?;
            count += 1;
        }
    }
    Ok(count)
}

fn renew_key(sealer: &Sealer, key: &Key, stored: Vec<u8>) -> Result<Option<Vec<u8>>, SealError> {
    if sealer.is_current(&stored) {
        return Ok(None);
    }
    let plain = sealer.open(key, Part::PrivateKey, stored.into())?;
    sealer.seal(key, Part::PrivateKey, &plain).map(Some)
}

fn failed(error: SealError) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
