//! Objects as the store would hand them out, from JSON as users write it.

use std::sync::Arc;

use bytes::Bytes;
use koinon_store::{Digest, Event, Key, Revision, Stored};
use serde_json::{Value, json};
use uuid::Uuid;

/// A stable uid for an object.
pub(super) fn uid_of(resource: &str, namespace: &str, name: &str) -> Uuid {
    let digest = Digest::of(format!("{resource}/{namespace}/{name}").as_bytes());
    Uuid::from_slice(&digest.0[..16]).unwrap()
}

/// An object; `metadata` may hold labels, finalizers and so on, `body` the spec.
pub(super) fn stored(
    resource: &str,
    namespace: &str,
    name: &str,
    metadata: Value,
    body: Value,
    status: Value,
) -> Arc<Stored> {
    let uid = uid_of(resource, namespace, name);
    let generation = metadata["generation"].as_i64().unwrap_or(1);
    let labels = serde_json::from_value(metadata["labels"].clone()).unwrap_or_default();
    let mut full = json!({ "name": name, "uid": uid, "generation": generation });
    if !namespace.is_empty() {
        full["namespace"] = namespace.into();
    }
    if let Some(more) = metadata.as_object() {
        full.as_object_mut().unwrap().extend(more.clone());
    }
    let body = Bytes::from(body.to_string());
    Arc::new(Stored {
        key: Key::new(resource, namespace, name),
        uid,
        revision: Revision(1),
        generation,
        labels: Arc::new(labels),
        metadata: Bytes::from(full.to_string()),
        digest: Digest::of(&body),
        body,
        status: if status.is_null() {
            Bytes::new()
        } else {
            Bytes::from(status.to_string())
        },
    })
}

pub(super) fn put(stored: Arc<Stored>) -> Event {
    Event {
        revision: stored.revision,
        before: None,
        after: Some(stored),
    }
}

pub(super) fn gone(stored: Arc<Stored>) -> Event {
    Event {
        revision: stored.revision,
        before: Some(stored),
        after: None,
    }
}
