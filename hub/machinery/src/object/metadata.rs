//! The types of `ObjectMeta`, checked once when an object is decoded.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::{ApiError, Result};

pub use jiff::Timestamp;

/// A timestamp as Kubernetes writes `metav1.Time`: UTC, whole seconds.
#[must_use]
pub fn timestamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

enum Shape {
    Text,
    Integer,
    Time,
    TextMap,
    TextList,
    ObjectList,
}

const FIELDS: &[(&str, Shape)] = &[
    ("annotations", Shape::TextMap),
    ("creationTimestamp", Shape::Time),
    ("deletionGracePeriodSeconds", Shape::Integer),
    ("deletionTimestamp", Shape::Time),
    ("finalizers", Shape::TextList),
    ("generateName", Shape::Text),
    ("generation", Shape::Integer),
    ("labels", Shape::TextMap),
    ("managedFields", Shape::ObjectList),
    ("name", Shape::Text),
    ("namespace", Shape::Text),
    ("ownerReferences", Shape::ObjectList),
    ("resourceVersion", Shape::Text),
    ("selfLink", Shape::Text),
    ("uid", Shape::Text),
];

/// Whether `ObjectMeta` has such a field.
pub(crate) fn is_metadata_field(field: &str) -> bool {
    FIELDS
        .binary_search_by(|(name, _)| (*name).cmp(field))
        .is_ok()
}

pub(super) fn empty() -> &'static Map<String, Value> {
    static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    &EMPTY
}

/// Checks the types of the metadata and drops its nulls, which Kubernetes reads as absent.
pub(super) fn coerce(fields: &mut Map<String, Value>) -> Result<()> {
    for field in ["apiVersion", "kind"] {
        if let Some(value) = fields.get(field).filter(|value| !value.is_string()) {
            return Err(mismatch(field, json_type(value), "string"));
        }
    }
    let metadata = match fields.get_mut("metadata") {
        None => return Ok(()),
        Some(Value::Null) => {
            fields.remove("metadata");
            return Ok(());
        }
        Some(Value::Object(metadata)) => metadata,
        Some(other) => return Err(mismatch("metadata", json_type(other), "ObjectMeta")),
    };
    metadata.retain(|_, value| !value.is_null());
    for field in ["labels", "annotations"] {
        if let Some(Value::Object(map)) = metadata.get_mut(field) {
            // Go's decoder reads null as the zero value, and templates leave such behind.
            let nulls = map.values_mut().filter(|value| value.is_null());
            nulls.for_each(|value| *value = Value::from(""));
        }
    }
    check_fields(metadata)
}

/// Checks the metadata of an object inside an object.
pub(crate) fn check_metadata(metadata: &Value) -> Result<()> {
    match metadata {
        Value::Object(metadata) => check_fields(metadata),
        other => Err(mismatch("metadata", json_type(other), "ObjectMeta")),
    }
}

fn check_fields(metadata: &Map<String, Value>) -> Result<()> {
    for (name, shape) in FIELDS {
        if let Some(value) = metadata.get(*name).filter(|value| !value.is_null()) {
            check(name, shape, value)?;
        }
    }
    Ok(())
}

fn check(name: &str, shape: &Shape, value: &Value) -> Result<()> {
    let path = || format!("metadata.{name}");
    match (shape, value) {
        (Shape::Text, Value::String(_)) => Ok(()),
        (Shape::Text, other) => Err(mismatch(&path(), json_type(other), "string")),
        (Shape::Integer, value) if value.is_i64() => Ok(()),
        (Shape::Integer, other) => Err(mismatch(&path(), json_type(other), "int64")),
        (Shape::Time, Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(_) => Ok(()),
            Err(_) => Err(ApiError::bad_request(format!(
                "{}: {text:?} is not an RFC 3339 time",
                path()
            ))),
        },
        (Shape::Time, other) => Err(mismatch(&path(), json_type(other), "Time")),
        (Shape::TextMap, Value::Object(map)) => match map.values().find(|value| !value.is_string())
        {
            Some(other) => Err(mismatch(&path(), json_type(other), "string")),
            None => Ok(()),
        },
        (Shape::TextMap, other) => Err(mismatch(&path(), json_type(other), "map[string]string")),
        (Shape::TextList, Value::Array(list)) => match list.iter().find(|value| !value.is_string())
        {
            Some(other) => Err(mismatch(&path(), json_type(other), "string")),
            None => Ok(()),
        },
        (Shape::TextList, other) => Err(mismatch(&path(), json_type(other), "[]string")),
        (Shape::ObjectList, Value::Array(list)) => {
            match list.iter().find(|value| !value.is_object()) {
                Some(other) => Err(mismatch(&path(), json_type(other), "object")),
                None => Ok(()),
            }
        }
        (Shape::ObjectList, other) => Err(mismatch(&path(), json_type(other), "[]object")),
    }
}

fn mismatch(path: &str, found: &str, wanted: &str) -> ApiError {
    ApiError::bad_request(format!(
        "json: cannot unmarshal {found} into Go struct field ObjectMeta.{path} of type {wanted}"
    ))
}

/// The JSON type as Go's decoder names it.
pub(crate) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
