//! One cell: the first value that a column's path finds, in the column's type.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{age, event};
use crate::{
    Column, Object, ShownAs,
    jsonpath::{JsonPath, Printed},
};

/// The cell, null when there is nothing to show.
pub(super) fn of(column: &Column, path: &JsonPath, object: &Object, now: Timestamp) -> Value {
    // The path begins at the object, which is a map and not a `Value`; finding it below costs no copy.
    let found = path.find_in(object.as_map());
    match column.shown_as {
        ShownAs::Value => {}
        ShownAs::RequestStatus => return request_status(found).into(),
        ShownAs::RoleRef => return role_ref(found).into(),
        ShownAs::Subjects(kind) => return subjects(found, kind).into(),
        ShownAs::Seconds => {
            return match found.and_then(Value::as_i64) {
                Some(seconds) => age::human_duration(SignedDuration::from_secs(seconds)).into(),
                None => "<none>".into(),
            };
        }
        ShownAs::Age => return found.map_or_else(|| "<unknown>".into(), |at| age_of(at, now)),
        ShownAs::Event(of) => return event::cell(of, object, now),
        ShownAs::Entries(fields) => {
            let values = fields.iter().filter_map(|field| object.get(field));
            let counts = values.map(|value| match value {
                Value::Object(fields) => fields.len(),
                Value::Array(items) => items.len(),
                _ => 0,
            });
            return counts.sum::<usize>().into();
        }
    }
    let Some(value) = found else {
        return Value::Null;
    };
    match (column.type_.as_str(), value) {
        (_, Value::Null) => Value::Null,
        ("date", value @ Value::String(_)) => age_of(value, now),
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

pub(super) fn age_of(at: &Value, now: Timestamp) -> Value {
    match at.as_str().map(str::parse::<Timestamp>) {
        Some(Ok(at)) => age::human_duration(now.duration_since(at)).into(),
        _ => "<invalid>".into(),
    }
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn role_ref(found: Option<&Value>) -> String {
    found
        .map(|role| format!("{}/{}", text(role, "kind"), text(role, "name")))
        .unwrap_or_default()
}

fn subjects(found: Option<&Value>, kind: &str) -> String {
    let all = found.and_then(Value::as_array).into_iter().flatten();
    let names = all.filter(|one| text(one, "kind") == kind).map(|one| {
        let (namespace, name) = (text(one, "namespace"), text(one, "name"));
        if namespace.is_empty() {
            name.to_owned()
        } else {
            format!("{namespace}/{name}")
        }
    });
    names.collect::<Vec<_>>().join(", ")
}

/// What kube-apiserver prints of the status of a certificate request.
fn request_status(status: Option<&Value>) -> String {
    let part = |name: &str| status.and_then(|status| status.get(name));
    let has = |kind: &str| {
        let conditions = part("conditions").and_then(Value::as_array);
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|condition| condition.get("type").is_some_and(|of| of == kind))
    };
    let mut text = if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if has("Failed") {
        text.push_str(",Failed");
    }
    let certificate = part("certificate").and_then(Value::as_str);
    if certificate.is_some_and(|certificate| !certificate.is_empty()) {
        text.push_str(",Issued");
    }
    text
}
