//! Statuses of works that are in the clear, or sealed with another key than the present one.
//!
//! They are found by how they begin, without an index: one would cost every report of every agent. So it is done in the background.

use sqlx::{Connection as _, PgConnection};

use super::{Table, Trouble, lock_writers};
use crate::{
    key::Key,
    seal::{Part, Sealer, WORKS},
};

/// Statuses looked at once; one of them may have a megabyte.
const PIECE: i64 = 100;

struct Row {
    revision: i64,
    resource: String,
    namespace: String,
    name: String,
    status: Vec<u8>,
}

impl Row {
    fn key(&self) -> Key {
        let Self {
            resource,
            namespace,
            name,
            ..
        } = self;
        Key::new(resource.as_str(), namespace.as_str(), name.as_str())
    }
}

/// Seals them; returns how many there were.
pub(super) async fn renew(connection: &mut PgConnection, sealer: &Sealer) -> sqlx::Result<u64> {
    let Some(beginning) = sealer.beginning_of_statuses() else {
        return Ok(0);
    };
    let (mut count, mut broken) = (0, 0);
    for table in [Table::Objects, Table::Changes] {
        let mut after = (Key::new("", "", ""), 0);
        loop {
            let rows = rows(table, connection, &beginning, &after).await?;
            let Some(last) = rows.last() else { break };
            after = (last.key(), last.revision);
            let mut renewed = Vec::new();
            for mut row in rows {
                match sealed(sealer, &row) {
                    Ok(status) => {
                        row.status = status;
                        renewed.push(row);
                    }
                    // As with the other parts: it may be mended from a backup.
                    Err(Trouble::Broken) => broken += 1,
                    Err(trouble) => return Err(trouble.into_error()),
                }
            }
            count += write(table, connection, renewed).await?;
        }
    }
    if broken > 0 {
        tracing::warn!(broken, "statuses are damaged; they stay as they are");
    }
    Ok(count)
}

fn sealed(sealer: &Sealer, row: &Row) -> Result<Vec<u8>, Trouble> {
    let key = row.key();
    let plain = sealer.open(&key, Part::Status, row.status.clone().into())?;
    let sealed = sealer.seal_status(&key, &plain)?;
    Ok(sealed.unwrap_or(plain).to_vec())
}

async fn rows(
    table: Table,
    connection: &mut PgConnection,
    beginning: &[u8],
    (key, revision): &(Key, i64),
) -> sqlx::Result<Vec<Row>> {
    let works = WORKS.map(str::to_owned);
    let length = i32::try_from(beginning.len()).unwrap_or(i32::MAX);
    match table {
        Table::Objects => {
            sqlx::query_as!(
                Row,
                "select revision, resource, namespace, name, status
                 from objects
                 where resource = any($1) and octet_length(status) > 0 and substring(status from 1 for $2) <> $3
                   and (resource, namespace, name) > ($4, $5, $6)
                 order by resource, namespace, name limit $7",
                &works[..],
                length,
                beginning,
                &*key.resource,
                &*key.namespace,
                &*key.name,
                PIECE
            )
            .fetch_all(connection)
            .await
        }
        Table::Changes => {
            sqlx::query_as!(
                Row,
                r#"select revision, resource, namespace, name, status as "status!"
                   from changes
                   where resource = any($1) and octet_length(status) > 0 and substring(status from 1 for $2) <> $3
                     and revision > $4
                   order by revision limit $5"#,
                &works[..],
                length,
                beginning,
                revision,
                PIECE
            )
            .fetch_all(connection)
            .await
        }
    }
}

/// Writes those that nobody has written since.
async fn write(table: Table, connection: &mut PgConnection, rows: Vec<Row>) -> sqlx::Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let revisions: Vec<i64> = rows.iter().map(|row| row.revision).collect();
    let column = |of: fn(&Row) -> &String| rows.iter().map(of).cloned().collect::<Vec<_>>();
    let (resources, namespaces) = (column(|row| &row.resource), column(|row| &row.namespace));
    let names = column(|row| &row.name);
    let statuses: Vec<Vec<u8>> = rows.into_iter().map(|row| row.status).collect();
    let mut batch = connection.begin().await?;
    lock_writers(&mut batch).await?;
    let written = match table {
        Table::Objects => sqlx::query!(
            "update objects o set status = t.status
             from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bytea[])
                 as t (revision, resource, namespace, name, status)
             where o.resource = t.resource and o.namespace = t.namespace and o.name = t.name and o.revision = t.revision",
            &revisions,
            &resources,
            &namespaces,
            &names,
            &statuses
        ),
        Table::Changes => sqlx::query!(
            "update changes c set status = t.status
             from unnest($1::bigint[], $2::bytea[]) as t (revision, status)
             where c.revision = t.revision",
            &revisions,
            &statuses
        ),
    };
    let written = written.execute(&mut *batch).await?;
    batch.commit().await?;
    Ok(written.rows_affected())
}
