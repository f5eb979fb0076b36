//! Compares what is declared with what is live. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Hex digest of a value. Object keys are sorted in `serde_json`, so equal values have equal digests.
pub(super) fn digest(value: &Value) -> String {
    format!("{:032x}", fingerprint(value))
}

/// The same as a number, to be remembered of many objects.
pub(super) fn fingerprint(value: &Value) -> u128 {
    let hash = Sha256::digest(value.to_string().as_bytes());
    let first = hash.iter().take(16);
    first.fold(0, |all, byte| all << 8 | u128::from(*byte))
}

/// Fingerprint of what `live` has where `required` declares something, outside of `metadata` and `status`. What others do to the rest
/// of the object does not change it.
pub(super) fn declared_fingerprint(required: &Value, live: &Value) -> u128 {
    let declared: Map<String, Value> = content(required)
        .map(|(key, value)| {
            let live = live.get(key).unwrap_or(&Value::Null);
            (key.clone(), declared(value, live))
        })
        .collect();
    fingerprint(&Value::Object(declared))
}

/// The part of `live` that `required` declares. A list is declared whole: what is in it beside what is declared is part of it.
fn declared(required: &Value, live: &Value) -> Value {
    match (required, live) {
        (Value::Object(required), Value::Object(live)) => {
            let parts = required.iter().map(|(key, value)| {
                let live = live.get(key).unwrap_or(&Value::Null);
                let part = if selects_all(key, value) {
                    live.clone()
                } else {
                    declared(value, live)
                };
                (key.clone(), part)
            });
            Value::Object(parts.collect())
        }
        (Value::Array(required), Value::Array(live)) if required.len() == live.len() => {
            let parts = required.iter().zip(live);
            Value::Array(parts.map(|(r, l)| declared(r, l)).collect())
        }
        (Value::Array(required), Value::Array(live)) => {
            let named = are_named(required) && are_named(live);
            let parts = live.iter().map(|live| {
                let same = required.iter().find(|r| named && name(r) == name(live));
                same.map_or_else(|| live.clone(), |required| declared(required, live))
            });
            Value::Array(parts.collect())
        }
        _ => live.clone(),
    }
}

/// A selector that is declared empty says something: that all is meant.
fn selects_all(key: &str, value: &Value) -> bool {
    (key.ends_with("Selector") || key == "selector") && value.as_object().is_some_and(Map::is_empty)
}

/// What tells the items of many lists apart.
fn name(item: &Value) -> Option<&str> {
    item.get("name").and_then(Value::as_str)
}

/// Says whether names tell all items apart. Those of mounts or subjects may come twice.
fn are_named(items: &[Value]) -> bool {
    let names: BTreeSet<&str> = items.iter().filter_map(name).collect();
    !items.is_empty() && names.len() == items.len()
}

/// Iterates over the fields of an object outside `metadata` and `status`.
pub(super) fn content(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| !matches!(key.as_str(), "metadata" | "status"))
}

/// What a declared zero value (`false`, `0`, `""`, an empty list or map) that is not there means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zero {
    /// The API server left it out, as it does with some.
    LeftOut,
    /// Somebody took it away: not to allow something is not the same as to say nothing of it.
    Missing,
}

/// Says whether everything that `required` declares outside metadata and status is so in `live`.
///
/// Fields that only `live` has are the API server's defaults or somebody else's, and are no difference.
pub(super) fn is_satisfied(required: &Value, live: &Value, zero: Zero) -> bool {
    content(required).all(|(key, value)| within(value, live.get(key).unwrap_or(&Value::Null), zero))
}

/// Says whether `live` has all of `required`, recursively.
pub(super) fn within(required: &Value, live: &Value, zero: Zero) -> bool {
    match (required, live) {
        (Value::Null, Value::Null) => true,
        (required, Value::Null) => zero == Zero::LeftOut && is_zero(required),
        (Value::Object(required), Value::Object(live)) => required.iter().all(|(key, value)| {
            let live = live.get(key).unwrap_or(&Value::Null);
            within(value, live, zero) && (!selects_all(key, value) || is_zero(live))
        }),
        (Value::Array(required), Value::Array(live)) => {
            required.len() == live.len() && required.iter().zip(live).all(|(r, l)| item(r, l, zero))
        }
        (Value::Number(required), Value::Number(live)) => {
            required == live || required.as_f64() == live.as_f64()
        }
        (Value::Null, live) => is_zero(live),
        (required, live) => required == live,
    }
}

/// Like [`within`] for an item of a list, where an empty map says something: `emptyDir: {}` is a choice.
fn item(required: &Value, live: &Value, zero: Zero) -> bool {
    let chosen = required.as_object().into_iter().flatten();
    chosen
        .filter(|(_, value)| value.as_object().is_some_and(Map::is_empty))
        .all(|(key, _)| live.get(key).is_some_and(Value::is_object))
        && within(required, live, zero)
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_zero),
    }
}

/// What becomes of the items of a list that is declared without them, and of a selector that is declared empty, when something is laid
/// over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Further {
    /// The server itself may have put them there.
    Stay,
    /// It is declared whole.
    Go,
}

/// Lays `required` over `live` and keeps what only `live` has.
///
/// For objects that refuse to lose what the server put into them, such as the selector of a Job or the node of a Pod.
pub(super) fn overlay(required: &Value, live: &Value, further: Further) -> Value {
    match (required, live) {
        (Value::Object(required), Value::Object(live)) => {
            let mut merged = live.clone();
            for (key, value) in required {
                let live = live.get(key).unwrap_or(&Value::Null);
                let value = if further == Further::Go && selects_all(key, value) {
                    value.clone()
                } else {
                    overlay(value, live, further)
                };
                merged.insert(key.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(required), Value::Array(live)) => {
            Value::Array(overlay_items(required, live, further))
        }
        (required, _) => required.clone(),
    }
}

fn overlay_items(required: &[Value], live: &[Value], further: Further) -> Vec<Value> {
    if are_named(required) && are_named(live) {
        let mut merged: Vec<Value> = required
            .iter()
            .map(|r| {
                live.iter()
                    .find(|l| name(l) == name(r))
                    .map_or_else(|| r.clone(), |l| overlay(r, l, further))
            })
            .collect();
        if further == Further::Stay {
            let others = live
                .iter()
                .filter(|l| !required.iter().any(|r| name(r) == name(l)));
            merged.extend(others.cloned());
        }
        return merged;
    }
    if required.len() == live.len() {
        // Nothing tells whether an item that is not as declared is the same one.
        let pairs = required.iter().zip(live);
        return pairs
            .map(|(r, l)| match item(r, l, Zero::LeftOut) {
                true => overlay(r, l, further),
                false => r.clone(),
            })
            .collect();
    }
    required.to_vec()
}

#[cfg(test)]
mod tests;
