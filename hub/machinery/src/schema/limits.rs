//! How deep a value may nest. Decoders stop by themselves, patches can build deeper than any one document.

use serde_json::Value;

/// The deepest nesting of an object: what `serde_json` reads, so that everything stored can be read again.
pub const MAX_DEPTH: usize = 100;

/// Whether the value nests no deeper than [`MAX_DEPTH`].
#[must_use]
pub fn check_depth(value: &Value) -> bool {
    fits(value, MAX_DEPTH)
}

fn fits(value: &Value, budget: usize) -> bool {
    match value {
        Value::Object(fields) => budget > 0 && fields.values().all(|value| fits(value, budget - 1)),
        Value::Array(list) => budget > 0 && list.iter().all(|value| fits(value, budget - 1)),
        _ => true,
    }
}
