//! What differs between two servers by nature, replaced by what it is.

use std::{collections::BTreeMap, sync::OnceLock};

use serde_json::{Map, Value};

use super::Answer;

/// The answer as it is compared. `minor` is the version of the Kubernetes server: before 1.22 it knows no managers of
/// subresources.
#[must_use]
pub fn answer(answer: &Answer, minor: u32) -> Answer {
    let mut plain = answer.clone();
    for value in &mut plain.body {
        self::value(value, minor);
    }
    if minor < 25 {
        // Unknown fields were dropped in silence.
        plain.headers.remove("warning");
    }
    for text in plain.headers.values_mut() {
        *text = self::text(text);
    }
    plain
}

fn value(value: &mut Value, minor: u32) {
    match value {
        Value::Object(fields) => {
            fields.remove("selfLink");
            if fields.get("continue") == Some(&Value::from("")) {
                fields.remove("continue");
            }
            // Items of typed lists do not repeat their type.
            let of = fields.get("apiVersion").and_then(Value::as_str);
            if of.is_some_and(|version| version == "v1" || version.contains(".k8s.io/"))
                && let Some(Value::Array(items)) = fields.get_mut("items")
            {
                for item in items.iter_mut().filter_map(Value::as_object_mut) {
                    item.remove("apiVersion");
                    item.remove("kind");
                }
            }
            documents(fields);
            if fields.get("creationTimestamp") == Some(&Value::Null) {
                fields.remove("creationTimestamp");
            }
            for (name, inside) in fields.iter_mut() {
                match (name.as_str(), &mut *inside) {
                    ("uid", Value::String(text)) if text.len() == 36 => "<uid>".clone_into(text),
                    ("resourceVersion", Value::String(text)) if !text.is_empty() && text != "0" => {
                        "<revision>".clone_into(text);
                    }
                    ("continue", Value::String(text)) if !text.is_empty() => {
                        "<token>".clone_into(text);
                    }
                    ("columnDefinitions", Value::Array(columns)) => {
                        // The docs of columns are our own.
                        let columns = columns.iter_mut().filter_map(Value::as_object_mut);
                        columns.for_each(|column| _ = column.remove("description"));
                    }
                    ("managedFields", Value::Array(entries)) => {
                        *inside = managers(entries, minor);
                    }
                    _ => self::value(inside, minor),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|item| self::value(item, minor)),
        Value::String(found) => *found = self::text(found),
        _ => {}
    }
}

/// Discovery: its lists are sets, and a hub does not know under which address it is reached.
fn documents(fields: &mut Map<String, Value>) {
    fields.remove("serverAddressByClientCIDRs");
    // It tells storage versions apart, and each server makes it in its own way.
    fields.remove("storageVersionHash");
    if let Some(Value::Array(resources)) = fields.get_mut("resources") {
        resources.sort_by_key(|resource| resource["name"].to_string());
    }
    if fields.contains_key("singularName")
        && let Some(Value::Array(verbs)) = fields.get_mut("verbs")
    {
        verbs.sort_by_key(Value::to_string);
    }
    if fields.contains_key("gitVersion") {
        // The version of one product is not another's; what is compared is that each part is there, and a text.
        let parts = fields.values_mut().filter(|value| value.is_string());
        parts.for_each(|value| *value = Value::from("<text>"));
    }
}

/// Replaces times, ages, uids and generated names inside texts.
fn text(text: &str) -> String {
    static PATTERNS: OnceLock<Vec<(regex::Regex, &str)>> = OnceLock::new();
    let patterns = PATTERNS.get_or_init(|| {
        [
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
            (r"^(\d+[dhms])+$", "<age>"),
            (r"\bgen-[a-z0-9]{5}\b", "gen-<random>"),
            (r"(resource ?[vV]ersion[^0-9]{0,20}|too old[^0-9]{0,40}|current: |meta: )\d+( \(\d+\))?", "$1<revision>"),
        ]
        .map(|(pattern, with)| (regex::Regex::new(pattern).expect("a pattern"), with))
        .to_vec()
    });
    patterns
        .iter()
        .fold(text.to_owned(), |text, (pattern, with)| {
            pattern.replace_all(&text, *with).into_owned()
        })
}

/// Managers without times and in one order.
#[must_use]
pub fn managers(entries: &[Value], minor: u32) -> Value {
    let mut merged: BTreeMap<String, Value> = BTreeMap::new();
    for entry in entries {
        let mut entry = entry.clone();
        let Some(fields) = entry.as_object_mut() else {
            continue;
        };
        fields.remove("time");
        let mut owned = fields.remove("fieldsV1").unwrap_or_default();
        if minor < 22 {
            fields.remove("subresource");
            // It did not know yet that a write of the rest leaves the status alone.
            if let Some(owned) = owned.as_object_mut() {
                owned.remove("f:status");
            }
            if owned == Value::Object(Map::new()) {
                continue;
            }
        }
        let identity = entry.to_string();
        unite(
            merged.entry(identity).or_insert(Value::Object(Map::new())),
            owned,
        );
    }
    serde_json::to_value(merged).unwrap_or_default()
}

fn unite(one: &mut Value, other: Value) {
    if let (Value::Object(one), Value::Object(other)) = (one, other) {
        for (name, below) in other {
            unite(one.entry(name).or_insert(Value::Object(Map::new())), below);
        }
    }
}

/// Drops the messages of two refusals that are the same but for the words of Go's decoders and of other parsers.
pub fn same_words(kube: &mut Answer, hub: &mut Answer) {
    static OTHERS: OnceLock<regex::Regex> = OnceLock::new();
    let others = OTHERS.get_or_init(|| {
        let words = "unrecognized \\(must be of type|cannot be handled as|error decoding YAML|StorageError|^strconv|unable to parse requirement\
                     |continue key|field label not supported|jsonpatch|invalid character|namespace of the provided object|regex used for validation\
                     |in the precondition|wrong type|invalid label key|UTC: field is immutable|0x0|supported values|due to an error in our request\
                     |accepted media types include|media types are accepted|Unsupported Media Type|Not Acceptable";
        regex::Regex::new(words).expect("a pattern")
    });
    for (theirs, ours) in kube.body.iter_mut().zip(hub.body.iter_mut()) {
        let message = theirs["message"].as_str().unwrap_or_default();
        if theirs["kind"] != "Status"
            || theirs["reason"] != ours["reason"]
            || !others.is_match(message)
        {
            continue;
        }
        for status in [theirs, ours] {
            if let Some(fields) = status.as_object_mut() {
                fields.remove("message");
                fields.remove("details");
            }
        }
    }
}

/// The first places where two values differ, as `path: kube … hub …`.
#[must_use]
pub fn differences(kube: &Value, hub: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(kube, hub, "", &mut found);
    found
}

fn walk(kube: &Value, hub: &Value, path: &str, found: &mut Vec<String>) {
    match (kube, hub) {
        (Value::Object(one), Value::Object(other)) => {
            for name in one
                .keys()
                .chain(other.keys().filter(|name| !one.contains_key(*name)))
            {
                let absent = Value::from("(absent)");
                let get = |fields: &Map<String, Value>| {
                    fields.get(name).cloned().unwrap_or_else(|| absent.clone())
                };
                walk(&get(one), &get(other), &format!("{path}.{name}"), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (at, (one, other)) in one.iter().zip(other).enumerate() {
                walk(one, other, &format!("{path}[{at}]"), found);
            }
        }
        (one, other) if one != other => {
            found.push(format!("{path}: kube {one}, hub {other}"));
        }
        _ => {}
    }
}
