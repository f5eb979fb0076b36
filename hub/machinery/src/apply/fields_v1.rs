//! FieldsV1: how `metadata.managedFields` writes a set of fields, and how messages write a path.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::set::{Entry, FieldSet};

/// What says that the level itself belongs to the set, beside what is below it.
const SELF: &str = ".";

/// Why a value is no FieldsV1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a set of fields is not an object")]
    NotObject,
    #[error("the path element {0:?} is malformed")]
    Element(String),
}

/// Reads a set. Path elements of an unknown kind are left out, as Kubernetes does for those of later versions.
///
/// # Errors
/// When it is none.
pub(super) fn read(fields: &Value) -> Result<FieldSet, Malformed> {
    let Value::Object(fields) = fields else {
        return Err(Malformed::NotObject);
    };
    let mut steps = Vec::with_capacity(fields.len());
    for (key, below) in fields {
        if key == SELF {
            continue;
        }
        let Some(step) = canonical(key)? else {
            continue;
        };
        let Value::Object(children) = below else {
            return Err(Malformed::NotObject);
        };
        let entry = Entry {
            member: children.is_empty() || children.contains_key(SELF),
            below: read(below)?,
        };
        steps.push((step, entry));
    }
    Ok(steps.into_iter().collect())
}

/// Writes a set.
pub(super) fn write(set: &FieldSet) -> Value {
    let level = set.steps().map(|(step, entry)| {
        let mut below = match write(&entry.below) {
            Value::Object(below) => below,
            _ => Map::new(),
        };
        if entry.member && !below.is_empty() {
            below.insert(SELF.to_owned(), Value::Object(Map::new()));
        }
        (step.to_owned(), Value::Object(below))
    });
    Value::Object(level.collect())
}

/// The one way in which a path element is written here: other writers order keys and escape texts otherwise.
fn canonical(element: &str) -> Result<Option<Box<str>>, Malformed> {
    let malformed = || Malformed::Element(element.to_owned());
    let (kind, rest) = element.split_once(':').ok_or_else(malformed)?;
    match kind {
        "f" => Ok(Some(element.into())),
        "v" => {
            let value: Value = serde_json::from_str(rest).map_err(|_| malformed())?;
            Ok(Some(value_step(&value)))
        }
        "k" => match serde_json::from_str(rest) {
            Ok(Value::Object(keys)) => Ok(Some(key_step(&keys))),
            _ => Err(malformed()),
        },
        "i" => {
            let index: i64 = rest.parse().map_err(|_| malformed())?;
            Ok(Some(index_step(index)))
        }
        _ if kind.len() == 1 => Ok(None),
        _ => Err(malformed()),
    }
}

/// A field of an object.
pub(super) fn field_step(name: &str) -> Box<str> {
    format!("f:{name}").into()
}

/// An item of a set.
pub(super) fn value_step(value: &Value) -> Box<str> {
    format!("v:{value}").into()
}

/// An item of a list with keys.
pub(super) fn key_step(keys: &Map<String, Value>) -> Box<str> {
    // Maps of serde_json are sorted, as the keys of a path element are.
    let mut step = String::from("k:{");
    for (at, (name, value)) in keys.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        // A String takes every write.
        let _ = write!(step, "{comma}{}:{value}", Value::from(name.as_str()));
    }
    step.push('}');
    step.into()
}

/// An item that has no identity but its place.
pub(super) fn index_step(index: i64) -> Box<str> {
    format!("i:{index}").into()
}

/// A path as messages have it: `.spec.taints[key="a"].effect`.
pub(super) fn path_text(path: &[&str]) -> String {
    path.iter().map(|step| step_text(step)).collect()
}

pub(super) fn step_text(step: &str) -> String {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    match step.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("k", keys)) => {
            let keys = parse(keys);
            let pairs = keys
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| format!("{name}={}", value_text(value)));
            format!("[{}]", pairs.collect::<Vec<_>>().join(","))
        }
        Some(("v", value)) => format!("[={}]", value_text(&parse(value))),
        Some(("i", index)) => format!("[{index}]"),
        _ => step.to_owned(),
    }
}

/// A value as Go's `value.ToString` writes it.
fn value_text(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(value_text).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name}={}", value_text(value)))
                .collect();
            format!("{{{}}}", fields.join(";"))
        }
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}
