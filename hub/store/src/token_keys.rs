//! The keys that sign service tokens, shared by all replicas.

use std::{fmt, time::Duration};

use crate::{
    authorities::{open, seal},
    mutation::Unavailable,
    store::Store,
};

const TABLE: &str = "token_keys";

/// A signing key, and how old it is by the database's clock.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey {
    pub id: String,
    pub private_key_pkcs8: Vec<u8>,
    pub age: Duration,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey")
            .field("id", &self.id)
            .field("age", &self.age)
            .finish_non_exhaustive()
    }
}

/// Access to the keys, by [`Store::token_keys`].
#[derive(Clone, Debug)]
pub struct TokenKeys(pub(crate) Store);

impl TokenKeys {
    /// All keys, the newest first.
    pub async fn list(&self) -> Result<Vec<TokenKey>, Unavailable> {
        let run = self.0.database().run(async |connection| {
            sqlx::query!(
                r#"select id, private_key, extract(epoch from now() - created_at)::float8 as "age!"
                   from token_keys order by created_at desc, id"#
            )
            .fetch_all(connection)
            .await
        });
        let rows = run.await?;
        rows.into_iter()
            .map(|row| {
                Ok(TokenKey {
                    private_key_pkcs8: open(&self.0, TABLE, &row.id, row.private_key)?,
                    id: row.id,
                    age: Duration::try_from_secs_f64(row.age).unwrap_or_default(),
                })
            })
            .collect()
    }

    /// Adds a key, unless one younger than `least_age` is there: of replicas that rotate at the same time one does.
    pub async fn add(&self, key: &TokenKey, least_age: Duration) -> Result<(), Unavailable> {
        let seconds = least_age.as_secs_f64();
        let private_key = seal(&self.0, TABLE, &key.id, &key.private_key_pkcs8)?;
        let run = self.0.database().run(async |connection| {
            sqlx::query!(
                "insert into token_keys (id, private_key)
                 select $1, $2 where not exists
                     (select from token_keys where created_at > now() - make_interval(secs => $3))",
                key.id,
                private_key,
                seconds
            )
            .execute(connection)
            .await
        });
        run.await.map(drop)
    }

    /// Removes keys; tokens that they signed are refused from then on.
    pub async fn remove(&self, ids: &[String]) -> Result<(), Unavailable> {
        let run = self.0.database().run(async |connection| {
            sqlx::query!("delete from token_keys where id = any ($1)", ids)
                .execute(connection)
                .await
        });
        run.await.map(drop)
    }
}
