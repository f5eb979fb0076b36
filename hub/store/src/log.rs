//! Reading the change log: what was committed after a revision.

use std::{collections::BTreeMap, sync::Arc};

use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use crate::{
    body::{self, Bodies, Body},
    cache::{Cache, Delta, Effect},
    key::{Digest, Incarnation, Key, Revision},
    lineage,
    seal::{Part, Sealer},
    store::Error,
    stored::Stored,
};

/// Changes read at once, at most; see [`Pace`].
const CHUNK: i64 = 1000;

/// How many changes to read at once: fewer after a stretch that could not be read in time, more again after one that
/// could. Changes differ in size by a factor of a thousand, and a stretch is read whole or not at all.
#[derive(Debug)]
pub(crate) struct Pace(i64);

impl Default for Pace {
    fn default() -> Self {
        Self(CHUNK)
    }
}

impl Pace {
    pub(crate) fn limit(&self) -> i64 {
        self.0
    }

    pub(crate) fn in_time(&mut self) {
        self.0 = (self.0 * 2).min(CHUNK);
    }

    pub(crate) fn too_slow(&mut self) {
        self.0 = (self.0 / 4).max(1);
    }
}

/// A stretch of the log.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// The log is complete up to here.
    pub(crate) to: Revision,
    /// Whether there is more.
    pub(crate) more: bool,
    pub(crate) deltas: Vec<Delta>,
}

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// Try again later.
    #[error("cannot read the change log")]
    Database(#[from] sqlx::Error),
    /// The cache can never follow this log again.
    #[error(transparent)]
    Lost(#[from] Error),
}

/// A row of `changes`; without a revision it says only how the registry stands.
#[derive(Debug)]
struct Row {
    head: i64,
    horizon: i64,
    lineage: i64,
    stamp: Option<Uuid>,
    incarnation: Uuid,
    revision: Option<i64>,
    kind: Option<i16>,
    resource: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<Uuid>,
    generation: Option<i64>,
    digest: Option<Vec<u8>>,
    labels: Option<Json<BTreeMap<String, String>>>,
    metadata: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
    status: Option<Vec<u8>>,
}

/// Reads the changes in `(from, upto]`, or the first `limit` of them.
pub(crate) async fn read(
    connection: &mut PgConnection,
    cache: &Cache,
    incarnation: Incarnation,
    from: Revision,
    upto: Revision,
    limit: i64,
) -> Result<Stretch, ReadError> {
    match once(connection, cache, incarnation, from, upto, limit).await {
        // A body may have been sealed, under another name, between our two looks.
        Err(ReadError::Lost(Error::Malformed { .. })) => {
            once(connection, cache, incarnation, from, upto, limit).await
        }
        read => read,
    }
}

/// The registry's row and the changes come from one snapshot: no change up to `head` can be missing.
async fn once(
    connection: &mut PgConnection,
    cache: &Cache,
    incarnation: Incarnation,
    from: Revision,
    upto: Revision,
    limit: i64,
) -> Result<Stretch, ReadError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select r.revision as "head!", r.horizon as "horizon!", r.lineage as "lineage!", r.incarnation as "incarnation!",
                  (select stamp from lineage where start <= $1 order by start desc limit 1) as "stamp?",
                  c.revision as "revision?", c.kind as "kind?", c.resource as "resource?", c.namespace as "namespace?",
                  c.name as "name?", c.uid as "uid?", c.generation as "generation?", c.digest as "digest?",
                  c.labels as "labels?: Json<BTreeMap<String, String>>", c.metadata as "metadata?", c.body as "body?",
                  c.status as "status?"
           from registry r
                left join lateral (
                    select * from changes where revision > $1 and revision <= $2 order by revision limit $3
                ) c on true
           order by c.revision"#,
        from.0,
        upto.0,
        limit
    )
    .fetch_all(&mut *connection)
    .await?;
    let Some(first) = rows.first() else {
        return Err(Error::Replaced.into());
    };
    let (head, horizon, stretch) = (first.head, first.horizon, first.lineage);
    if first.incarnation != incarnation.0 {
        return Err(Error::Replaced.into());
    }
    if head < from.0 {
        return Err(Error::Rewound {
            have: from,
            head: Revision(head),
        }
        .into());
    }
    if horizon > from.0 {
        return Err(Error::FellBehind {
            have: from,
            horizon: Revision(horizon),
        }
        .into());
    }
    if !cache.lineage().agrees(from, first.stamp) {
        // Set back, and grown past us since: nothing else would tell.
        return Err(Error::Forked { have: from }.into());
    }
    let more = rows.len() as i64 == limit;
    let mut to = Revision(head.min(upto.0));
    if more {
        to = Revision(rows.last().and_then(|row| row.revision).unwrap_or(to.0));
    }
    if stretch > from.0 {
        // Before the revisions are published: whoever knows one of them knows its history.
        let stretches = lineage::read_on(connection, from, to).await?;
        cache.lineage().extend(stretches);
    }
    let bodies = bodies(connection, cache, &rows).await?;
    let deltas = rows
        .into_iter()
        .filter_map(|row| row.into_delta(&bodies, cache.sealer()).transpose())
        .collect::<Result<_, _>>()?;
    Ok(Stretch { to, more, deltas })
}

