//! Lists whose items must differ: sets, and maps by key.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::node::List;
use crate::{Cause, are_enough, path::Path};

pub(super) fn check(list: &List, items: &[Value], path: &Path<'_>, causes: &mut Vec<Cause>) {
    if items.len() < 2 {
        return;
    }
    match list {
        List::Atomic => {}
        List::Set => differ(items.iter().map(|item| Some(item.clone())), path, causes),
        List::Map(keys) => differ(items.iter().map(|item| key(item, keys)), path, causes),
    }
}

/// The key of a list-map's item; an item that is no object has none, and the wrong type is reported elsewhere.
pub(super) fn key(item: &Value, keys: &[String]) -> Option<Value> {
    let item = item.as_object()?;
    let pairs = keys
        .iter()
        .filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
    Some(Value::Object(pairs.collect::<Map<_, _>>()))
}

fn differ(items: impl Iterator<Item = Option<Value>>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let mut seen = HashSet::new();
    for (index, item) in items.enumerate() {
        let Some(item) = item else { continue };
        if !seen.insert(item.to_string()) {
            if are_enough(causes) {
                return;
            }
            causes.push(Cause::duplicate(path.index(index), item));
        }
    }
}
