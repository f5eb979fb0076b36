//! What is stored of one work, and in how many pieces. Pure.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::{Held, Origin};
use crate::position::{Memory, Position};

/// Compressed bytes per Secret; base64 makes a third more of it, and etcd takes 1.5 MiB.
pub(super) const PIECE: usize = 700 * 1024;

/// What the head says about its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) name: String,
    uid: String,
    generation: i64,
    digest: String,
    #[serde(default)]
    pub(super) tombstone: bool,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    directives: BTreeMap<String, String>,
    /// Revision at which this was told.
    #[serde(default)]
    pub(super) revision: i64,
    /// Where the registry stood when this was learned.
    pub(super) position: Option<Position>,
    /// How many rollbacks had been accepted by then; earlier positions do not count any more.
    #[serde(default)]
    pub(super) rollbacks: u64,
    /// Since when the hub is known not to have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stray: Option<i64>,
    /// Number of pieces of the body, the one beside the head included.
    pieces: usize,
}

impl Head {
    /// The head of a work whose body has so many further pieces.
    pub(super) fn of(held: &Held, memory: &Memory, rest: usize) -> Self {
        Self {
            name: held.name.clone(),
            uid: held.uid.clone(),
            generation: held.generation,
            digest: hex(&held.digest),
            tombstone: held.tombstone,
            labels: held.labels.clone(),
            directives: held.directives.clone(),
            revision: held.revision,
            position: memory.seen.clone(),
            rollbacks: memory.rollbacks,
            stray: held.stray,
            pieces: rest + 1,
        }
    }

    pub(super) fn digest(&self) -> Vec<u8> {
        unhex(&self.digest)
    }

    /// Names of the Secrets with the further pieces.
    pub(super) fn rest(&self) -> Vec<String> {
        let digest = self.digest();
        (1..self.pieces)
            .map(|n| rest_name(&self.name, &digest, n))
            .collect()
    }

    /// The data of a Secret that is this head's own.
    pub(super) fn data(&self, first: &[u8]) -> Value {
        json!({"work.json": self.text(), "body.gz": STANDARD.encode(first)})
    }

    /// The head, as it is in a Secret.
    pub(super) fn text(&self) -> String {
        STANDARD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(super) fn into_held(self, body: Arc<[u8]>) -> Held {
        let digest = self.digest();
        Held {
            name: self.name,
            uid: self.uid,
            generation: self.generation,
            digest,
            tombstone: self.tombstone,
            labels: self.labels,
            directives: self.directives,
            revision: self.revision,
            stray: self.stray,
            body,
            origin: Origin::Member,
        }
    }
}

/// The data of a Secret with a further piece.
pub(super) fn piece(bytes: &[u8]) -> Value {
    json!({"body.gz": STANDARD.encode(bytes)})
}

/// Splits a body into what is stored beside the head, if it has no more than `room` for it, and the further pieces.
pub(super) fn layout(body: &[u8], room: usize) -> (&[u8], Vec<&[u8]>) {
    if body.len() <= room {
        return (body, Vec::new());
    }
    let (first, rest) = if room >= PIECE {
        body.split_at(PIECE)
    } else {
        body.split_at(0)
    };
    (first, rest.chunks(PIECE).collect())
}

/// Name of the head's Secret, and of its entry on a shelf: a work's name may be longer than what a suffix leaves room for.
pub(super) fn head_name(work: &str) -> String {
    format!("work-{}", &hex(&Sha256::digest(work.as_bytes()))[..32])
}

pub(super) fn rest_name(work: &str, digest: &[u8], n: usize) -> String {
    let digest = hex(digest);
    format!(
        "{}-{}-{n}",
        head_name(work),
        &digest[..digest.len().min(12)]
    )
}

/// Reads one entry of a Secret.
pub(super) fn entry(secret: &Value, key: &str) -> Option<Vec<u8>> {
    STANDARD
        .decode(secret.get("data")?.get(key)?.as_str()?)
        .ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .filter_map(|n| u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_whatever_the_work_is_called() {
        let long = "w".repeat(253);
        assert!(head_name(&long).len() < 60);
        assert_ne!(head_name("a"), head_name("b"));
        assert_eq!(unhex(&hex(&[0, 171, 255])), [0, 171, 255]);
    }

    #[test]
    fn a_body_is_whole_however_it_is_laid_out() {
        for size in [0, 1, 100, PIECE, PIECE + 1, 3 * PIECE] {
            for room in [10, 8 * 1024, PIECE] {
                let body: Vec<u8> = (0..size).map(|n| n.to_le_bytes()[0]).collect();
                let (first, rest) = layout(&body, room);
                assert!(first.len() <= room && rest.iter().all(|piece| piece.len() <= PIECE));
                assert_eq!([first, &rest.concat()].concat(), body, "{size} {room}");
            }
        }
    }
}
