//! Certificate authorities: made once, shared by all replicas.

use std::fmt;

use crate::{key::Key, mutation::Unavailable, seal::Part, store::Store};

/// A CA's certificate and key.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    pub certificate_der: Vec<u8>,
    pub private_key_pkcs8: Vec<u8>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// Access to authorities, by [`Store::authorities`].
#[derive(Clone, Debug)]
pub struct Authorities(pub(crate) Store);

impl Authorities {
    /// Returns the authority called `name`, if it was made.
    pub async fn load(&self, name: &str) -> Result<Option<Authority>, Unavailable> {
        let run = self.0.database().run(async |connection| {
            sqlx::query_as!(
                Authority,
                "select certificate as certificate_der, private_key as private_key_pkcs8
                 from authorities where name = $1",
                name
            )
            .fetch_optional(connection)
            .await
        });
        let Some(mut found) = run.await? else {
            return Ok(None);
        };
        found.private_key_pkcs8 = open(&self.0, "authorities", name, found.private_key_pkcs8)?;
        Ok(Some(found))
    }

    /// Returns the authority called `name`. If there is none yet, `made` becomes it, unless another replica was
    /// faster: then everybody gets that one's.
    pub async fn load_or_create(
        &self,
        name: &str,
        made: Authority,
    ) -> Result<Authority, Unavailable> {
        let private_key = seal(&self.0, "authorities", name, &made.private_key_pkcs8)?;
        let run = self.0.database().run(async |connection| {
            sqlx::query!(
                "insert into authorities (name, certificate, private_key) values ($1, $2, $3) on conflict do nothing",
                name,
                made.certificate_der,
                private_key
            )
            .execute(connection)
            .await
        });
        run.await?;
        self.load(name)
            .await?
            .ok_or_else(|| Unavailable::new("the authority was removed at this moment"))
    }
}

/// A private key as it is stored.
pub(crate) fn seal(
    store: &Store,
    table: &str,
    name: &str,
    plain: &[u8],
) -> Result<Vec<u8>, Unavailable> {
    let key = Key::new(table, "", name);
    let sealed = store.sealer().seal(&key, Part::PrivateKey, plain);
    sealed.map_err(|error| Unavailable::new(error.to_string()))
}

/// A private key as it is.
pub(crate) fn open(
    store: &Store,
    table: &str,
    name: &str,
    stored: Vec<u8>,
) -> Result<Vec<u8>, Unavailable> {
    let key = Key::new(table, "", name);
    let opened = store.sealer().open(&key, Part::PrivateKey, stored.into());
    opened
        .map(|bytes| bytes.to_vec())
        .map_err(|error| Unavailable::new(format!("a private key cannot be read: {error}")))
}
