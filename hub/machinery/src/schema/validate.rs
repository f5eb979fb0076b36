//! Judging a value, in the words of the API server's validation of custom resources.

use serde_json::{Number, Value};

use super::{
    embedded, format,
    node::{Additional, Kind, Logic, Node, Rules},
    unique,
};
use crate::{Cause, Object, are_enough, path::Path};

/// Judges an object. Of what it replaces, what stays as it is was judged before: by an older schema perhaps, and then nobody could let
/// go of it any more. Kubernetes lets it pass as well, since 1.30.
pub(super) fn object(root: &Node, object: &Object, old: Option<&Object>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let path = Path::Root;
    for name in &root.required {
        if object.get(name).is_none() {
            causes.push(Cause::required(path.field(name), ""));
        }
    }
    for (name, property) in &root.properties {
        let before = old.and_then(|old| old.get(name));
        if let Some(value) = object.get(name).filter(|value| before != Some(*value)) {
            walk(property, value, &path.field(name), &mut causes);
        }
    }
    causes
}

/// One field of the object alone.
pub(super) fn field(root: &Node, object: &Object, name: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    match (root.properties.get(name), object.get(name)) {
        (Some(property), Some(value)) => {
            walk(property, value, &Path::Root.field(name), &mut causes);
        }
        (_, None) if root.required.iter().any(|required| required == name) => {
            causes.push(Cause::required(Path::Root.field(name), ""));
        }
        _ => {}
    }
    causes
}

fn walk(node: &Node, value: &Value, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if are_enough(causes) {
        return;
    }
    if value.is_null() && node.nullable {
        return;
    }
    if let Some(wanted) = mismatch(node.kind, value) {
        let found = type_name(value);
        let detail = format!("{path} in body must be of type {wanted}: {found:?}");
        causes.push(Cause::type_invalid(path, found, &detail));
        return;
    }
    match value {
        Value::Object(fields) => {
            for name in node
                .required
                .iter()
                .filter(|name| !fields.contains_key(*name))
            {
                causes.push(Cause::required(path.field(name), ""));
            }
            if node.embedded {
                embedded::check(fields, path, causes);
            }
            for (name, value) in fields {
                match (node.properties.get(name), &node.additional) {
                    (Some(property), _) => walk(property, value, &path.field(name), causes),
                    (None, Additional::Each(each)) => walk(each, value, &path.key(name), causes),
                    (None, _) => {}
                }
            }
            properties(&node.rules, fields.len(), path, causes);
        }
        Value::Array(list) => {
            items(&node.rules, list.len(), path, causes);
            if let Some(each) = node.items.as_deref() {
                for (index, item) in list.iter().enumerate() {
                    walk(each, item, &path.index(index), causes);
                }
            }
            unique::check(&node.list, list, path, causes);
        }
        Value::String(text) => self::text(&node.rules, text, path, causes),
        Value::Number(number) => self::number(&node.rules, number, path, causes),
        Value::Bool(_) | Value::Null => {}
    }
    if let Some(allowed) = &node.rules.enumeration
        && !allowed.contains(value)
    {
        let names: Vec<String> = allowed.iter().map(plain).collect();
        causes.push(Cause::not_supported(
            path,
            value.clone(),
            names.iter().map(String::as_str),
        ));
    }
    if let Some(logic) = node.logic.as_deref() {
        self::logic(logic, value, path, causes);
    }
}

/// The wanted type, if the value is of another.
fn mismatch(kind: Kind, value: &Value) -> Option<&'static str> {
    let (fits, wanted) = match kind {
        Kind::Any => return value.is_null().then_some("object"),
        Kind::Object => (value.is_object(), "object"),
        Kind::Array => (value.is_array(), "array"),
        Kind::String => (value.is_string(), "string"),
        // An integer beyond 64 signed bits is none that a Kubernetes type can hold.
        Kind::Integer => (value.is_i64(), "integer"),
        Kind::Number => (value.is_number(), "number"),
        Kind::Boolean => (value.is_boolean(), "boolean"),
        Kind::IntOrString => (value.is_i64() || value.is_string(), "integer,string"),
    };
    (!fits).then_some(wanted)
}

/// The type of a value as OpenAPI names it.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn text(rules: &Rules, text: &str, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let mut complain = |detail: String| causes.push(Cause::invalid(path, text, &detail));
    if let Some(min) = rules.min_length
        && text.chars().take(min).count() < min
    {
        complain(format!(
            "{path} in body should be at least {min} chars long"
        ));
    }
    if let Some(pattern) = &rules.pattern
        && !pattern.is_match(text)
    {
        complain(format!("{path} in body should match '{pattern}'"));
    }
    if let Some(format) = &rules.format
        && !format::accepts(format, text)
    {
        complain(format!("{path} in body must be of type {format}: {text:?}"));
    }
    // A text of n bytes has at most n runes: most need no counting.
    if let Some(max) = rules.max_length
        && text.len() > max
        && text.chars().nth(max).is_some()
    {
        causes.push(Cause::too_long(path, max));
    }
}

fn number(rules: &Rules, number: &Number, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let mut complain = |detail: String| causes.push(Cause::invalid(path, number.clone(), &detail));
    if let Some(format) = &rules.format
        && !format::fits(format, number)
    {
        complain(format!(
            "{path} in body must be of type {format}: \"{number}\""
        ));
    }
    if let Some(bound) = &rules.minimum
        && !bound.allows_above(number)
    {
        let words = if bound.exclusive {
            "greater than"
        } else {
            "greater than or equal to"
        };
        complain(format!("{path} in body should be {words} {bound}"));
    }
    if let Some(bound) = &rules.maximum
        && !bound.allows_below(number)
    {
        let words = if bound.exclusive {
            "less than"
        } else {
            "less than or equal to"
        };
        complain(format!("{path} in body should be {words} {bound}"));
    }
    if let (Some(step), Some(value)) = (rules.multiple_of, number.as_f64())
        && step != 0.0
        && (value / step).fract() != 0.0
    {
        complain(format!("{path} in body should be a multiple of {step}"));
    }
}

fn items(rules: &Rules, count: usize, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if let Some(min) = rules.min_items.filter(|min| count < *min) {
        causes.push(Cause::invalid(
            path,
            count,
            &format!("{path} in body should have at least {min} items"),
        ));
    }
    if let Some(max) = rules.max_items.filter(|max| count > *max) {
        causes.push(Cause::too_many(path, count, max));
    }
}

fn properties(rules: &Rules, count: usize, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if let Some(min) = rules.min_properties.filter(|min| count < *min) {
        causes.push(Cause::invalid(
            path,
            count,
            &format!("{path} in body should have at least {min} properties"),
        ));
    }
    if let Some(max) = rules.max_properties.filter(|max| count > *max) {
        causes.push(Cause::too_many(path, count, max));
    }
}

fn logic(logic: &Logic, value: &Value, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let holds = |node: &Node| {
        let mut found = Vec::new();
        walk(node, value, path, &mut found);
        found.is_empty()
    };
    for node in &logic.all {
        walk(node, value, path, causes);
    }
    let mut complain = |what: &str| {
        causes.push(Cause::invalid(
            path,
            value.clone(),
            &format!("{path} in body {what}"),
        ))
    };
    if !logic.any.is_empty() && !logic.any.iter().any(holds) {
        complain("must validate at least one schema (anyOf)");
    }
    if !logic.one.is_empty() && logic.one.iter().filter(|node| holds(node)).count() != 1 {
        complain("must validate one and only one schema (oneOf)");
    }
    if logic.not.as_ref().is_some_and(holds) {
        complain("must not validate the schema (not)");
    }
}
