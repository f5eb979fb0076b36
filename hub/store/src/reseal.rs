//! What is secret and stored in the clear, or under an older key, is sealed with the present one.
//!
//! ```text
//!   at start:   private keys, Secrets, whatever is sealed with an older key     (before anything is served: the old key may go next)
//!   then:       statuses of works; works with Secrets from before there was a key, once; and all again, now and then
//! ```
//!
//! No revision changes, for nothing that anybody can see does. A row that another replica writes meanwhile is skipped: it
//! was sealed by that write.

mod rows;
mod statuses;

use std::{collections::HashMap, time::Duration};

use sqlx::{Connection as _, PgConnection};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::rows::{Row, Table, Which};
use crate::{
    body::{self, Bodies, Body},
    data_keys,
    database::Database,
    key::{Digest, Key},
    seal::{Part, SealError, Sealer, WORKS},
};

/// When what a replica that is going down still writes is looked at, and when all is again.
const SOON: Duration = Duration::from_secs(60);
const LATER: Duration = Duration::from_secs(3600);

/// What shared bodies were called, and are called now if they are shared still.
type Names = HashMap<Digest, Option<Digest>>;

/// What a row becomes.
struct Renewed {
    key: Key,
    revision: i64,
    metadata: Vec<u8>,
    /// None: it is shared.
    body: Option<Vec<u8>>,
    /// None: it stays as it is. Statuses of works are looked after apart.
    status: Option<Vec<u8>>,
    /// What the body is called.
    name: Digest,
}

/// Seals what is sealed, or has to be, as it should be.
#[derive(Debug)]
pub(crate) struct Resealing {
    database: Database,
    sealer: Sealer,
    /// Bodies above this are shared.
    share_above: usize,
}

impl Resealing {
    pub(crate) fn new(database: Database, sealer: Sealer, share_above: usize) -> Self {
        Self {
            database,
            sealer,
            share_above,
        }
    }

    /// Seals what is not sealed with the present key; returns how many rows that were.
    pub(crate) async fn run(&self) -> sqlx::Result<u64> {
        let mut connection = self.database.dedicated().await?;
        if !self.sealer.is_on() {
            // Whatever works it writes are in the clear.
            sqlx::query!("update registry set works_sealed = false where works_sealed")
                .execute(&mut connection)
                .await?;
            return Ok(0);
        }
        let keys = private_keys(&mut connection, &self.sealer).await?;
        Ok(keys + self.rows(&mut connection, Which::Sealed).await?)
    }

    /// Looks for works from before there was a key, and does all again a minute after the start and then now and then: an older replica
    /// may have written meanwhile, with another key or none.
    pub(crate) async fn again(self, stop: CancellationToken) {
        let mut pause = Duration::ZERO;
        while self.sealer.is_on() {
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
            let all = self.all(!pause.is_zero());
            match stop.run_until_cancelled(all).await {
                None => return,
                Some(Ok(0)) => {}
                Some(Ok(resealed)) => {
                    tracing::info!(resealed, "secrets were sealed with the present key");
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "cannot seal secrets with the present key");
                }
            }
            pause = if pause.is_zero() { SOON } else { LATER };
        }
    }

    /// At first what was not looked for at the start; `later`, when no replica without a key can be left, all.
    async fn all(&self, later: bool) -> sqlx::Result<u64> {
        let mut connection = self.database.dedicated().await?;
        // The key may have changed since the start.
        data_keys::share(&mut connection, &self.sealer).await?;
        let mut count = statuses::renew(&mut connection, &self.sealer).await?;
        let clear = !sqlx::query_scalar!("select works_sealed from registry")
            .fetch_one(&mut connection)
            .await?;
        if clear {
            count += self.rows(&mut connection, Which::Clear).await?;
        }
        if !later {
            return Ok(count);
        }
        if clear {
            sqlx::query!("update registry set works_sealed = true")
                .execute(&mut connection)
                .await?;
        }
        Ok(count + self.run().await?)
    }

    async fn rows(&self, connection: &mut PgConnection, which: Which) -> sqlx::Result<u64> {
        let (mut count, mut broken) = (0, 0);
        let mut names = Names::new();
        for table in [Table::Objects, Table::Changes] {
            let mut after = None;
            loop {
                let rows = table.rows(connection, which, after.as_ref()).await?;
                let Some(last) = rows.last() else { break };
                after = Some((last.key(), last.revision));
                let mut renewed = Vec::new();
                for row in rows {
                    match self.renew(connection, row, &mut names).await {
                        Ok(done) => renewed.extend(done),
                        // It is as if it were trimmed: a hub that starts takes it so as well.
                        Err(Trouble::Broken) if matches!(table, Table::Changes) => broken += 1,
                        Err(trouble) => return Err(trouble.into_error()),
                    }
                }
                count += renewed.len() as u64;
                table.write(connection, &renewed).await?;
            }
        }
        if broken > 0 {
            tracing::warn!(
                broken,
                "rows of the change log are damaged; they stay as they are"
            );
        }
        let left: Vec<Vec<u8>> = names.keys().map(|name| name.0.to_vec()).collect();
        forget(connection, &left).await?;
        Ok(count)
    }

    /// What a row is to become; `None` if it is all right, or has nothing to hide.
    async fn renew(
        &self,
        connection: &mut PgConnection,
        row: Row,
        names: &mut Names,
    ) -> Result<Option<Renewed>, Trouble> {
        let (key, sealer) = (row.key(), &self.sealer);
        let (Some(metadata), Some(name)) = (row.metadata, row.digest) else {
            return Ok(None);
        };
        let name = Digest(name.try_into().map_err(|_| Trouble::Broken)?);
        let status = row.status.unwrap_or_default();
        let is_work = WORKS.contains(&&*key.resource);
        let shared = row.body.is_none();
        let fine = sealer.is_current(&metadata)
            && (is_work || sealer.is_current(&status))
            && match &row.body {
                Some(body) => sealer.is_current(body),
                // A Secret shares no body.
                None => is_work,
            };
        if fine {
            return Ok(None);
        }
        let again = |part, bytes: Vec<u8>| {
            let plain = sealer.open(&key, part, bytes.into())?;
            sealer.seal(&key, part, &plain)
        };
        let metadata = again(Part::Metadata, metadata)?;
        let status = if is_work || status.is_empty() {
            None
        } else {
            let plain = sealer.open(&key, Part::Status, status.into())?;
            sealer.seal_status(&key, &plain)?.map(Vec::from)
        };
        let known = names.get(&name).copied().flatten();
        let known = known.filter(|_| shared && is_work);
        let (name, body) = match (known, row.body) {
            (Some(known), _) => (known, None),
            (None, Some(body)) => {
                let body = Body::inline(sealer, &key, body.into(), name)?;
                let (name, body, shared) = self.sealed(&key, &body.bytes)?;
                if shared {
                    put(connection, &name, &body).await?;
                }
                (name, (!shared).then_some(body))
            }
            (None, None) => {
                let plain = fetched(connection, sealer, name).await?;
                let (new, body, shared) = self.sealed(&key, &plain.bytes)?;
                names.insert(name, shared.then_some(new));
                if shared {
                    put(connection, &new, &body).await?;
                }
                (new, (!shared).then_some(body))
            }
        };
        Ok(Some(Renewed {
            key,
            revision: row.revision,
            metadata,
            body,
            status,
            name,
        }))
    }

    fn sealed(&self, key: &Key, plain: &[u8]) -> Result<(Digest, Vec<u8>, bool), SealError> {
        self.sealer.seal_body(key, plain, self.share_above)
    }
}

