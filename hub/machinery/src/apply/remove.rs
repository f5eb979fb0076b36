//! Fields taken out of an object: `TypedValue.RemoveItems` of structured-merge-diff.

use serde_json::{Map, Value};

use super::{
    fields_v1::field_step,
    items,
    set::{Entry, FieldSet},
    types::{Relation, Type, View},
};

/// The value without the fields of a set. A list or object that loses its last part becomes null, as in Go.
pub(super) fn remove(kind: &Type, value: &Value, fields: &FieldSet) -> Value {
    if fields.is_empty() {
        return value.clone();
    }
    match (kind.view(Some(value)), value) {
        (View::Scalar(_), value) => value.clone(),
        (View::Map(map), Value::Object(present)) if !map.atomic => {
            let left: Map<String, Value> = present
                .iter()
                .filter_map(|(name, value)| {
                    kept(map.field(name), value, fields.step(&field_step(name)))
                        .map(|value| (name.clone(), value))
                })
                .collect();
            if left.is_empty() {
                Value::Null
            } else {
                Value::Object(left)
            }
        }
        (View::List(list), Value::Array(present)) if !matches!(list.relation, Relation::Atomic) => {
            let left: Vec<Value> = present
                .iter()
                .filter_map(|item| {
                    let step = items::step(list, item);
                    kept(
                        &list.element,
                        item,
                        step.and_then(|step| fields.step(&step)),
                    )
                })
                .collect();
            if left.is_empty() {
                Value::Null
            } else {
                Value::Array(left)
            }
        }
        _ => Value::Null,
    }
}

fn kept(kind: &Type, value: &Value, removed: Option<&Entry>) -> Option<Value> {
    match removed {
        None => Some(value.clone()),
        Some(entry) if entry.member => None,
        Some(entry) => Some(remove(kind, value, &entry.below)),
    }
}

/// The set with every field that the schema names and that something in the set is below of
/// (`Set.EnsureNamedFieldsAreMembers`): who owned all of a named field owned the field.
pub(super) fn with_named_fields(kind: &Type, set: &FieldSet) -> FieldSet {
    below(Some(kind), set)
}

fn below(kind: Option<&Type>, set: &FieldSet) -> FieldSet {
    // Without a value in hand, what is deduced is a map or a list by what is below it; neither names fields.
    let steps = set.steps().map(|(step, entry)| {
        let (named, kind) = match (kind.map(|kind| kind.view(None)), step.split_once(':')) {
            (Some(View::Map(map)), Some(("f", name))) => (map.names(name), Some(map.field(name))),
            (Some(View::List(list)), Some(("k", _))) => (false, Some(&*list.element)),
            _ => (false, None),
        };
        let entry = Entry {
            member: entry.member || named && !entry.below.is_empty(),
            below: below(kind, &entry.below),
        };
        (step.into(), entry)
    });
    steps.collect()
}
