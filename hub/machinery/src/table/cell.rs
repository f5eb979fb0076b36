//! One cell: the first value that a column's path finds, in the column's type.

use jiff::Timestamp;
use serde_json::Value;

use super::age;
use crate::{
    Column, Object,
    jsonpath::{JsonPath, Printed},
};

/// The cell, null when there is nothing to show.
pub(super) fn of(column: &Column, path: &JsonPath, object: &Object, now: Timestamp) -> Value {
    // The path begins at the object, which is a map and not a `Value`; finding it below costs no copy.
    let Some(value) = path.find_in(object.as_map()) else {
        return Value::Null;
    };
    match (column.type_.as_str(), value) {
        (_, Value::Null) => Value::Null,
        ("date", Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(at) => age::human_duration(now.duration_since(at)).into(),
            Err(_) => "<invalid>".into(),
        },
        ("string", value) => Printed(value).to_string().into(),
        ("integer", Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "an integer column shows whole numbers"
            )]
            (None, Some(float)) => (float.trunc() as i64).into(),
            (None, None) => Value::Null,
        },
        ("number", value @ Value::Number(_)) | ("boolean", value @ Value::Bool(_)) => value.clone(),
        _ => Value::Null,
    }
}
