//! Rows of `objects` and `changes` that are sealed, or have to be.

use sqlx::{Connection as _, PgConnection};

use super::{Renewed, lock_writers};
use crate::{key::Key, seal::WORKS};

/// Rows looked at once; one of them may have some megabytes.
const PIECE: i64 = 100;

/// A row of either table.
pub(super) struct Row {
    pub(super) revision: i64,
    resource: String,
    namespace: String,
    name: String,
    /// What the body is called.
    pub(super) digest: Option<Vec<u8>>,
    pub(super) metadata: Option<Vec<u8>>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) status: Option<Vec<u8>>,
}

impl Row {
    pub(super) fn key(&self) -> Key {
        let Self {
            resource,
            namespace,
            name,
            ..
        } = self;
        Key::new(resource.as_str(), namespace.as_str(), name.as_str())
    }
}

#[derive(Clone, Copy)]
pub(super) enum Table {
    Objects,
    Changes,
}

#[derive(Clone, Copy)]
pub(super) enum Which {
    /// Secrets, and whatever is sealed.
    Sealed,
    /// Works in the clear that may hold a Secret.
    Clear,
}

impl Table {
    /// The next rows after one, by key or by revision.
    pub(super) async fn rows(
        self,
        connection: &mut PgConnection,
        which: Which,
        after: Option<&(Key, i64)>,
    ) -> sqlx::Result<Vec<Row>> {
        let none = (Key::new("", "", ""), 0);
        let (key, revision) = after.unwrap_or(&none);
        let works = WORKS.map(str::to_owned);
        match (self, which) {
            (Self::Objects, Which::Sealed) => {
                sqlx::query_as!(
                    Row,
                    r#"select revision, resource, namespace, name, digest as "digest?", metadata as "metadata?", body,
                              status as "status?"
                       from objects
                       where (resource = 'secrets' or is_sealed(metadata)) and (resource, namespace, name) > ($1, $2, $3)
                       order by resource, namespace, name limit $4"#,
                    &*key.resource,
                    &*key.namespace,
                    &*key.name,
                    PIECE
                )
                .fetch_all(connection)
                .await
            }
            (Self::Changes, Which::Sealed) => {
                sqlx::query_as!(
                    Row,
                    "select revision, resource, namespace, name, digest, metadata, body, status
                     from changes
                     where (resource = 'secrets' or is_sealed(metadata)) and revision > $1
                     order by revision limit $2",
                    revision,
                    PIECE
                )
                .fetch_all(connection)
                .await
            }
            (Self::Objects, Which::Clear) => {
                sqlx::query_as!(
                    Row,
                    r#"select revision, resource, namespace, name, digest as "digest?", metadata as "metadata?", body,
                              status as "status?"
                       from objects o
                       where resource = any($1) and not is_sealed(metadata) and (resource, namespace, name) > ($2, $3, $4)
                         and (may_hold_secret(metadata)
                              or may_hold_secret(coalesce(body, (select content from bodies b where b.digest = o.digest))))
                       order by resource, namespace, name limit $5"#,
                    &works[..],
                    &*key.resource,
                    &*key.namespace,
                    &*key.name,
                    PIECE
                )
                .fetch_all(connection)
                .await
            }
            (Self::Changes, Which::Clear) => {
                sqlx::query_as!(
                    Row,
                    "select revision, resource, namespace, name, digest, metadata, body, status
                     from changes c
                     where resource = any($1) and kind in (1, 2) and not is_sealed(metadata) and revision > $2
                       and (may_hold_secret(metadata)
                            or may_hold_secret(coalesce(body, (select content from bodies b where b.digest = c.digest))))
                     order by revision limit $3",
                    &works[..],
                    revision,
                    PIECE
                )
                .fetch_all(connection)
                .await
            }
        }
    }

    /// Writes rows that nobody has written since. A row whose shared body was swept before it could say that it has it stays as it was,
    /// until the next time.
    pub(super) async fn write(
        self,
        connection: &mut PgConnection,
        rows: &[Renewed],
    ) -> sqlx::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut batch = connection.begin().await?;
        lock_writers(&mut batch).await?;
        for row in rows {
            let Renewed {
                key,
                revision,
                metadata,
                body,
                status,
                name,
            } = row;
            let written = match self {
                Self::Objects => sqlx::query!(
                    "update objects set metadata = $2, body = $3, status = coalesce($4, status), digest = $5
                     where revision = $1 and resource = $6 and namespace = $7 and name = $8
                       and ($3::bytea is not null or exists (select from bodies b where b.digest = $5))",
                    revision,
                    metadata,
                    body.as_deref(),
                    status.as_deref(),
                    &name.0,
                    &*key.resource,
                    &*key.namespace,
                    &*key.name
                ),
                Self::Changes => sqlx::query!(
                    "update changes set metadata = $2, body = $3, status = coalesce($4, status), digest = $5
                     where revision = $1
                       and ($3::bytea is not null or exists (select from bodies b where b.digest = $5))",
                    revision,
                    metadata,
                    body.as_deref(),
                    status.as_deref(),
                    &name.0
                ),
            };
            written.execute(&mut *batch).await?;
        }
        batch.commit().await
    }
}
