//! Certificate authorities: made once, shared by all replicas.

use std::fmt;

use crate::{mutation::Unavailable, store::Store};

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
        run.await
    }

    /// Returns the authority called `name`. If there is none yet, `made` becomes it, unless another replica was
    /// faster: then everybody gets that one's.
    pub async fn load_or_create(
        &self,
        name: &str,
        made: Authority,
    ) -> Result<Authority, Unavailable> {
        let run = self.0.database().run(async |connection| {
            sqlx::query!(
                "insert into authorities (name, certificate, private_key) values ($1, $2, $3) on conflict do nothing",
                name,
                made.certificate_der,
                made.private_key_pkcs8
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
