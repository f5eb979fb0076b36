//! From `kubectl apply` to `kubectl apply --server-side`: what kubectl wrote into its annotation before is kubectl's.
//!
//! Kubernetes does this for the manager `kubectl` alone (`lastappliedmanager.go`, `lastappliedupdater.go`).

use serde_json::Value;

use super::{Manager, Type, compare, fields, set::FieldSet};
use crate::Object;

const KUBECTL: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The largest annotations that an object may have.
const MOST_BYTES: usize = 256 << 10;

/// The fields that give way to this writer: those of the annotation that still have its values.
pub(super) fn yields(kind: &Type, live: &Object, writer: &Manager<'_>) -> FieldSet {
    if writer.name != KUBECTL {
        return FieldSet::default();
    }
    let Some(Value::Object(last)) = live
        .annotation(ANNOTATION)
        .and_then(|text| serde_json::from_str(text).ok())
    else {
        return FieldSet::default();
    };
    let changes = compare::objects(kind, &last, live.as_map());
    fields::of(kind, &Value::Object(last))
        .difference(&changes.modified)
        .difference(&changes.added)
        .difference(&changes.removed)
}

/// Keeps the annotation, if there is one, at what was applied, so that one can go back to `kubectl apply`.
pub(super) fn refresh(object: &mut Object, config: &Object, writer: &Manager<'_>) {
    if writer.name != KUBECTL || object.annotation(ANNOTATION).is_none() {
        return;
    }
    let mut config = config.clone();
    config.remove_annotation(ANNOTATION);
    let text = format!("{}\n", config.into_value());
    if text.len() <= MOST_BYTES {
        object.set_annotation(ANNOTATION, &text);
    }
}
