//! Strategic merge patch for Kubernetes' own kinds, as far as the hub serves them: their lists with merge keys are few
//! enough for a table.

mod list;

use serde_json::{Map, Value};

use list::Merge;

use crate::{ApiError, ResourceInfo, Result};

/// Which kinds merge strategically: those that `kubectl` has compiled in.
pub(super) fn is_supported(resource: &ResourceInfo) -> bool {
    resource.group.is_empty() || resource.group.ends_with(".k8s.io")
}

pub(super) fn apply(target: &mut Value, patch: &Value) -> Result<()> {
    let (Value::Object(target), Value::Object(patch)) = (target, patch) else {
        return Err(ApiError::bad_request(
            "error decoding patch: the patch is not a JSON object",
        ));
    };
    map(target, patch, "")
}

/// Merges one object, at `path` from the root.
fn map(target: &mut Map<String, Value>, patch: &Map<String, Value>, path: &str) -> Result<()> {
    match patch
        .get("$patch")
        .map(|directive| directive.as_str().unwrap_or_default())
    {
        None | Some("merge") => {}
        Some("replace") => {
            *target = without_directives(patch);
            return Ok(());
        }
        Some("delete") => {
            target.clear();
            return Ok(());
        }
        Some(other) => {
            return Err(ApiError::bad_request(format!(
                "Unknown patch type found: {other}"
            )));
        }
    }
    if let Some(retained) = patch.get("$retainKeys") {
        retain(target, patch, retained)?;
    }
    for (name, change) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        let below = join(path, name);
        match (change, target.get_mut(name)) {
            (Value::Null, _) => {
                target.remove(name);
            }
            (Value::Object(change), Some(Value::Object(fields))) => map(fields, change, &below)?,
            (Value::Object(change), _) => {
                let mut fields = Map::new();
                map(&mut fields, change, &below)?;
                // `$patch: delete` of what is not there must not leave an empty object behind.
                if !fields.is_empty() || !change.contains_key("$patch") {
                    target.insert(name.clone(), Value::Object(fields));
                }
            }
            (Value::Array(change), Some(Value::Array(items))) => {
                list::merge(items, change, &below)?
            }
            (Value::Array(change), _) => {
                let mut items = Vec::new();
                list::merge(&mut items, change, &below)?;
                target.insert(name.clone(), Value::Array(items));
            }
            (other, _) => {
                target.insert(name.clone(), other.clone());
            }
        }
    }
    for (name, values) in patch {
        let (Some(field), Value::Array(gone)) =
            (name.strip_prefix("$deleteFromPrimitiveList/"), values)
        else {
            continue;
        };
        if let Some(Value::Array(items)) = target.get_mut(field) {
            items.retain(|item| !gone.contains(item));
        }
    }
    for (name, values) in patch {
        let (Some(field), Value::Array(order)) = (name.strip_prefix("$setElementOrder/"), values)
        else {
            continue;
        };
        if let Some(Value::Array(items)) = target.get_mut(field) {
            list::reorder(items, order, Merge::of(&join(path, field)));
        }
    }
    Ok(())
}

/// `$retainKeys`: what the list does not name goes, and the patch may set nothing else.
fn retain(
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    retained: &Value,
) -> Result<()> {
    let Some(retained) = retained.as_array() else {
        return Err(ApiError::bad_request(
            "error decoding patch: $retainKeys is not a list",
        ));
    };
    let kept = |name: &String| {
        retained
            .iter()
            .any(|kept| kept.as_str() == Some(name.as_str()))
    };
    if patch
        .iter()
        .any(|(name, value)| !name.starts_with('$') && !value.is_null() && !kept(name))
    {
        let message =
            "error decoding patch: $retainKeys does not list every field that the patch sets";
        return Err(ApiError::bad_request(message));
    }
    target.retain(|name, _| kept(name));
    Ok(())
}

fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    let fields = patch
        .iter()
        .filter(|(name, value)| !name.starts_with('$') && !value.is_null());
    fields
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
