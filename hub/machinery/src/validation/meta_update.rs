//! Metadata of an object that replaces another.

use std::collections::HashSet;

use serde_json::Value;

use super::{FieldPath, meta};
use crate::{Cause, Object};

/// What the server set and nobody may change.
const IMMUTABLE: [&str; 6] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Judges the metadata of an object that is about to replace `old`, after the server's fields were carried over.
#[must_use]
pub fn metadata_update(new: &Object, old: &Object) -> Vec<Cause> {
    let path = FieldPath::new("metadata");
    let mut causes = Vec::new();
    for field in IMMUTABLE {
        let (before, after) = (old.metadata().get(field), new.metadata().get(field));
        if before != after {
            let value = after.cloned().unwrap_or(Value::Null);
            causes.push(Cause::invalid(
                path.child(field),
                value,
                "field is immutable",
            ));
        }
    }
    if new.generation() < old.generation() {
        causes.push(Cause::invalid(
            path.child("generation"),
            new.generation(),
            "must not be decremented",
        ));
    }
    if old.is_deleting() {
        let before: HashSet<&str> = old.finalizers().collect();
        let added: Vec<&str> = new
            .finalizers()
            .filter(|finalizer| !before.contains(finalizer))
            .collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added
                    .iter()
                    .map(|finalizer| format!("{finalizer:?}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            causes.push(Cause::forbidden(path.child("finalizers"), &detail));
        }
    }
    causes.extend(meta::metadata(new));
    causes
}
