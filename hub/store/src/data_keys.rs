//! The data key that all replicas seal statuses with, in the database.

use sqlx::PgConnection;

use crate::seal::{SealError, Sealer};

/// Gives `sealer` the data key for statuses that belongs to the present key of its service; the first replica that asks makes it.
///
/// One that cannot be read is left alone, and this process uses one of its own: nothing is in the clear for that.
pub(crate) async fn share(connection: &mut PgConnection, sealer: &Sealer) -> sqlx::Result<()> {
    let Some(mut id) = sealer.wrapping_key() else {
        return Ok(());
    };
    let mut found = find(connection, &id).await?;
    if found.is_none() {
        let made = sealer.wrapped_data_key().map_err(failed)?;
        sqlx::query!(
            "insert into data_keys (key_id, wrapped) values ($1, $2) on conflict do nothing",
            made.0,
            made.1
        )
        .execute(&mut *connection)
        .await?;
        id = made.0;
        // Another replica may have been faster.
        found = find(connection, &id).await?;
    }
    let shared = sealer.share_status_key(&id, &found.unwrap_or_default());
    if let Err(error) = shared {
        tracing::warn!(%error, "the data key of statuses cannot be read; this process uses its own");
    }
    Ok(())
}

async fn find(connection: &mut PgConnection, key_id: &str) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar!("select wrapped from data_keys where key_id = $1", key_id)
        .fetch_optional(connection)
        .await
}

fn failed(error: SealError) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
