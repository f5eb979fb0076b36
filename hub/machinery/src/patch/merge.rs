//! JSON merge patch, [RFC 7386](https://www.rfc-editor.org/rfc/rfc7386).

use serde_json::{Map, Value};

/// Lays a merge patch over a value: objects merge, null removes, everything else replaces.
pub fn merge_into(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else {
        return;
    };
    for (name, change) in patch {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge_into(fields.entry(name.as_str()).or_insert(Value::Null), change);
        }
    }
}
