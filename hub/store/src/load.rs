//! The start: all objects and the recent past, read from one snapshot of the database.

mod past;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use futures::TryStreamExt;
use sqlx::{Connection, PgConnection, types::Json};

use self::past::Past;
use crate::{
    body::{self, Bodies, Body},
    cache::{Cache, Limits},
    database::Database,
    key::{Digest, Incarnation, Key, Revision},
    lineage,
    seal::{Part, SealError, Sealer},
    stored::Stored,
};

/// Loads the cache, with as much of the past as its rings hold: watches go on over a restart of the hub.
pub(crate) async fn load(
    database: &Database,
    limits: Limits,
    sealer: &Sealer,
) -> sqlx::Result<(Incarnation, Cache)> {
    let mut connection = database.dedicated().await?;
    let mut snapshot = connection
        .begin_with("begin isolation level repeatable read read only")
        .await?;
    let registry = sqlx::query!("select incarnation, revision, horizon from registry")
        .fetch_one(&mut *snapshot)
        .await?;
    let stretches = lineage::read_on(
        &mut snapshot,
        Revision(i64::MIN),
        Revision(registry.revision),
    )
    .await?;
    let mut loaded = objects(&mut snapshot, sealer).await?;
    let objects = std::mem::take(&mut loaded.objects);
    let window = i64::try_from(limits.events).unwrap_or(i64::MAX);
    let past = Past::read(
        &mut snapshot,
        window,
        Revision(registry.horizon),
        &mut loaded.bodies,
        sealer,
    )
    .await?;
    snapshot.rollback().await?;

    let cache = Cache::new(Revision(registry.revision), past.floor(), limits, objects)
        .with_sealer(sealer.clone());
    cache.lineage().extend(stretches);
    past.fill(&cache, &loaded);
    Ok((Incarnation(registry.incarnation), cache))
}

/// What the objects table holds.
#[derive(Debug, Default)]
struct Loaded {
    objects: Vec<Stored>,
    /// By the revision of an object whose last change was one of its status: that of the last change to anything else.
    written: HashMap<i64, i64>,
    bodies: Bodies,
}

async fn objects(connection: &mut PgConnection, sealer: &Sealer) -> sqlx::Result<Loaded> {
    let mut loaded = Loaded::default();
    // Rows whose body is shared; it comes after, once for all of them.
    let mut bodiless: Vec<usize> = Vec::new();
    let mut resources: HashMap<String, Arc<str>> = HashMap::new();
    let mut rows = sqlx::query!(
        r#"select revision, written, generation, uid, resource, namespace, name, digest,
                  labels as "labels: Json<BTreeMap<String, String>>", metadata, body, status
           from objects"#
    )
    .fetch(&mut *connection);
    while let Some(row) = rows.try_next().await? {
        let resource = resources
            .entry(row.resource)
            .or_insert_with_key(|name| Arc::from(name.as_str()))
            .clone();
        let key = Key {
            resource,
            namespace: Arc::from(row.namespace),
            name: Arc::from(row.name),
        };
        if row.body.is_none() {
            bodiless.push(loaded.objects.len());
        }
        if row.written != row.revision {
            loaded.written.insert(row.revision, row.written);
        }
        loaded.objects.push(Stored {
            key,
            uid: row.uid,
            revision: Revision(row.revision),
            generation: row.generation,
            labels: Arc::new(row.labels.0),
            metadata: row.metadata.into(),
            body: row.body.unwrap_or_default().into(),
            digest: digest(&row.digest)?,
            status: row.status.into(),
        });
        if let Some(stored) = loaded.objects.last_mut() {
            open(sealer, stored)?;
        }
    }
    drop(rows);
    let mut missing: Vec<Digest> = bodiless
        .iter()
        .map(|at| loaded.objects[*at].digest)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    body::fetch(connection, sealer, &missing, &mut loaded.bodies).await?;
    for at in bodiless {
        let stored = &mut loaded.objects[at];
        let body = loaded.bodies.get(&stored.digest).cloned();
        let body =
            body.ok_or_else(|| malformed(format!("the body of {} is missing", stored.key)))?;
        settle(stored, body)?;
    }
    Ok(loaded)
}

/// Opens what is sealed.
fn open(sealer: &Sealer, stored: &mut Stored) -> sqlx::Result<()> {
    let key = stored.key.clone();
    let opened = |part, bytes: &mut Bytes| {
        *bytes = sealer
            .open(&key, part, std::mem::take(bytes))
            .map_err(|error| malformed(format!("{key} cannot be read: {error}")))?;
        Ok::<(), sqlx::Error>(())
    };
    opened(Part::Metadata, &mut stored.metadata)?;
    opened(Part::Status, &mut stored.status)?;
    let body = std::mem::take(&mut stored.body);
    let body = Body::inline(sealer, &key, body, stored.digest);
    settle(stored, body)
}

/// Puts an opened body where it belongs.
fn settle(stored: &mut Stored, body: Result<Body, SealError>) -> sqlx::Result<()> {
    let body =
        body.map_err(|error| malformed(format!("{} cannot be read: {error}", stored.key)))?;
    (stored.body, stored.digest) = (body.bytes, body.digest);
    Ok(())
}

fn digest(bytes: &[u8]) -> sqlx::Result<Digest> {
    bytes
        .try_into()
        .map(Digest)
        .map_err(|_| malformed("a digest has the wrong length".to_owned()))
}

fn malformed(what: String) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}
