//! Between objects and what the store keeps of them.

use std::{cell::RefCell, sync::Arc};

use bytes::Bytes;
use koinon_machinery::{ApiError, Object, Parts, Result};
use koinon_store::{Digest, Draft, Key, Revision, Stored};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Kind;

/// So much of a buffer is kept for the next object.
const KEPT_BUFFER: usize = 64 << 10;

/// Reads an object back.
///
/// What is stored was an object once; should it not read as one, the metadata is still better than a panic.
pub fn object(kind: &Kind, stored: &Stored) -> Object {
    let parts = Parts {
        metadata: serde_json::from_slice(&stored.metadata).unwrap_or_default(),
        body: serde_json::from_slice(&stored.body).unwrap_or_default(),
        status: serde_json::from_slice(&stored.status).ok(),
    };
    Object::join(
        &kind.api_version,
        &kind.info.kind,
        parts,
        &stored.revision.to_string(),
    )
}

/// Takes an object apart for the store.
pub(super) fn draft(key: Key, object: Object) -> Result<Draft> {
    let uid = object
        .uid()
        .parse::<Uuid>()
        .map_err(|_| ApiError::bad_request("metadata.uid is not a UUID"))?;
    let generation = object.generation();
    let labels = Arc::new(object.labels_owned());
    let Parts {
        metadata,
        body,
        status,
    } = object.split();
    Ok(Draft {
        key,
        uid,
        generation,
        labels,
        metadata: bytes(&metadata)?,
        body: bytes(&body)?,
        status: status.as_ref().map(bytes).transpose()?.unwrap_or_default(),
    })
}

/// Refuses an object that has grown too large for its kind.
///
/// A request body is limited, but patches add up: without a limit on what they come to an object could grow for ever.
/// Metadata, status and the rest are limited each for itself, so that no object is too large for its own status. What is
/// too large already, by an older limit, may shrink.
///
/// # Errors
///
/// 413, as for a request body of that size.
pub(super) fn fit(kind: &Kind, draft: &Draft, old: Option<&Stored>) -> Result<()> {
    let limit = kind.strategy.body_limit();
    let sizes = [
        (&draft.metadata, old.map(|old| &old.metadata)),
        (&draft.body, old.map(|old| &old.body)),
        (&draft.status, old.map(|old| &old.status)),
    ];
    let grown = |(new, old): (&Bytes, Option<&Bytes>)| {
        new.len() > limit && old.is_none_or(|old| new.len() > old.len())
    };
    if sizes.into_iter().any(grown) {
        return Err(ApiError::request_entity_too_large(limit));
    }
    Ok(())
}

/// The metadata of an object as the store keeps it.
pub(super) fn metadata(object: &Object) -> Result<Bytes> {
    let kept = object
        .metadata()
        .iter()
        .filter(|(field, _)| *field != "resourceVersion");
    bytes(&Fields(kept))
}

/// Some fields of an object, as an object.
struct Fields<I>(I);

impl<'a, I: Iterator<Item = (&'a String, &'a Value)> + Clone> Serialize for Fields<I> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.clone())
    }
}

/// The status of an object as the store keeps it.
pub(super) fn status(object: &Object) -> Result<Bytes> {
    Ok(object.status().map(bytes).transpose()?.unwrap_or_default())
}

/// An object that is not stored, as if it were, at the revision of what it shows.
pub(super) fn shown(key: Key, object: Object, revision: Revision) -> Result<Stored> {
    let Draft {
        key,
        uid,
        generation,
        labels,
        metadata,
        body,
        status,
    } = draft(key, object)?;
    let digest = Digest::of(&body);
    Ok(Stored {
        key,
        uid,
        revision,
        generation,
        labels,
        metadata,
        body,
        digest,
        status,
    })
}

/// Whether writing `draft` over `stored` would change nothing; all that is stored is canonical.
pub(super) fn same(draft: &Draft, stored: &Stored) -> bool {
    draft.metadata == stored.metadata && draft.body == stored.body && draft.status == stored.status
}

/// Merges `shown` into an object, for the only response that may show it.
pub(super) fn reveal(object: Object, shown: &Value) -> Result<Object> {
    let mut value = object.into_value();
    json_patch::merge(&mut value, shown);
    Object::from_value(value)
}

/// Canonical JSON: keys are sorted because `serde_json` is built without `preserve_order`.
///
/// Written into a buffer that is kept, then copied: what is stored for long takes no more memory than it needs, and no
/// buffer is grown again and again.
fn bytes(value: &impl Serialize) -> Result<Bytes> {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        let written = serde_json::to_writer(&mut *buffer, value);
        let bytes = Bytes::copy_from_slice(buffer);
        // One large object must not hold its size for ever.
        buffer.shrink_to(KEPT_BUFFER);
        match written {
            Ok(()) => Ok(bytes),
            Err(_) => Err(ApiError::internal("the object does not serialise")),
        }
    })
}

/// Metadata fields that are not kept.
pub(super) fn drop_read_only(metadata: &mut Map<String, Value>) {
    metadata.remove("selfLink");
}
