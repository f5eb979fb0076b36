//! The strategy `Update`: labels, annotations and owners are merged, everything else outside metadata and status is
//! replaced. Decides without any I/O what, if anything, has to be written.

mod filled;

use serde_json::{Map, Value, json};

use super::{
    diff::{self, Further, Zero},
    plan::Ownership,
};
use filled::with_what_others_fill_in;

/// Annotation on an applied object, with a suffix for the work: digest of the manifest it was last made from.
///
/// It tells after any crash whether fields that a newer manifest no longer declares are still to be removed, which a
/// comparison of declared fields alone cannot see.
pub(super) const APPLIED_HASH: &str = "koinon.dev/applied-hash";

/// Annotation on an object that was applied server-side and does not name its owner yet: the uid of the record that is to own it.
///
/// Such an object gets its owner with a second write. Should the agent die between the two, this tells whose the object is; the
/// second write takes it off.
const OWNED_SOON: &str = "koinon.dev/owned-soon-by";

/// The `AppliedManifestWork` that owns what a work applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) name: String,
    pub(super) uid: String,
}

impl Owner {
    /// The key of the annotation with the digest: one for each work, since several may declare one object.
    pub(super) fn hash_key(&self) -> String {
        let short: String = self
            .uid
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(8)
            .collect();
        format!("{APPLIED_HASH}.{short}")
    }

    /// Returns the owner reference; a plain one, since several works may own one object.
    pub(super) fn reference(&self) -> Value {
        json!({"apiVersion": "work.open-cluster-management.io/v1", "kind": "AppliedManifestWork", "name": self.name, "uid": self.uid})
    }

    /// Says whether the object is this owner's: it names it, or was to name it when the agent died.
    pub(super) fn owns(&self, object: &Value) -> bool {
        self.is_named_by(object) || self.is_awaited_by(object)
    }

    /// Says whether the object names this owner.
    pub(super) fn is_named_by(&self, object: &Value) -> bool {
        references(object)
            .iter()
            .any(|r| r.get("uid").and_then(Value::as_str) == Some(&self.uid))
    }

    /// Says whether the object is marked to get this owner.
    pub(super) fn is_awaited_by(&self, object: &Value) -> bool {
        object
            .get("metadata")
            .and_then(|metadata| metadata.get("annotations")?.get(OWNED_SOON)?.as_str())
            == Some(&self.uid)
    }

    /// Marks an object to be applied whose owner comes with the next write.
    pub(super) fn await_by(&self, object: &mut Value) {
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
            return;
        };
        let annotations = metadata.entry("annotations").or_insert(Value::Null);
        if annotations.is_null() {
            *annotations = json!({});
        }
        // Anything else is refused by the API server.
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(OWNED_SOON.to_owned(), self.uid.as_str().into());
        }
    }

    /// Adds to a merge patch of an object what takes the mark off, if it has one of ours.
    pub(super) fn unmark(&self, object: &Value, patch: &mut Value) {
        if self.is_awaited_by(object) {
            patch["metadata"]["annotations"][OWNED_SOON] = Value::Null;
        }
    }

    /// Returns the object's owner references as they should be.
    pub(super) fn merged(&self, object: &Value, ownership: Ownership) -> Vec<Value> {
        let mut merged: Vec<Value> = references(object)
            .iter()
            .filter(|r| {
                let uid = r.get("uid").and_then(Value::as_str);
                // A record that was deleted and made again has our name and a uid that no longer exists.
                let stale = r.get("kind").and_then(Value::as_str) == Some("AppliedManifestWork")
                    && r.get("name").and_then(Value::as_str) == Some(&self.name)
                    && uid != Some(&self.uid);
                !stale && (ownership == Ownership::Owned || uid != Some(&self.uid))
            })
            .cloned()
            .collect();
        if ownership == Ownership::Owned && !self.is_named_by(object) {
            merged.push(self.reference());
        }
        merged
    }
}

/// Returns the owner references of an object.
pub(super) fn references(object: &Value) -> &[Value] {
    object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// What is known of an object since this process last wrote or examined it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Fingerprint of the manifest.
    pub(super) required: u128,
    /// That of what the API server made of all that it declares. Webhooks and normalisation may make it differ from the manifest for ever.
    pub(super) content: u128,
}

/// What has to be done with the live object.
#[derive(Debug, PartialEq)]
pub(super) enum Decision {
    InSync,
    Replace {
        object: Value,
        /// What to try then, one after the other, if the API server finds that invalid.
        otherwise: Vec<Otherwise>,
    },
}

/// What to try if the API server finds a replacement invalid.
#[derive(Debug, PartialEq)]
pub(super) enum Otherwise {
    /// What is declared alone: what others put beside it may not be there together with it.
    Declared(Value),
    /// The same where something declared is not there, so that what others put beside it may have taken its place.
    Instead(Value),
    /// Laid over what is there, if the server lets nobody take that away.
    LaidOver(Value),
}

impl Otherwise {
    pub(super) const fn object(&self) -> &Value {
        match self {
            Self::Declared(object) | Self::Instead(object) | Self::LaidOver(object) => object,
        }
    }
}

