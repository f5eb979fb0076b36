//! Lists in a strategic merge patch.

use serde_json::Value;

use super::map;
use crate::{ApiError, Result};

/// How a list is merged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Merge {
    /// The new list replaces the old.
    Atomic,
    /// Items are objects, identified by this field.
    ByKey(&'static str),
    /// Items are texts, each at most once.
    Set,
}

/// The lists that merge, from the `patchStrategy` and `patchMergeKey` tags of the Go types.
const LISTS: &[(&str, Merge)] = &[
    ("metadata.finalizers", Merge::Set),
    ("metadata.ownerReferences", Merge::ByKey("uid")),
    ("status.conditions", Merge::ByKey("type")),
];

impl Merge {
    pub(super) fn of(path: &str) -> Self {
        LISTS
            .iter()
            .find(|(list, _)| *list == path)
            .map_or(Self::Atomic, |(_, merge)| *merge)
    }
}

pub(super) fn merge(items: &mut Vec<Value>, patch: &[Value], path: &str) -> Result<()> {
    match Merge::of(path) {
        Merge::Atomic => {
            items.clear();
            items.extend_from_slice(patch);
        }
        Merge::Set => {
            for item in patch {
                if !items.contains(item) {
                    items.push(item.clone());
                }
            }
        }
        Merge::ByKey(key) => by_key(items, patch, key, path)?,
    }
    Ok(())
}

fn by_key(items: &mut Vec<Value>, patch: &[Value], key: &str, path: &str) -> Result<()> {
    let directive = |item: &Value| {
        item.get("$patch")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    // One item that says "replace" speaks for the whole list.
    if patch
        .iter()
        .any(|item| directive(item).as_deref() == Some("replace"))
    {
        items.clear();
    }
    for change in patch {
        let directive = directive(change);
        if directive.as_deref() == Some("replace") {
            continue;
        }
        let (Some(fields), Some(id)) = (change.as_object(), change.get(key)) else {
            return Err(ApiError::bad_request(format!(
                "map: {change} does not contain declared merge key: {key}"
            )));
        };
        let at = items.iter().position(|item| item.get(key) == Some(id));
        match (directive.as_deref(), at) {
            (Some("delete"), Some(at)) => {
                items.remove(at);
            }
            (Some("delete"), None) => {}
            (_, Some(at)) => {
                if let Value::Object(item) = &mut items[at] {
                    map(item, fields, path)?;
                }
            }
            (_, None) => {
                let mut item = serde_json::Map::new();
                map(&mut item, fields, path)?;
                items.push(Value::Object(item));
            }
        }
    }
    Ok(())
}

/// Puts the items that `order` names into that order, in the places which they took before; the others stay.
pub(super) fn reorder(items: &mut [Value], order: &[Value], merge: Merge) {
    let id = |item: &Value| match merge {
        Merge::ByKey(key) => item.get(key).cloned().unwrap_or(Value::Null),
        Merge::Atomic | Merge::Set => item.clone(),
    };
    let order: Vec<Value> = order.iter().map(id).collect();
    let rank = |item: &Value| order.iter().position(|listed| *listed == id(item));
    let places: Vec<usize> = (0..items.len())
        .filter(|at| rank(&items[*at]).is_some())
        .collect();
    let mut named: Vec<Value> = places.iter().map(|at| items[*at].clone()).collect();
    named.sort_by_key(rank);
    for (place, item) in places.into_iter().zip(named) {
        items[place] = item;
    }
}
