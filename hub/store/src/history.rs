//! Objects as they were: the present state, taken back along the change log.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use crate::{
    body::{self, Bodies, Body},
    key::{Digest, Key, Revision},
    mutation::Unavailable,
    seal::{Part, Sealer},
    store::Store,
    stored::Stored,
};

/// States read at once.
const CHUNK: usize = 1000;

/// Why a past state cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// The log does not reach back so far, for at least one of the objects.
    #[error("the change log does not hold revision {wanted} any more")]
    Expired { wanted: Revision },
    /// Nothing has that revision yet.
    #[error("revision {wanted} is not there yet, the newest is {newest}")]
    Ahead { wanted: Revision, newest: Revision },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Some resources at one revision.
#[derive(Debug, Default)]
pub struct Past {
    pub objects: Vec<Arc<Stored>>,
    /// When each object was changed for the first time afterwards, in seconds since 1970.
    pub changed: HashMap<Key, f64>,
}

impl Store {
    /// Returns the objects of `resources` as they were at `revision`.
    ///
    /// # Errors
    /// [`Unknown`]: the log has been trimmed since then, the revision does not exist, or the database does not answer.
    pub async fn recall(&self, resources: &[&str], revision: Revision) -> Result<Past, Unknown> {
        let newest = self.fresh().await?;
        if newest < revision {
            return Err(Unknown::Ahead {
                wanted: revision,
                newest,
            });
        }
        let mut present: BTreeMap<Key, Arc<Stored>> = BTreeMap::new();
        for resource in resources {
            let snapshot = self.snapshot(resource);
            let objects = snapshot.iter();
            present.extend(objects.map(|stored| (stored.key.clone(), Arc::clone(stored))));
        }
        let names: Vec<String> = resources.iter().map(|one| (*one).to_owned()).collect();
        let read = self
            .database()
            .run_aside(async |connection| read(connection, self.sealer(), &names, revision).await)
            .await?;
        let Some((later, states)) = read else {
            return Err(Unknown::Expired { wanted: revision });
        };
        let mut changed = HashMap::new();
        for one in later {
            let key = Key::new(one.resource, one.namespace, one.name);
            present.remove(&key);
            changed.insert(key, one.at);
        }
        present.extend(
            states
                .into_iter()
                .map(|stored| (stored.key.clone(), Arc::new(stored))),
        );
        Ok(Past {
            objects: present.into_values().collect(),
            changed,
        })
    }

    /// Returns the states that the objects of a resource were given by the changes after `revision` whose metadata
    /// contains `text`, each with the last status that was written on top of it.
    ///
    /// # Errors
    /// As [`Store::recall`].
    pub async fn marked(
        &self,
        resource: &str,
        revision: Revision,
        text: &str,
    ) -> Result<Vec<Stored>, Unknown> {
        let found = self
            .database()
            .run_aside(async |connection| {
                marked(connection, self.sealer(), resource, revision, text).await
            })
            .await?;
        found.ok_or(Unknown::Expired { wanted: revision })
    }
}

/// The first change of an object after a revision.
struct Later {
    resource: String,
    namespace: String,
    name: String,
    at: f64,
}

/// A state in the log; parts are missing when the log was trimmed up to them.
struct Row {
    revision: i64,
    resource: String,
    namespace: String,
    name: String,
    uid: Uuid,
    generation: Option<i64>,
    digest: Option<Vec<u8>>,
    labels: Option<Json<BTreeMap<String, String>>>,
    metadata: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
    status: Option<Vec<u8>>,
}