/// Stores a shared body. Unless a row says before the next sweep that it has it, it goes again, and the row stays as it was.
async fn put(connection: &mut PgConnection, name: &Digest, body: &[u8]) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into bodies (digest, content) values ($1, $2) on conflict do nothing",
        &name.0,
        body
    )
    .execute(connection)
    .await
    .map(drop)
}

/// A shared body, opened.
async fn fetched(
    connection: &mut PgConnection,
    sealer: &Sealer,
    name: Digest,
) -> Result<Body, Trouble> {
    let mut bodies = Bodies::new();
    body::fetch(connection, sealer, &[name], &mut bodies).await?;
    let found = bodies.remove(&name).ok_or(Trouble::Broken)?;
    found.map_err(Trouble::from)
}

/// Removes bodies that nobody refers to any more.
async fn forget(connection: &mut PgConnection, names: &[Vec<u8>]) -> sqlx::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let mut batch = connection.begin().await?;
    lock_writers(&mut batch).await?;
    sqlx::query!(
        "delete from bodies b
         where b.digest = any ($1)
           and not exists (select from objects o where o.body is null and o.digest = b.digest)
           and not exists (select from changes c where c.body is null and c.digest is not null and c.digest = b.digest)",
        names
    )
    .execute(&mut *batch)
    .await?;
    batch.commit().await
}

/// Under the lock of writers nobody begins to use what is found unused, and nothing goes that is about to be used.
async fn lock_writers(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(r#"select pg_advisory_xact_lock(1802463598, 1) as "lock: String""#)
        .execute(connection)
        .await
        .map(drop)
}

/// The keys of the CA and of service tokens.
async fn private_keys(connection: &mut PgConnection, sealer: &Sealer) -> sqlx::Result<u64> {
    let mut count = 0;
    let keys = sqlx::query!(
        r#"select 'authorities' as "table!", name as "name!", private_key as "private_key!" from authorities
           union all select 'token_keys', id, private_key from token_keys"#
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in keys {
        let key = Key::new(row.table.as_str(), "", row.name.as_str());
        if sealer.is_current(&row.private_key) {
            continue;
        }
        let plain = sealer.open(&key, Part::PrivateKey, row.private_key.into());
        let sealed = plain.and_then(|plain| sealer.seal(&key, Part::PrivateKey, &plain));
        let sealed = sealed.map_err(failed)?;
        let written = if row.table == "authorities" {
            sqlx::query!(
                "update authorities set private_key = $2 where name = $1",
                row.name,
                sealed
            )
        } else {
            sqlx::query!(
                "update token_keys set private_key = $2 where id = $1",
                row.name,
                sealed
            )
        };
        written.execute(&mut *connection).await?;
        count += 1;
    }
    Ok(count)
}

/// Why a row cannot be sealed anew.
enum Trouble {
    /// It is damaged, or its body is missing.
    Broken,
    Key(SealError),
    Database(sqlx::Error),
}

impl From<SealError> for Trouble {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Broken => Self::Broken,
            error => Self::Key(error),
        }
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl Trouble {
    fn into_error(self) -> sqlx::Error {
        match self {
            Self::Broken => failed(SealError::Broken),
            Self::Key(error) => failed(error),
            Self::Database(error) => error,
        }
    }
}

fn failed(error: SealError) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