/// Returns the object to create.
pub(super) fn creation(required: &Value, owner: &Owner, ownership: Ownership) -> Value {
    let mut object = required.clone();
    let hash = diff::digest(required);
    let labels = merged_map(None, required.pointer("/metadata/labels"));
    let mut annotations = merged_map(None, required.pointer("/metadata/annotations"));
    annotations.insert(owner.hash_key(), hash.into());
    object["metadata"]["annotations"] = annotations.into();
    set_or_remove(&mut object["metadata"], "labels", labels);
    set_owners(
        &mut object["metadata"],
        if ownership == Ownership::Owned {
            vec![owner.reference()]
        } else {
            Vec::new()
        },
    );
    object
}

/// Decides about an existing object.
pub(super) fn decide(
    required: &Value,
    live: &Value,
    owner: &Owner,
    ownership: Ownership,
    known: Option<&Known>,
) -> Decision {
    let hash = diff::digest(required);
    let is_same = live
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(owner.hash_key())?.as_str())
        == Some(&hash);
    let labels = merged_map(
        live.pointer("/metadata/labels"),
        required.pointer("/metadata/labels"),
    );
    let mut annotations = merged_map(
        live.pointer("/metadata/annotations"),
        required.pointer("/metadata/annotations"),
    );
    annotations.insert(owner.hash_key(), hash.into());
    // Of earlier agents, for all works.
    annotations.remove(APPLIED_HASH);
    let owners = owner.merged(live, ownership);

    let same = |pointer: &str, merged: &Map<String, Value>| match live.pointer(pointer) {
        Some(Value::Object(live)) => live == merged,
        _ => merged.is_empty(),
    };
    let metadata_same = same("/metadata/labels", &labels)
        && same("/metadata/annotations", &annotations)
        && references(live) == owners;
    let wanted = with_what_others_fill_in(required, live);
    let settled = || {
        known.is_some_and(|known| {
            known.required == diff::fingerprint(required)
                && known.content == diff::declared_fingerprint(required, live)
        })
    };
    let content_same = diff::is_satisfied(&wanted, live, Zero::Missing) || settled();
    if metadata_same && content_same {
        return Decision::InSync;
    }
    // Nothing that is declared was changed, as far as anybody knows: the manifest is the one that the object was last made from, and
    // the server may always write some of it in another way, or leave a zero out. No reason to take away what others put in, as the
    // replicas of an autoscaler.
    let is_left = content_same || diff::is_satisfied(&wanted, live, Zero::LeftOut);
    let is_gentle = is_same && (is_left || known.is_none());

    let mut object = wanted.into_owned();
    let mut metadata = live.get("metadata").cloned().unwrap_or_else(|| json!({}));
    set_or_remove(&mut metadata, "labels", labels);
    set_or_remove(&mut metadata, "annotations", annotations);
    set_owners(&mut metadata, owners);
    object["metadata"] = metadata;
    if let Some(status) = live.get("status") {
        object["status"] = status.clone();
    }
    let (trimmed, whole) = (
        soften(&object, live, Further::Go),
        soften(&object, live, Further::Stay),
    );
    let (object, further) = if is_gentle {
        let declared = match is_left {
            true => Otherwise::Declared(object),
            false => Otherwise::Instead(object),
        };
        let further = [declared, Otherwise::LaidOver(whole)];
        (trimmed, further)
    } else {
        // What is in a list beside what is declared stays only if it has to.
        let further = [Otherwise::LaidOver(trimmed), Otherwise::LaidOver(whole)];
        (object, further)
    };
    let mut otherwise: Vec<Otherwise> = Vec::new();
    for one in further {
        let mut tried = otherwise.iter().map(Otherwise::object);
        if *one.object() != object && !tried.any(|tried| tried == one.object()) {
            otherwise.push(one);
        }
    }
    Decision::Replace { object, otherwise }
}

/// Lays the declared content over the live one instead of replacing it.
fn soften(replacement: &Value, live: &Value, further: Further) -> Value {
    let mut object = diff::overlay(replacement, live, further);
    object["metadata"] = replacement["metadata"].clone();
    object
}

/// Merges labels or annotations; a declared key that ends with `-` removes the key before the dash.
fn merged_map(live: Option<&Value>, declared: Option<&Value>) -> Map<String, Value> {
    let mut merged = live.and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, value) in declared.and_then(Value::as_object).into_iter().flatten() {
        match key.strip_suffix('-') {
            Some(key) => _ = merged.remove(key),
            None => _ = merged.insert(key.clone(), value.clone()),
        }
    }
    merged
}

fn set_or_remove(metadata: &mut Value, field: &str, map: Map<String, Value>) {
    if map.is_empty() {
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove(field);
        }
    } else {
        metadata[field] = map.into();
    }
}

fn set_owners(metadata: &mut Value, owners: Vec<Value>) {
    if owners.is_empty() {
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove("ownerReferences");
        }
    } else {
        metadata["ownerReferences"] = owners.into();
    }
}

#[cfg(test)]
mod tests;
