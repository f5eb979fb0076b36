//! Events of the recent past, put together again from the change log.
//!
//! An event has the state before and after. Each change names the one before it (`prior`) and the one that holds
//! all but the status (`written`), so both states are at most two look-ups by revision away.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::{Loaded, digest, open};
use crate::{
    body::{self, Bodies, Body},
    cache::{Cache, Event},
    key::{Digest, Key, Revision},
    seal::{Part, Sealer},
    stored::Stored,
};

/// A row of `changes`.
#[derive(Debug)]
struct Row {
    revision: i64,
    prior: i64,
    written: i64,
    kind: i16,
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

const DELETE: i16 = 4;

/// The end of the log, and what it takes to understand it.
#[derive(Debug)]
pub(super) struct Past {
    /// All changes after this one are in `window`.
    floor: Revision,
    /// Oldest first.
    window: Vec<i64>,
    /// The window and what it refers to.
    rows: HashMap<i64, Row>,
    sealer: Sealer,
}

impl Past {
    /// Reads the last `limit` changes.
    pub(super) async fn read(
        connection: &mut PgConnection,
        limit: i64,
        horizon: Revision,
        bodies: &mut Bodies,
        sealer: &Sealer,
    ) -> sqlx::Result<Self> {
        let newest = sqlx::query_as!(
            Row,
            r#"select revision, prior, written, kind, resource, namespace, name, uid, generation, digest,
                      labels as "labels: Json<BTreeMap<String, String>>", metadata, body, status
               from changes where revision > $2 order by revision desc limit $1"#,
            limit,
            horizon.0
        )
        .fetch_all(&mut *connection)
        .await?;
        let mut window: Vec<i64> = newest.iter().map(|row| row.revision).collect();
        window.reverse();
        let floor = match window.first() {
            Some(oldest) if window.len() as i64 == limit => horizon.max(Revision(oldest - 1)),
            _ => horizon,
        };
        let mut rows: HashMap<i64, Row> =
            newest.into_iter().map(|row| (row.revision, row)).collect();
        // First the states before, then what those were written by.
        for _ in 0..2 {
            let named: HashSet<i64> = rows
                .values()
                .flat_map(|row| [row.prior, row.written])
                .collect();
            let wanted: Vec<i64> = named
                .into_iter()
                .filter(|at| *at != 0 && !rows.contains_key(at))
                .collect();
            let older = sqlx::query_as!(
                Row,
                r#"select revision, prior, written, kind, resource, namespace, name, uid, generation, digest,
                          labels as "labels: Json<BTreeMap<String, String>>", metadata, body, status
                   from changes where revision = any($1)"#,
                &wanted
            )
            .fetch_all(&mut *connection)
            .await?;
            rows.extend(older.into_iter().map(|row| (row.revision, row)));
        }
        let shared: HashSet<Digest> = rows
            .values()
            .filter(|row| row.body.is_none())
            .filter_map(|row| row.digest.as_deref())
            .map(digest)
            .collect::<Result<_, _>>()?;
        let missing: Vec<Digest> = shared
            .into_iter()
            .filter(|digest| !bodies.contains_key(digest))
            .collect();
        body::fetch(connection, sealer, &missing, bodies).await?;
        Ok(Self {
            floor,
            window,
            rows,
            sealer: sealer.clone(),
        })
    }

    pub(super) fn floor(&self) -> Revision {
        self.floor
    }

    /// Puts the events into the rings of `cache`.
    pub(super) fn fill(self, cache: &Cache, loaded: &Loaded) {
        let mut rings: HashMap<Arc<str>, (Revision, Vec<Arc<Event>>)> = HashMap::new();
        let mut states = States {
            past: &self,
            cache,
            loaded,
            known: HashMap::new(),
        };
        for row in self
            .window
            .iter()
            .filter_map(|revision| self.rows.get(revision))
        {
            let key = Key::new(
                row.resource.as_str(),
                row.namespace.as_str(),
                row.name.as_str(),
            );
            let (floor, events) = rings
                .entry(key.resource.clone())
                .or_insert((self.floor, Vec::new()));
            let before = match row.prior {
                0 => Some(None),
                prior => states.at(&key, prior).map(Some),
            };
            let after = match row.kind {
                DELETE => Some(None),
                _ => states.at(&key, row.revision).map(Some),
            };
            match (before, after) {
                (Some(before), Some(after)) => {
                    events.push(Arc::new(Event {
                        revision: Revision(row.revision),
                        before,
                        after,
                    }));
                }
                // Something that it refers to was trimmed: the past begins after it.
                _ => {
                    *floor = Revision(row.revision);
                    events.clear();
                }
            }
        }
        for (resource, (floor, events)) in rings {
            cache.remember(&resource, floor, events);
        }
    }
}

/// States of objects by revision; one that is current is the cache's own.
struct States<'a> {
    past: &'a Past,
    cache: &'a Cache,
    loaded: &'a Loaded,
    known: HashMap<i64, Arc<Stored>>,
}

impl States<'_> {
    fn at(&mut self, key: &Key, revision: i64) -> Option<Arc<Stored>> {
        if let Some(stored) = self.known.get(&revision) {
            return Some(stored.clone());
        }
        let current = self.cache.get(key);
        let stored = match current {
            Some(current) if current.revision.0 == revision => current,
            current => Arc::new(self.rebuild(key, revision, current)?),
        };
        self.known.insert(revision, stored.clone());
        Some(stored)
    }

    fn rebuild(&self, key: &Key, revision: i64, current: Option<Arc<Stored>>) -> Option<Stored> {
        let row = self.past.rows.get(&revision)?;
        let status = Bytes::from(row.status.clone()?);
        if let Some(full) = self.past.rows.get(&row.written) {
            let name = digest(full.digest.as_deref()?).ok()?;
            let body = match &full.body {
                Some(body) => Body {
                    bytes: body.clone().into(),
                    digest: name,
                },
                None => self.loaded.bodies.get(&name)?.clone().ok()?,
            };
            let mut stored = Stored {
                key: key.clone(),
                uid: row.uid,
                revision: Revision(revision),
                generation: full.generation?,
                labels: Arc::new(full.labels.as_ref()?.0.clone()),
                metadata: full.metadata.clone()?.into(),
                body: body.bytes,
                digest: body.digest,
                status,
            };
            // What cannot be opened is as if it were trimmed.
            open(&self.past.sealer, &mut stored).ok()?;
            return Some(stored);
        }
        // Written long ago and only its status changed since: all but the status is as it is now.
        let current = current
            .filter(|current| self.loaded.written.get(&current.revision.0) == Some(&row.written))?;
        let status = self.past.sealer.open(key, Part::Status, status).ok()?;
        Some(current.with_status(Revision(revision), status))
    }
}
