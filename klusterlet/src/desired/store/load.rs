//! Reads the desired state back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tracing::{debug, warn};

use super::{
    HEAD, LABEL, POSITION, REST, SHELF, Store, StoredPosition,
    head::{Head, entry},
};
use crate::{
    cluster::{Result, known},
    desired::{Held, decompress},
    position::Memory,
};

/// What the member remembers.
#[derive(Debug)]
pub struct Loaded {
    /// The position, with what the works carry of it.
    pub memory: Memory,
    /// The position without what the works carry: it must be stored before the last of them is forgotten.
    pub stored: Memory,
    /// The works.
    pub works: Vec<Held>,
}

/// A head, and where it was found.
struct Found {
    head: Head,
    first: Vec<u8>,
    shelf: Option<String>,
}

impl Store {
    /// Loads everything. Works that are damaged are left out: the hub will be asked for them again.
    ///
    /// # Errors
    /// Fails when the member cannot be read; there is no partial load.
    pub async fn load(&self) -> Result<Loaded> {
        let stored = self
            .cluster
            .get(&known::CONFIG_MAPS, &self.namespace, POSITION)
            .await?;
        let mut memory = stored
            .as_ref()
            .and_then(|map| map.pointer("/data/position").and_then(Value::as_str))
            .and_then(|text| serde_json::from_str::<StoredPosition>(text).ok())
            .unwrap_or_default()
            .memory;
        let stored = memory.clone();
        let secrets = self
            .cluster
            .list(&known::SECRETS, &self.namespace, LABEL)
            .await?;
        let of_kind = |kind: &'static str| {
            secrets.iter().filter(move |secret| {
                secret
                    .pointer("/metadata/labels")
                    .and_then(|labels| labels.get(LABEL))
                    .and_then(Value::as_str)
                    == Some(kind)
            })
        };
        let rest: BTreeMap<&str, &Value> = of_kind(REST).map(|s| (name(s), s)).collect();
        let heads = of_kind(HEAD)
            .filter_map(own)
            .chain(of_kind(SHELF).flat_map(shelved));
        self.note_shelves(of_kind(SHELF));

        let mut used = BTreeSet::new();
        let mut works = Vec::new();
        for found in self.latest(heads) {
            let Found { head, first, .. } = found;
            if let Some(position) = &head.position {
                memory.recall(position.clone(), head.rollbacks);
            }
            let pieces = head.rest();
            let mut body = first;
            for piece in &pieces {
                let piece = rest.get(piece.as_str());
                body.extend(piece.and_then(|s| entry(s, "body.gz")).unwrap_or_default());
            }
            used.extend(pieces);
            let whole = body.is_empty() && head.tombstone
                || decompress(&body)
                    .is_ok_and(|plain| Sha256::digest(&plain).as_slice() == head.digest());
            if !whole && !head.tombstone {
                warn!(work = %head.name, "a stored work is damaged and will be asked for again");
                self.places.lock().alone.insert(head.name);
                continue;
            }
            works.push(head.into_held(body.into()));
        }
        self.tidy().await?;
        for stray in rest.keys().filter(|name| !used.contains(**name)) {
            debug!(name = %stray, "deleting a leftover piece of a body");
            self.delete(stray).await?;
        }
        Ok(Loaded {
            memory,
            stored,
            works,
        })
    }

    /// Shelves on which nothing can be read would never be deleted otherwise.
    fn note_shelves<'a>(&self, shelves: impl Iterator<Item = &'a Value>) {
        let mut places = self.places.lock();
        *places = super::Places::default();
        for shelf in shelves {
            if shelved(shelf).next().is_none() {
                places.doubtful.insert(name(shelf).to_owned());
            }
        }
    }

    /// Of several heads of one work the one counts that is in a Secret of its own, else the latest. The others are noted as
    /// stale: a crash left them behind.
    fn latest(&self, heads: impl Iterator<Item = Found>) -> Vec<Found> {
        let mut latest: BTreeMap<String, Found> = BTreeMap::new();
        let mut places = self.places.lock();
        for found in heads {
            let rank = |found: &Found| (found.shelf.is_none(), found.head.revision);
            let work = found.head.name.clone();
            let loser = match latest.get(&work) {
                Some(other) if rank(other) >= rank(&found) => Some(found),
                _ => latest.insert(work.clone(), found),
            };
            if let Some(shelf) = loser.and_then(|loser| loser.shelf) {
                places.stale.insert((shelf, work));
            }
        }
        for (work, shelf) in latest
            .iter()
            .filter_map(|(work, found)| Some((work, found.shelf.as_ref()?)))
        {
            places.of.insert(work.clone(), shelf.clone());
            *places.shelves.entry(shelf.clone()).or_default() += 1;
        }
        drop(places);
        latest.into_values().collect()
    }
}

fn name(secret: &Value) -> &str {
    secret
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn own(secret: &Value) -> Option<Found> {
    let head = entry(secret, "work.json").and_then(|b| serde_json::from_slice(&b).ok());
    let Some(head) = head else {
        warn!(name = %name(secret), "a stored work is unreadable");
        return None;
    };
    Some(Found {
        head,
        first: entry(secret, "body.gz").unwrap_or_default(),
        shelf: None,
    })
}

fn shelved(secret: &Value) -> impl Iterator<Item = Found> {
    let data = secret.get("data").and_then(Value::as_object);
    data.into_iter()
        .flat_map(|data| data.keys())
        .filter_map(|key| key.strip_suffix(".json"))
        .filter_map(move |key| {
            let head = entry(secret, &format!("{key}.json"))
                .and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let Some(head) = head else {
                warn!(name = %name(secret), entry = key, "a stored work is unreadable");
                return None;
            };
            Some(Found {
                head,
                first: entry(secret, &format!("{key}.gz")).unwrap_or_default(),
                shelf: Some(name(secret).to_owned()),
            })
        })
}
