//! An object as the registry keeps it: in parts, each the JSON text of one piece.

use std::{collections::BTreeMap, io::Write as _, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, de::IgnoredAny};
use uuid::Uuid;

use crate::key::{Digest, Key, Revision};

/// One state of one object.
///
/// The parts are JSON text, so that a list or a watch renders by concatenation and equal bodies share memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub key: Key,
    pub uid: Uuid,
    pub revision: Revision,
    pub generation: i64,
    pub labels: Arc<BTreeMap<String, String>>,
    /// JSON object: `metadata` without `resourceVersion`.
    pub metadata: Bytes,
    /// JSON object: every top-level field but `apiVersion`, `kind`, `metadata` and `status`.
    pub body: Bytes,
    /// Digest of `body`.
    pub digest: Digest,
    /// JSON value of `status`; empty when the object has none.
    pub status: Bytes,
}

impl Stored {
    /// Appends the object's JSON to `out`.
    pub fn render_into(&self, out: &mut Vec<u8>, api_version: &str, kind: &str) {
        self.render_at_into(self.revision, out, api_version, kind);
    }

    /// Appends the object's JSON to `out` with another revision: a deletion's event carries the
    /// last state with the deletion's own revision.
    pub fn render_at_into(
        &self,
        revision: Revision,
        out: &mut Vec<u8>,
        api_version: &str,
        kind: &str,
    ) {
        out.reserve(
            api_version.len()
                + kind.len()
                + self.metadata.len()
                + self.body.len()
                + self.status.len()
                + 96,
        );
        // Group, version and kind are our own constants: nothing in them needs escaping.
        write!(out, r#"{{"apiVersion":"{api_version}","kind":"{kind}","metadata":{{"resourceVersion":"{revision}""#)
            .expect("a Vec takes every write");
        let metadata = inner(&self.metadata);
        if !metadata.is_empty() {
            out.push(b',');
            out.extend_from_slice(metadata);
        }
        out.push(b'}');
        let body = inner(&self.body);
        if !body.is_empty() {
            out.push(b',');
            out.extend_from_slice(body);
        }
        if !self.status.is_empty() {
            out.extend_from_slice(br#","status":"#);
            out.extend_from_slice(&self.status);
        }
        out.push(b'}');
    }

    /// Whether the object is being deleted: its metadata has a `deletionTimestamp`.
    pub fn is_deleting(&self) -> bool {
        const KEY: &[u8] = br#""deletionTimestamp""#;
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata {
            deletion_timestamp: Option<IgnoredAny>,
        }
        // Nearly no object is being deleted: look before parsing.
        self.metadata.windows(KEY.len()).any(|window| window == KEY)
            && serde_json::from_slice::<Metadata>(&self.metadata)
                .is_ok_and(|metadata| metadata.deletion_timestamp.is_some())
    }

    /// The same object with another status at a later revision.
    pub(crate) fn with_status(&self, revision: Revision, status: Bytes) -> Self {
        Self {
            revision,
            status,
            ..self.clone()
        }
    }
}

/// The text between the braces of a JSON object.
fn inner(object: &[u8]) -> &[u8] {
    let object = object.trim_ascii();
    object
        .strip_prefix(b"{")
        .and_then(|rest| rest.strip_suffix(b"}"))
        .unwrap_or_default()
        .trim_ascii()
}

/// What a create or a replace puts: an object without a revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub key: Key,
    pub uid: Uuid,
    pub generation: i64,
    pub labels: Arc<BTreeMap<String, String>>,
    /// As in [`Stored::metadata`].
    pub metadata: Bytes,
    /// As in [`Stored::body`].
    pub body: Bytes,
    /// As in [`Stored::status`].
    pub status: Bytes,
}

impl Draft {
    pub(crate) fn into_stored(self, revision: Revision, digest: Digest) -> Stored {
        let Self {
            key,
            uid,
            generation,
            labels,
            metadata,
            body,
            status,
        } = self;
        Stored {
            key,
            uid,
            revision,
            generation,
            labels,
            metadata,
            body,
            digest,
            status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(metadata: &'static str, body: &'static str, status: &'static str) -> Stored {
        Stored {
            key: Key::new("widgets.example.com", "", "a"),
            uid: Uuid::nil(),
            revision: Revision(7),
            generation: 1,
            labels: Arc::default(),
            metadata: Bytes::from_static(metadata.as_bytes()),
            body: Bytes::from_static(body.as_bytes()),
            digest: Digest::of(body.as_bytes()),
            status: Bytes::from_static(status.as_bytes()),
        }
    }

    fn rendered(stored: &Stored) -> String {
        let mut out = Vec::new();
        stored.render_into(&mut out, "example.com/v1", "Widget");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parts_are_joined_into_one_object() {
        assert_eq!(
            rendered(&stored(
                r#"{"name":"a"}"#,
                r#"{"spec":{"x":1}}"#,
                r#"{"ok":true}"#
            )),
            r#"{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"resourceVersion":"7","name":"a"},"spec":{"x":1},"status":{"ok":true}}"#
        );
    }

    #[test]
    fn only_the_metadata_field_means_deletion() {
        for (metadata, deleting) in [
            (
                r#"{"deletionTimestamp":"2026-01-01T00:00:00Z","name":"a"}"#,
                true,
            ),
            (r#"{"name":"a"}"#, false),
            (r#"{"labels":{"deletionTimestamp":"x"},"name":"a"}"#, false),
            (r#"{"deletionTimestamp":null,"name":"a"}"#, false),
        ] {
            assert_eq!(
                stored(metadata, "{}", "").is_deleting(),
                deleting,
                "{metadata}"
            );
        }
    }

    #[test]
    fn empty_parts_leave_no_trace() {
        assert_eq!(
            rendered(&stored("{}", "{}", "")),
            r#"{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"resourceVersion":"7"}}"#
        );
    }
}
