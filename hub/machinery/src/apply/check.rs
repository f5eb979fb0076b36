//! Whether an applied configuration fits its type: `TypedValue.validate` of structured-merge-diff, in its words.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    fields_v1, items,
    types::{MapType, Relation, Scalar, Type, View},
};

/// The first thing that does not fit, as `.spec.replicas: expected numeric (int or float), got string`.
pub(super) fn first_fault(kind: &Type, value: &Value) -> Option<String> {
    walk(kind, value).map(|(path, fault)| format!("{path}: {fault}"))
}

/// A path and what is wrong there.
type Fault = (String, String);

fn walk(kind: &Type, value: &Value) -> Option<Fault> {
    let here = |fault: String| Some((String::new(), fault));
    match (kind.view(Some(value)), value) {
        (_, Value::Null) => None,
        (View::Scalar(scalar), value) => scalar_fault(scalar, value).and_then(here),
        (View::Map(map), Value::Object(fields)) => fields
            .iter()
            .find_map(|(name, value)| below(format!(".{name}"), field(map, name, value))),
        (View::Map(_), other) => here(format!("expected map, got {}", described(other))),
        (View::List(list), Value::Array(all)) => {
            let mut seen = BTreeSet::new();
            all.iter().enumerate().find_map(|(index, item)| {
                if let Relation::Atomic = list.relation {
                    return below(format!("[{index}]"), walk(&list.element, item));
                }
                let step = match items::identity(list, item) {
                    Err(fault) => return here(format!("element {index}: {fault}")),
                    Ok(step) => step,
                };
                let name = fields_v1::step_text(&step);
                if !seen.insert(step) {
                    return here(format!("duplicate entries for key {name}"));
                }
                below(name, walk(&list.element, item))
            })
        }
        (View::List(_), other) => here(format!("expected list, got {}", described(other))),
    }
}

fn below(step: String, fault: Option<Fault>) -> Option<Fault> {
    fault.map(|(path, fault)| (step + &path, fault))
}

fn field(map: &MapType, name: &str, value: &Value) -> Option<Fault> {
    if !map.names(name) && map.element.is_none() {
        return Some((String::new(), "field not declared in schema".to_owned()));
    }
    walk(map.field(name), value)
}

fn scalar_fault(scalar: Scalar, value: &Value) -> Option<String> {
    let (fits, wanted) = match scalar {
        Scalar::Any => (!value.is_object() && !value.is_array(), "scalar"),
        Scalar::Text => (value.is_string(), "string"),
        Scalar::Number => (value.is_number(), "numeric (int or float)"),
        Scalar::Flag => (value.is_boolean(), "boolean"),
    };
    (!fits).then(|| format!("expected {wanted}, got {}", described(value)))
}

/// The type of a value as the messages name it.
fn described(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}