/// What changed after `revision`, and how that was before; `None` when the log does not know.
async fn read(
    connection: &mut PgConnection,
    sealer: &Sealer,
    resources: &[String],
    revision: Revision,
) -> sqlx::Result<Option<(Vec<Later>, Vec<Stored>)>> {
    // Before the log is read up to its end for nothing.
    if horizon(connection).await? > revision.0 {
        return Ok(None);
    }
    let rows = sqlx::query!(
        r#"select distinct on (resource, namespace, name) resource, namespace, name, prior,
                  extract(epoch from at)::float8 as "at!"
           from changes where revision > $1 and resource = any($2)
           order by resource, namespace, name, revision"#,
        revision.0,
        resources
    )
    .fetch_all(&mut *connection)
    .await?;
    // An object that did not exist has nothing before.
    let priors: Vec<i64> = rows
        .iter()
        .map(|row| row.prior)
        .filter(|prior| *prior > 0)
        .collect();
    let states = states(connection, sealer, &priors).await?;
    // It may have been trimmed meanwhile.
    if horizon(connection).await? > revision.0 {
        return Ok(None);
    }
    let later = rows.into_iter().map(|row| Later {
        resource: row.resource,
        namespace: row.namespace,
        name: row.name,
        at: row.at,
    });
    Ok(states.map(|states| (later.collect(), states)))
}

async fn horizon(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!("select horizon from registry")
        .fetch_one(connection)
        .await
}

async fn marked(
    connection: &mut PgConnection,
    sealer: &Sealer,
    resource: &str,
    revision: Revision,
    text: &str,
) -> sqlx::Result<Option<Vec<Stored>>> {
    let revisions = sqlx::query_scalar!(
        r#"select distinct on (namespace, name) revision
           from changes
           where revision > $1 and resource = $2 and kind in (1, 2, 3) and written in (
               select revision from changes
               where revision > $1 and resource = $2 and kind in (1, 2) and position($3::bytea in metadata) > 0
           )
           order by namespace, name, revision desc"#,
        revision.0,
        resource,
        text.as_bytes()
    )
    .fetch_all(&mut *connection)
    .await?;
    states(connection, sealer, &revisions).await
}

/// The states that these changes made; `None` when one of them is gone.
async fn states(
    connection: &mut PgConnection,
    sealer: &Sealer,
    revisions: &[i64],
) -> sqlx::Result<Option<Vec<Stored>>> {
    let mut states = Vec::with_capacity(revisions.len());
    for revisions in revisions.chunks(CHUNK) {
        let rows = sqlx::query_as!(
            Row,
            r#"select c.revision as "revision!", c.resource as "resource!", c.namespace as "namespace!", c.name as "name!",
                      c.uid as "uid!", w.generation as "generation?", w.digest as "digest?",
                      w.labels as "labels?: Json<BTreeMap<String, String>>", w.metadata as "metadata?", w.body as "body?",
                      c.status as "status?"
               from changes c left join changes w on w.revision = c.written
               where c.revision = any($1) and c.kind <> 4"#,
            revisions
        )
        .fetch_all(&mut *connection)
        .await?;
        if rows.len() < revisions.len() {
            return Ok(None);
        }
        let mut bodies = Bodies::new();
        let shared: Vec<Digest> = rows
            .iter()
            .filter(|row| row.body.is_none())
            .filter_map(|row| row.digest.as_deref()?.try_into().ok().map(Digest))
            .collect();
        body::fetch(connection, sealer, &shared, &mut bodies).await?;
        for row in rows {
            let Some(stored) = row.into_stored(&bodies, sealer) else {
                return Ok(None);
            };
            states.push(stored);
        }
    }
    Ok(Some(states))
}

impl Row {
    /// What cannot be opened is as if it were trimmed.
    fn into_stored(self, bodies: &Bodies, sealer: &Sealer) -> Option<Stored> {
        let key = Key::new(self.resource, self.namespace, self.name);
        let name = Digest(self.digest?.try_into().ok()?);
        let body = match self.body {
            Some(body) => Body::inline(sealer, &key, body.into(), name).ok()?,
            None => bodies.get(&name)?.clone().ok()?,
        };
        let open = |part, bytes: Vec<u8>| sealer.open(&key, part, bytes.into()).ok();
        Some(Stored {
            metadata: open(Part::Metadata, self.metadata?)?,
            status: open(Part::Status, self.status?)?,
            uid: self.uid,
            revision: Revision(self.revision),
            generation: self.generation?,
            labels: Arc::new(self.labels?.0),
            body: body.bytes,
            digest: body.digest,
            key,
        })
    }
}
