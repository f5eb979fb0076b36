//! What an agent has to know of a work.

use std::collections::BTreeMap;

use koinon_api::labels::annotation;
use koinon_proto::{Held, v1::WorkNotice};
use koinon_store::{Digest, Stored};
use serde::Deserialize;
use uuid::Uuid;

/// One state of a work, as far as agents are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) uid: Uuid,
    pub(super) generation: i64,
    pub(super) digest: Digest,
    /// The work is being deleted.
    pub(super) tombstone: bool,
    /// Annotations that agents follow.
    pub(super) directives: BTreeMap<String, String>,
}

impl Work {
    pub(super) fn of(stored: &Stored) -> Self {
        Self {
            uid: stored.uid,
            generation: stored.generation,
            digest: stored.digest,
            tombstone: stored.is_deleting(),
            directives: directives(&stored.metadata),
        }
    }

    pub(super) fn held<'a>(&'a self, name: &'a str, uid: &'a str) -> Held<'a> {
        Held {
            name,
            uid,
            generation: self.generation,
            digest: &self.digest.0,
            tombstone: self.tombstone,
            directives: &self.directives,
        }
    }

    pub(super) fn notice(&self, name: &str) -> WorkNotice {
        WorkNotice {
            name: name.to_owned(),
            uid: self.uid.to_string(),
            generation: self.generation,
            digest: self.digest.0.to_vec().into(),
            tombstone: self.tombstone,
            directives: self.directives.clone(),
            body: None,
        }
    }
}

/// Reads the annotations that agents follow from metadata, JSON.
fn directives(metadata: &[u8]) -> BTreeMap<String, String> {
    const KEY: &[u8] = b"\"koinon.dev/";
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    // Few works have any: look before parsing.
    if !metadata.windows(KEY.len()).any(|window| window == KEY) {
        return BTreeMap::new();
    }
    let mut found = serde_json::from_slice::<Metadata>(metadata)
        .map(|metadata| metadata.annotations)
        .unwrap_or_default();
    found.retain(|key, value| {
        // Longer ones are refused when they are written; those of an earlier hub stay here.
        annotation::DIRECTIVES.contains(&key.as_str()) && value.len() <= annotation::MOST_DIRECTIVE
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_follow_known_annotations_only() {
        let found = directives(br#"{"annotations":{"koinon.dev/availability":"exists","koinon.dev/other":"x","a":"b"}}"#);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [("koinon.dev/availability".to_owned(), "exists".to_owned())]
        );
        assert!(directives(br#"{"labels":{"koinon.dev/availability":"exists"}}"#).is_empty());
        assert!(directives(b"{}").is_empty());
    }
}
