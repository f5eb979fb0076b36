mod algebra;
mod model;
mod table;

use serde_json::{Value, json};

use super::{Manager, Scope, Track, Type};
use crate::{ApiError, Object, Result};

/// A kind with one of everything.
fn kind() -> Type {
    let text = json!({ "type": "string" });
    let port = json!({ "type": "object", "required": ["port"], "properties": {
        "port": { "type": "integer" }, "protocol": { "type": "string", "default": "TCP" }, "name": text } });
    let node = json!({ "type": "object", "properties": { "a": text, "b": text } });
    Type::of_object(&json!({ "type": "object", "properties": {
        "spec": { "type": "object", "properties": {
            "size": { "type": "integer" },
            "text": text,
            "node": node,
            "whole": { "type": "object", "x-kubernetes-map-type": "atomic", "properties": { "a": text, "b": text } },
            "map": { "type": "object", "additionalProperties": text },
            "maps": { "type": "object", "additionalProperties": node },
            "list": { "type": "array", "items": text },
            "set": { "type": "array", "items": text, "x-kubernetes-list-type": "set" },
            "ports": { "type": "array", "items": port, "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["port", "protocol"] },
            "any": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
        } },
        "status": { "type": "object", "properties": { "phase": text } },
    } }))
}

fn object(fields: Value) -> Object {
    let mut object = Object::from_applied(fields).unwrap();
    object.set_type("example.org/v1", "Thing");
    object
}

fn manager(name: &str) -> Manager<'_> {
    Manager {
        name,
        subresource: "",
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
    }
}

fn apply(live: &Object, config: Value, by: &str) -> Result<Object> {
    super::apply(
        &kind(),
        Scope::AllButStatus,
        live,
        &object(config),
        &manager(by),
        false,
    )
}

fn force(live: &Object, config: Value, by: &str) -> Object {
    super::apply(
        &kind(),
        Scope::AllButStatus,
        live,
        &object(config),
        &manager(by),
        true,
    )
    .unwrap()
}

fn create(config: Value, by: &str) -> Object {
    let mut created = apply(&object(json!({})), config, by).unwrap();
    created.set_uid("u");
    created
}

/// Replaces the spec as an ordinary update does.
fn update(live: &Object, spec: Value, by: &str) -> Object {
    let mut new = live.clone();
    new.as_map_mut().insert("spec".to_owned(), spec);
    super::update(
        &kind(),
        Scope::AllButStatus,
        live,
        &mut new,
        &manager(by),
        Track::IfTracked,
    );
    new
}

/// The spec as it is stored: a list that lost its last item is null until the schema's rules drop it, as in Kubernetes.
fn spec(object: &Object) -> Value {
    let mut spec = object.spec().cloned().unwrap_or_default();
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    spec
}

/// The managers of an object: name, operation and fields.
fn owners(object: &Object) -> Vec<(String, String, Value)> {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let entries = object
        .metadata()
        .get("managedFields")
        .and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .map(|entry| {
            (
                text(entry, "manager"),
                text(entry, "operation"),
                entry["fieldsV1"].clone(),
            )
        })
        .collect()
}

fn fields_of(object: &Object, manager: &str) -> Value {
    owners(object)
        .into_iter()
        .find(|(name, ..)| name == manager)
        .map_or(Value::Null, |(_, _, fields)| fields)
}

fn message(result: Result<Object>) -> String {
    result.map_or_else(|error: ApiError| error.message, |_| String::new())
}