/// Fetches each shared body once, and none that the cache has.
async fn bodies(
    connection: &mut PgConnection,
    cache: &Cache,
    rows: &[Row],
) -> sqlx::Result<Bodies> {
    let mut known = Bodies::new();
    let mut missing = Vec::new();
    for row in rows {
        let (Some(digest), None) = (&row.digest, &row.body) else {
            continue;
        };
        let Ok(digest) = <[u8; 32]>::try_from(digest.as_slice()).map(Digest) else {
            continue;
        };
        if known.contains_key(&digest) || missing.contains(&digest) {
            continue;
        }
        match cache.body(&digest) {
            Some(bytes) => drop(known.insert(digest, Ok(Body { bytes, digest }))),
            None => missing.push(digest),
        }
    }
    body::fetch(connection, cache.sealer(), &missing, &mut known).await?;
    Ok(known)
}

impl Row {
    fn into_delta(self, bodies: &Bodies, sealer: &Sealer) -> Result<Option<Delta>, Error> {
        let Some(revision) = self.revision.map(Revision) else {
            return Ok(None);
        };
        let malformed = || Error::Malformed { revision };
        let key = Key {
            resource: Arc::from(self.resource.ok_or_else(malformed)?),
            namespace: Arc::from(self.namespace.ok_or_else(malformed)?),
            name: Arc::from(self.name.ok_or_else(malformed)?),
        };
        let uid = self.uid.ok_or_else(malformed)?;
        let open = |key: &Key, part, bytes: Vec<u8>| {
            sealer
                .open(key, part, bytes.into())
                .map_err(|source| Error::Sealed { revision, source })
        };
        let effect = match self.kind {
            Some(1 | 2) => {
                let digest = self
                    .digest
                    .and_then(|digest| digest.try_into().ok())
                    .map(Digest)
                    .ok_or_else(malformed)?;
                let body = match self.body {
                    Some(body) => Body::inline(sealer, &key, body.into(), digest),
                    None => bodies.get(&digest).cloned().ok_or_else(malformed)?,
                };
                let Body { bytes, digest } =
                    body.map_err(|source| Error::Sealed { revision, source })?;
                Effect::Put(Stored {
                    metadata: open(&key, Part::Metadata, self.metadata.ok_or_else(malformed)?)?,
                    body: bytes,
                    status: open(&key, Part::Status, self.status.ok_or_else(malformed)?)?,
                    key,
                    uid,
                    revision,
                    generation: self.generation.ok_or_else(malformed)?,
                    labels: Arc::new(self.labels.ok_or_else(malformed)?.0),
                    digest,
                })
            }
            Some(3) => Effect::Status {
                status: open(&key, Part::Status, self.status.ok_or_else(malformed)?)?,
                key,
                uid,
            },
            Some(4) => Effect::Delete { key },
            _ => return Err(malformed()),
        };
        Ok(Some(Delta { revision, effect }))
    }
}
