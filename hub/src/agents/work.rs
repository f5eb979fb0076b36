//! What an agent has to know of a work.

use koinon_proto::{Held, v1::WorkNotice};
use koinon_store::{Digest, Stored};
use serde::{Deserialize, de::IgnoredAny};
use uuid::Uuid;

/// One state of a work, as far as agents are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) uid: Uuid,
    pub(super) generation: i64,
    pub(super) digest: Digest,
    /// The work is being deleted.
    pub(super) tombstone: bool,
}

impl Work {
    pub(super) fn of(stored: &Stored) -> Self {
        Self {
            uid: stored.uid,
            generation: stored.generation,
            digest: stored.digest,
            tombstone: is_deleting(&stored.metadata),
        }
    }

    pub(super) fn held<'a>(&'a self, name: &'a str, uid: &'a str) -> Held<'a> {
        Held {
            name,
            uid,
            generation: self.generation,
            digest: &self.digest.0,
            tombstone: self.tombstone,
        }
    }

    pub(super) fn notice(&self, name: &str) -> WorkNotice {
        WorkNotice {
            name: name.to_owned(),
            uid: self.uid.to_string(),
            generation: self.generation,
            digest: self.digest.0.to_vec().into(),
            tombstone: self.tombstone,
        }
    }
}

/// Reads from metadata, JSON, whether the object is being deleted.
pub(super) fn is_deleting(metadata: &[u8]) -> bool {
    const KEY: &[u8] = b"\"deletionTimestamp\"";
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        deletion_timestamp: Option<IgnoredAny>,
    }
    // Nearly no work is being deleted: look before parsing.
    metadata.windows(KEY.len()).any(|window| window == KEY)
        && serde_json::from_slice::<Metadata>(metadata)
            .is_ok_and(|metadata| metadata.deletion_timestamp.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_metadata_field_means_deletion() {
        assert!(is_deleting(
            br#"{"deletionTimestamp":"2026-01-01T00:00:00Z","name":"a"}"#
        ));
        assert!(!is_deleting(br#"{"name":"a"}"#));
        assert!(!is_deleting(
            br#"{"labels":{"deletionTimestamp":"x"},"name":"a"}"#
        ));
        assert!(!is_deleting(br#"{"deletionTimestamp":null,"name":"a"}"#));
    }
}
