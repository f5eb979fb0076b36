//! JSON patch, [RFC 6902](https://www.rfc-editor.org/rfc/rfc6902), with bounds: a few lines of `copy` can double a
//! document many times over, or nest it without end.

use json_patch::{Patch, PatchOperation, jsonptr::Pointer};
use serde_json::Value;

use crate::{ApiError, Result, schema};

/// As in Kubernetes.
const MOST_OPERATIONS: usize = 10_000;

pub(super) fn parse(body: &[u8]) -> Result<Patch> {
    let patch: Patch = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    if patch.0.len() > MOST_OPERATIONS {
        let message = format!(
            "The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {}",
            patch.0.len()
        );
        return Err(ApiError::new(crate::Reason::RequestEntityTooLarge, message));
    }
    for operation in &patch.0 {
        let value = match operation {
            PatchOperation::Add(add) => Some(&add.value),
            PatchOperation::Replace(replace) => Some(&replace.value),
            _ => None,
        };
        let deep = operation.path().count() > schema::MAX_DEPTH
            || value.is_some_and(|value| !schema::check_depth(value));
        if deep {
            return Err(ApiError::bad_request(
                "error decoding patch: exceeded max depth",
            ));
        }
    }
    Ok(patch)
}

/// Applies a patch, operation by operation; `limit` bounds what `copy` may add in all.
pub(super) fn apply(patch: &Patch, target: &mut Value, limit: usize) -> Result<(), String> {
    let mut copied = 0;
    for operation in &patch.0 {
        let from = match operation {
            PatchOperation::Copy(copy) => Some((&*copy.from, true)),
            PatchOperation::Move(moved) => Some((&*moved.from, false)),
            _ => None,
        };
        if let Some((from, grows)) = from
            && let Some(value) = resolve(target, from)
        {
            if !schema::check_depth(value) {
                return Err("exceeded max depth".to_owned());
            }
            if grows {
                copied += size(value);
                if copied > limit {
                    return Err(format!("copying more than {limit} bytes within a document"));
                }
            }
        }
        // A failed patch leaves the target half changed, which is why the caller hands in a copy.
        json_patch::patch_unsafe(target, std::slice::from_ref(operation))
            .map_err(|error| describe(operation, &error))?;
    }
    Ok(())
}

fn resolve<'a>(target: &'a Value, at: &Pointer) -> Option<&'a Value> {
    at.resolve(target).ok()
}

fn describe(operation: &PatchOperation, error: &json_patch::PatchError) -> String {
    let path = operation.path();
    match operation {
        PatchOperation::Test(_) => format!("testing path {path} failed"),
        _ => format!("operation at path {path}: {}", error.kind),
    }
}

/// Roughly how many bytes a value takes as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::Object(fields) => {
            fields
                .iter()
                .map(|(name, value)| name.len() + 4 + size(value))
                .sum::<usize>()
                + 2
        }
        Value::Array(list) => list.iter().map(|value| size(value) + 1).sum::<usize>() + 2,
        Value::String(text) => text.len() + 2,
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}
