//! Which member cluster owns which name: a name is bound to the cluster's `kube-system` UID.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use uuid::Uuid;

use crate::{key::Epoch, mutation::Unavailable, store::Store};

/// What a name is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster: String,
    /// UID of the member's `kube-system` namespace.
    pub cluster_uid: String,
    pub public_key_sha256: [u8; 32],
    pub agent_id: String,
}

/// The answer to a claim of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The name was free and is now bound.
    Claimed,
    /// The name was bound to this very cluster; its key is now the one given.
    Same,
    /// The name belongs to a cluster with another UID.
    TakenBy(Identity),
}

/// The answer to the release of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// It was bound, or had signs of life.
    Freed,
    /// There was nothing to free.
    Free,
    /// Another object has the name. Nothing was changed.
    Taken,
    /// Leadership was lost. Nothing was changed.
    Deposed,
}

/// A certificate that the hub has issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub serial: Vec<u8>,
    pub cluster: String,
    pub not_after: Timestamp,
}

/// Access to identities, by [`Store::identities`].
#[derive(Clone, Debug)]
pub struct Identities(pub(crate) Store);

impl Identities {
    /// Binds the name `identity.cluster` unless another cluster has it.
    pub async fn claim(&self, identity: &Identity) -> Result<Claim, Unavailable> {
        let run = self.0.database().run(async |connection| {
            // `xmax` is zero in a row that this statement inserted.
            sqlx::query_scalar!(
                r#"insert into identities as i (cluster, cluster_uid, public_key_sha256, agent_id)
                   values ($1, $2, $3, $4)
                   on conflict (cluster) do update
                   set public_key_sha256 = excluded.public_key_sha256, agent_id = excluded.agent_id, updated_at = now()
                   where i.cluster_uid = excluded.cluster_uid
                   returning (xmax = 0) as "new!""#,
                identity.cluster,
                identity.cluster_uid,
                &identity.public_key_sha256[..],
                identity.agent_id
            )
            .fetch_all(connection)
            .await
        });
        match run.await?.first() {
            Some(true) => Ok(Claim::Claimed),
            Some(false) => Ok(Claim::Same),
            None => match self.get(&identity.cluster).await? {
                Some(owner) => Ok(Claim::TakenBy(owner)),
                None => Err(Unavailable::new("the name was released at this moment")),
            },
        }
    }

    /// Returns what a name is bound to.
    pub async fn get(&self, cluster: &str) -> Result<Option<Identity>, Unavailable> {
        let run = self.0.database().run(async |connection| {
            sqlx::query!(
                "select cluster, cluster_uid, public_key_sha256, agent_id from identities where cluster = $1",
                cluster
            )
            .fetch_optional(connection)
            .await
        });
        let Some(row) = run.await? else {
            return Ok(None);
        };
        let key = row.public_key_sha256.try_into();
        Ok(Some(Identity {
            cluster: row.cluster,
            cluster_uid: row.cluster_uid,
            public_key_sha256: key
                .map_err(|_| Unavailable::new("a stored key digest has the wrong length"))?,
            agent_id: row.agent_id,
        }))
    }

    /// Frees a name and forgets its signs of life, unless an object of `resource` other than the one with `uid` has it; without a
    /// `uid`, unless any has. Of the object, of the term and of the name the answer is one moment's (P5).
    ///
    /// A name is bound after its object was made: one that is bound while there is none is nobody's.
    pub async fn release(
        &self,
        resource: &str,
        cluster: &str,
        uid: Option<Uuid>,
        epoch: Option<Epoch>,
    ) -> Result<Release, Unavailable> {
        let run = self.0.database().run_in_turn(async |connection| {
            sqlx::query_scalar!(
                r#"select release_name($1, $2, $3, $4) as "outcome!""#,
                resource,
                cluster,
                uid,
                epoch.map(|epoch| epoch.0)
            )
            .fetch_one(connection)
            .await
        });
        match run.await? {
            0 => Ok(Release::Free),
            1 => Ok(Release::Freed),
            2 => Ok(Release::Taken),
            4 => Ok(Release::Deposed),
            other => Err(Unavailable::new(format!("an unknown outcome {other}"))),
        }
    }

    /// Returns the names that are bound or have signs of life while there is no object of `resource` that has them, in order.
    pub async fn abandoned(&self, resource: &str) -> Result<Vec<String>, Unavailable> {
        let run = self.0.database().read(async |connection| {
            sqlx::query_scalar!(
                r#"select cluster as "cluster!"
                   from (select cluster from identities union select cluster from heartbeats) as named
                   where not exists (
                       select from objects as o where o.resource = $1 and o.namespace = '' and o.name = named.cluster
                   )
                   order by cluster"#,
                resource
            )
            .fetch_all(connection)
            .await
        });
        run.await
    }

    /// Records an issued certificate.
    pub async fn record_certificate(
        &self,
        serial: &[u8],
        cluster: &str,
        not_after: Timestamp,
    ) -> Result<(), Unavailable> {
        let run = self.0.database().run(async |connection| {
            sqlx::query!(
                "insert into certificates (serial, cluster, not_after) values ($1, $2, $3) on conflict do nothing",
                serial,
                cluster,
                not_after.to_sqlx() as _
            )
            .execute(connection)
            .await
        });
        run.await.map(drop)
    }

    /// Returns the certificates issued to a cluster, latest expiry first.
    pub async fn certificates(&self, cluster: &str) -> Result<Vec<Certificate>, Unavailable> {
        let run = self.0.database().run(async |connection| {
            sqlx::query!(
                r#"select serial, cluster, not_after as "not_after: jiff_sqlx::Timestamp"
                   from certificates where cluster = $1 order by not_after desc limit 100"#,
                cluster
            )
            .fetch_all(connection)
            .await
        });
        let rows = run.await?.into_iter();
        let certificate = rows.map(|row| Certificate {
            serial: row.serial,
            cluster: row.cluster,
            not_after: row.not_after.to_jiff(),
        });
        Ok(certificate.collect())
    }
}
