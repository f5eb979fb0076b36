//! Pruning and defaulting in one descent: a level is pruned, then defaulted, then its parts are walked.

use serde_json::{Map, Value};

use super::{
    node::{Additional, Kind, Node},
    number,
};
use crate::{
    Object,
    decode::MOST_FAULTS,
    object,
    path::Path,
    short::{LONGEST, short},
};

pub(super) fn object(root: &Node, object: &mut Object) -> Vec<String> {
    let mut unknown = Vec::new();
    let path = Path::Root;
    let fields = object.as_map_mut();
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        prune_metadata(metadata, &path.field("metadata"), &mut unknown);
    }
    level(root, fields, &path, &mut unknown, is_type_or_metadata);
    unknown
}

/// One field of the object alone.
pub(super) fn field(root: &Node, object: &mut Object, name: &str) -> Vec<String> {
    let mut unknown = Vec::new();
    let fields = object.as_map_mut();
    // Only that field is there to be walked: a level of its own.
    let mut one = Map::new();
    if let Some(value) = fields.remove(name) {
        one.insert(name.to_owned(), value);
    }
    if let Some(property) = root.properties.get(name) {
        if one
            .get(name)
            .is_some_and(|value| value.is_null() && !property.nullable && !property.preserve)
        {
            one.remove(name);
        }
        if !one.contains_key(name)
            && let Some(default) = &property.default
        {
            one.insert(name.to_owned(), default.clone());
        }
        if let Some(value) = one.get_mut(name) {
            walk(property, value, &Path::Root.field(name), &mut unknown);
        }
    }
    fields.append(&mut one);
    unknown
}

fn is_type_or_metadata(field: &str) -> bool {
    matches!(field, "apiVersion" | "kind" | "metadata")
}

fn walk(node: &Node, value: &mut Value, path: &Path<'_>, unknown: &mut Vec<String>) {
    if node.inert {
        return;
    }
    match value {
        Value::Object(fields) if node.embedded => {
            if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
                prune_metadata(metadata, &path.field("metadata"), unknown);
            }
            level(node, fields, path, unknown, is_type_or_metadata);
        }
        Value::Object(fields) => level(node, fields, path, unknown, |_| false),
        Value::Array(list) => {
            let Some(items) = node.items.as_deref().filter(|items| !items.inert) else {
                return;
            };
            for (index, item) in list.iter_mut().enumerate() {
                walk(items, item, &path.index(index), unknown);
            }
        }
        Value::Number(number) if node.kind == Kind::Integer => {
            if let Some(integer) = number::integral(number) {
                *value = integer.into();
            }
        }
        _ => {}
    }
}

/// One object: unknown fields and nulls go, defaults come, what remains is walked.
fn level(
    node: &Node,
    fields: &mut Map<String, Value>,
    path: &Path<'_>,
    unknown: &mut Vec<String>,
    known: fn(&str) -> bool,
) {
    // A value of the wrong type is not pruned to nothing; validation says what is wrong with it.
    if !matches!(node.kind, Kind::Object | Kind::Any) {
        return;
    }
    let open = node.is_open();
    fields.retain(|name, value| {
        if known(name) {
            return true;
        }
        match node.properties.get(name) {
            Some(property) => !(value.is_null() && !property.nullable && !property.preserve),
            None if open => match &node.additional {
                Additional::Each(each) => !(value.is_null() && !each.nullable && !each.preserve),
                Additional::Any | Additional::None => true,
            },
            None => {
                note(unknown, &path.field(name));
                false
            }
        }
    });
    for (name, property) in &node.properties {
        match fields.get_mut(name) {
            Some(value) => walk(property, value, &path.field(name), unknown),
            None => {
                if let Some(default) = &property.default {
                    let mut value = default.clone();
                    walk(property, &mut value, &path.field(name), unknown);
                    fields.insert(name.clone(), value);
                }
            }
        }
    }
    if let Additional::Each(each) = &node.additional
        && !each.inert
    {
        for (name, value) in fields
            .iter_mut()
            .filter(|(name, _)| !node.properties.contains_key(*name))
        {
            walk(each, value, &path.field(name), unknown);
        }
    }
}

/// Notes a field that is dropped. Only the first ones are named, and a path is as long as the keys above it.
fn note(unknown: &mut Vec<String>, path: &Path<'_>) {
    if unknown.len() < MOST_FAULTS {
        unknown.push(short(path, LONGEST));
    }
}

/// What `ObjectMeta` leaves out: its fields are absent rather than empty.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn prune_metadata(metadata: &mut Map<String, Value>, path: &Path<'_>, unknown: &mut Vec<String>) {
    metadata.retain(|name, value| {
        let known = object::is_metadata_field(name);
        if !known {
            note(unknown, &path.field(name));
        }
        known && !is_nothing(value)
    });
    let Some(Value::Array(owners)) = metadata.get_mut("ownerReferences") else {
        return;
    };
    let owners_path = path.field("ownerReferences");
    for (index, owner) in owners.iter_mut().enumerate() {
        let Value::Object(owner) = owner else {
            continue;
        };
        owner.retain(|name, value| {
            let known = matches!(
                name.as_str(),
                "apiVersion" | "blockOwnerDeletion" | "controller" | "kind" | "name" | "uid"
            );
            if !known {
                note(unknown, &owners_path.index(index).field(name));
            }
            known && !value.is_null()
        });
    }
}
