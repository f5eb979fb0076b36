//! What makes an item of a list the same item in another list.

use serde_json::{Map, Value};

use super::{
    fields_v1,
    types::{ListType, Relation},
};

/// The path element of an item; `None` for one that has no identity: an item without its keys, or of the wrong type.
pub(super) fn step(list: &ListType, item: &Value) -> Option<Box<str>> {
    identity(list, item).ok()
}

/// The path element of an item, or what it lacks, in the words of structured-merge-diff.
pub(super) fn identity(list: &ListType, item: &Value) -> Result<Box<str>, String> {
    match &list.relation {
        Relation::Atomic => Err("atomic lists have no path elements".to_owned()),
        Relation::Set => match item {
            Value::Null => Err(
                "associative list without keys has an element that's an explicit null".to_owned(),
            ),
            Value::Object(_) => {
                Err("associative list without keys has an element that's a map type".to_owned())
            }
            Value::Array(_) => {
                Err("not supported: associative list with lists as elements".to_owned())
            }
            scalar => Ok(fields_v1::value_step(scalar)),
        },
        Relation::Keys(keys) => {
            let Value::Object(fields) = item else {
                return Err(match item {
                    Value::Null => "associative list with keys may not have a null element",
                    _ => "associative list with keys may not have non-map elements",
                }
                .to_owned());
            };
            let mut found = Map::new();
            for (key, default) in keys {
                match fields.get(key).or(default.as_ref()) {
                    Some(value) => _ = found.insert(key.clone(), value.clone()),
                    None => {
                        return Err(format!(
                            "associative list with keys has an element that omits key field {key:?} (and doesn't have default value)"
                        ));
                    }
                }
            }
            Ok(fields_v1::key_step(&found))
        }
    }
}

/// The items of a list with their path elements, or `None` if one has no identity or two have the same: such a list is
/// treated as a whole, and validation refuses it.
pub(super) fn identified<'v>(
    list: &ListType,
    items: &'v [Value],
) -> Option<Vec<(Box<str>, &'v Value)>> {
    let mut seen = std::collections::BTreeSet::new();
    items
        .iter()
        .map(|item| {
            let step = step(list, item)?;
            seen.insert(step.clone()).then_some((step, item))
        })
        .collect()
}

/// The fields of an object that has any; null and the empty object have no parts to be owned one by one.
pub(super) fn filled_map(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value
        .and_then(Value::as_object)
        .filter(|fields| !fields.is_empty())
}

/// The items of a list that has any.
pub(super) fn filled_list(value: Option<&Value>) -> Option<&[Value]> {
    value
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .filter(|items| !items.is_empty())
}
