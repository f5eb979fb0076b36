//! What the hub last said this cluster should have, kept in the cluster itself (P8).

mod body;
mod inbox;
mod keeper;
mod pull;
mod store;

use std::{collections::BTreeMap, io::Read as _, sync::Arc};

use koinon_api::work::ManifestWorkSpec;
use koinon_proto::held_digest;
use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};

use crate::unmanaged::{Disposal, Unknown};

pub use inbox::{Inbox, Notice, Told};
pub use keeper::{Keeper, KeeperParts};
pub use store::{Loaded, Store};

/// Largest body that is accepted, in bytes. The hub's own limit is lower; this one protects the agent from a broken hub.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// Where a work came from in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Just pulled: its objects probably do not exist.
    Hub,
    /// Loaded at start: they probably do.
    Member,
}

/// One work as it is held. Bodies are kept compressed: they are only read when there is something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub name: String,
    /// Its uid on the hub.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// SHA-256 of the body.
    pub digest: Vec<u8>,
    /// It is being deleted.
    pub tombstone: bool,
    /// Labels of the work.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the work that tell the agent what to do.
    pub directives: BTreeMap<String, String>,
    /// Revision of the hub's registry at which this was told.
    pub revision: i64,
    /// Since when the hub is known not to have it, Unix time; what a hub has is no stray.
    pub stray: Option<i64>,
    /// The body, compressed; empty for a tombstone of a work that was never held.
    pub body: Arc<[u8]>,
    /// Where it came from.
    pub origin: Origin,
}

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It does not decompress.
    #[error("the stored body is damaged")]
    Compression(#[from] std::io::Error),
    /// It is no work.
    #[error("the body is not a ManifestWork: {0}")]
    Json(#[from] serde_json::Error),
}

impl Held {
    /// Makes a work from its plain body.
    ///
    /// # Errors
    /// Fails when the body cannot be compressed.
    pub fn new(name: &str, uid: &str, generation: i64, body: &[u8]) -> std::io::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            uid: uid.to_owned(),
            generation,
            digest: Sha256::digest(body).to_vec(),
            tombstone: false,
            labels: BTreeMap::new(),
            directives: BTreeMap::new(),
            revision: 0,
            stray: None,
            body: compress(body)?,
            origin: Origin::Hub,
        })
    }

    /// Returns a stray work as it is disposed of, by an order that was told at this revision.
    ///
    /// # Errors
    /// Fails when what is to stay cannot be written down.
    fn disposed(&self, disposal: Disposal, told: i64) -> std::io::Result<Self> {
        const ORPHAN: &[u8] = br#"{"spec":{"deleteOption":{"propagationPolicy":"Orphan"}}}"#;
        let mut disposed = self.clone();
        (disposed.tombstone, disposed.revision) = (true, told);
        if disposal == Disposal::Orphan {
            disposed.digest = Sha256::digest(ORPHAN).to_vec();
            disposed.body = compress(ORPHAN)?;
        }
        Ok(disposed)
    }

    /// Keeps the revision at which the same was told before: an annotation that comes later tells nothing new to delete, and an
    /// approval of what was told until then covers it still.
    fn told_since(&mut self, before: &Self) {
        let what = |held: &Self| (held.uid.clone(), held.generation, held.tombstone);
        if what(self) == what(before) {
            self.revision = before.revision;
        }
    }

    /// Reads the spec out of the body.
    ///
    /// # Errors
    /// Fails when the body is damaged or not that of a work.
    pub fn spec(&self) -> Result<ManifestWorkSpec, BodyError> {
        self.spec_with(|_| true)
    }

    /// Reads the spec with those manifests only that are asked for by their place; the others are null. Of a work with thousands of
    /// manifests an event concerns one: to read the others takes ten times as long, and ten times their size.
    ///
    /// # Errors
    /// Fails when the body is damaged or not that of a work.
    pub fn spec_with(&self, wanted: impl Fn(usize) -> bool) -> Result<ManifestWorkSpec, BodyError> {
        let bytes = decompress(&self.body)?;
        Ok(body::spec(&bytes, wanted)?)
    }
}

/// All works that are held, shared for reading.
#[derive(Debug, Clone, Default)]
pub struct Holding(Arc<RwLock<BTreeMap<String, Arc<Held>>>>);

impl Holding {
    /// Returns one work.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Held>> {
        self.0.read().get(name).cloned()
    }

    /// Returns all works.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Held>> {
        self.0.read().values().cloned().collect()
    }

    /// Returns the digest by which the hub tells whether it has anything new: of all that it is known to have.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let all = self.0.read();
        let known = all.values().filter(|held| held.stray.is_none());
        held_digest(known.map(|h| koinon_proto::Held {
            name: &h.name,
            uid: &h.uid,
            generation: h.generation,
            digest: &h.digest,
            tombstone: h.tombstone,
            directives: &h.directives,
        }))
    }

    /// Number of works.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.read().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }

    /// Returns the works that the hub does not have, and how many of those are on their way out.
    fn strays(&self) -> (BTreeMap<String, Unknown>, usize) {
        let all = self.0.read();
        let strays = all.values().filter_map(|held| Some((held, held.stray?)));
        let (leaving, staying): (Vec<_>, Vec<_>) = strays.partition(|(held, _)| held.tombstone);
        let unknown = |(held, since): (&Arc<Held>, i64)| Unknown {
            uid: held.uid.clone(),
            since,
            objects: 0,
            evictable: true,
        };
        let staying = staying.into_iter();
        let staying = staying.map(|(held, since)| (held.name.clone(), unknown((held, since))));
        (staying.collect(), leaving.len())
    }

    fn insert(&self, held: Arc<Held>) {
        self.0.write().insert(held.name.clone(), held);
    }

    fn remove(&self, name: &str) {
        self.0.write().remove(name);
    }
}

/// Compresses, quickly.
pub(crate) fn compress(bytes: &[u8]) -> std::io::Result<Arc<[u8]>> {
    use std::io::Write as _;

    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.into())
}

/// Undoes [`compress`], up to the size of the largest body; nothing is an empty object.
pub(crate) fn decompress(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    if bytes.is_empty() {
        return Ok(b"{}".to_vec());
    }
    // The bound keeps a damaged stream from filling the memory.
    flate2::read::GzDecoder::new(bytes)
        .take(MAX_BODY as u64 + 1)
        .read_to_end(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_that_comes_later_does_not_outdate_an_approval() {
        let told = |generation: i64, tombstone: bool, revision: i64| {
            let mut held = Held::new("w", "u", generation, b"{}").unwrap();
            (held.tombstone, held.revision) = (tombstone, revision);
            held
        };
        for (before, now, expected) in [
            (told(2, true, 10), told(2, true, 20), 10),
            (told(2, false, 10), told(2, false, 20), 10),
            // A deletion, and a newer spec, are told anew.
            (told(2, false, 10), told(2, true, 20), 20),
            (told(2, false, 10), told(3, false, 20), 20),
        ] {
            let mut now = now;
            now.told_since(&before);
            assert_eq!(now.revision, expected);
        }
    }
}
