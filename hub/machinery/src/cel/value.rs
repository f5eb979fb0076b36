//! Between JSON and CEL values.

use std::{collections::HashMap, sync::Arc};

use kube_cel::cel::objects::{Key, Map, Value};

/// The CEL value of a JSON value: whole numbers are `int`, all others `double`.
#[must_use]
pub fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::String(Arc::new(text.clone())),
        serde_json::Value::Array(items) => Value::List(Arc::new(items.iter().map(value).collect())),
        serde_json::Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, field)| (key.as_str().into(), value(field)));
            map(fields)
        }
    }
}

pub(super) fn map(entries: impl IntoIterator<Item = (Key, Value)>) -> Value {
    Value::Map(Map {
        map: Arc::new(entries.into_iter().collect::<HashMap<_, _>>()),
    })
}

/// The JSON of a value; `None` for what JSON has no form for, such as a quantity or a byte string.
#[must_use]
pub fn json(value: &Value) -> Option<serde_json::Value> {
    Some(match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::UInt(value) => (*value).into(),
        Value::Float(value) => serde_json::Number::from_f64(*value)?.into(),
        Value::String(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(json).collect::<Option<Vec<_>>>()?.into(),
        Value::Map(fields) => {
            let field = |(key, value): (&Key, &Value)| Some((key.to_string(), json(value)?));
            serde_json::Value::Object(fields.map.iter().map(field).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}
