//! Which fields a value has: `TypedValue.ToFieldSet` of structured-merge-diff.

use serde_json::Value;

use super::{
    fields_v1::field_step,
    items,
    set::{Entry, FieldSet},
    types::{ListType, MapType, Relation, Type, View},
};

/// The fields of an object.
pub(super) fn of(kind: &Type, value: &Value) -> FieldSet {
    walk(kind, value).below
}

fn walk(kind: &Type, value: &Value) -> Entry {
    match (kind.view(Some(value)), value) {
        (View::Map(map), _) if map.atomic => Entry::leaf(),
        (View::Map(map), Value::Object(fields)) => below(
            fields
                .iter()
                .map(|(name, value)| (field_step(name), field(map, name, value)))
                .collect(),
        ),
        (View::List(list), _) if matches!(list.relation, Relation::Atomic) => Entry::leaf(),
        (View::List(list), Value::Array(items)) => below(self::items(list, items)),
        (View::Scalar(_), _) => Entry::leaf(),
        // Null, or of the wrong type: it has no parts, and its parent says that it is there.
        (View::Map(_) | View::List(_), _) => Entry::default(),
    }
}

fn below(below: FieldSet) -> Entry {
    Entry {
        member: false,
        below,
    }
}

fn field(map: &MapType, name: &str, value: &Value) -> Entry {
    let mut entry = walk(map.field(name), value);
    let empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
    entry.member |= empty || !map.names(name);
    entry
}

fn items(list: &ListType, items: &[Value]) -> FieldSet {
    let identified = items.iter().filter_map(|item| {
        let mut entry = walk(&list.element, item);
        entry.member = true;
        Some((items::step(list, item)?, entry))
    });
    identified.collect()
}
