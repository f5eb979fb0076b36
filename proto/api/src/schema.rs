//! Turns what schemars derives into what Kubernetes accepts as a structural schema.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// Rewrites a derived schema in place, with everything below it.
///
/// `Option` must not become `nullable`: an API server drops a `null` sent for a field that is not nullable before it
/// applies defaults, and keeps one that is. OCM's schemas have one nullable field; it says so itself.
pub fn tidy(schema: &mut Schema) {
    if let Some(object) = schema.as_object_mut() {
        tidy_object(object);
    }
}

/// Rewrites the schema of a status: tidy, and without defaults, as nobody but its writer completes a status.
pub fn tidy_status(schema: &mut Schema) {
    tidy(schema);
    if let Some(object) = schema.as_object_mut() {
        drop_defaults(object);
    }
}

fn drop_defaults(object: &mut Map<String, Value>) {
    object.remove("default");
    let children = object.get_mut("properties").and_then(Value::as_object_mut);
    children
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(Value::as_object_mut)
        .for_each(drop_defaults);
    if let Some(Value::Object(items)) = object.get_mut("items") {
        drop_defaults(items);
    }
}

fn tidy_object(object: &mut Map<String, Value>) {
    for key in ["properties", "patternProperties"] {
        if let Some(Value::Object(children)) = object.get_mut(key) {
            children.values_mut().for_each(tidy_value);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = object.get_mut(key) {
            tidy_value(child);
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(Value::Array(children)) = object.get_mut(key) {
            children.iter_mut().for_each(tidy_value);
        }
    }
    drop_null_type(object);
    hoist_optional(object);
    object.remove("title");
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
    match object.get("format").and_then(Value::as_str) {
        Some("uint32") => _ = object.insert("format".into(), "int32".into()),
        Some("uint64") => _ = object.insert("format".into(), "int64".into()),
        _ => {}
    }
    if object.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true))
        && !object.contains_key("nullable")
    {
        // kube adds `nullable: true` to optional ones that say nothing.
        object.insert("nullable".into(), Value::Bool(false));
    }
}

fn tidy_value(value: &mut Value) {
    if let Value::Object(object) = value {
        tidy_object(object);
    }
}

/// `type: [string, null]` becomes `type: string`.
fn drop_null_type(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|t| t != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
        if let Some(Value::Array(values)) = object.get_mut("enum") {
            values.retain(|v| !v.is_null());
        }
    }
}

/// `anyOf: [X, null]` becomes `X`; what the field says of itself wins over what its type says.
fn hoist_optional(object: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = object.get("anyOf") else {
        return;
    };
    let is_null = |v: &Value| v.get("type") == Some(&json!("null"));
    if variants.len() != 2 || !variants.iter().any(is_null) {
        return;
    }
    let inner = variants.iter().find(|v| !is_null(v)).cloned();
    object.remove("anyOf");
    if let Some(Value::Object(inner)) = inner {
        for (key, value) in inner {
            object.entry(key).or_insert(value);
        }
    }
}

/// The schema of a list of conditions, keyed by type.
pub fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let time = generator.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>();
    let mut transition = time.to_value();
    transition["description"] = json!("When status last changed.");
    json_schema!({
        "type": "array",
        "description": "Conditions say what was observed of this object, one for each type.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One observed aspect of the object.",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": transition,
                "message": {
                    "type": "string", "maxLength": 32768,
                    "description": "Details for people; may be empty.",
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "The generation that this condition was set for.",
                },
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "Why, as one CamelCase word for programs.",
                },
                "status": {
                    "type": "string", "enum": ["True", "False", "Unknown"],
                    "description": "True, False or Unknown.",
                },
                "type": {
                    "type": "string", "maxLength": 316,
                    "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                    "description": "What the condition is about.",
                },
            },
        },
    })
}

/// The schema of a map from resource name to quantity.
pub fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": {
            "x-kubernetes-int-or-string": true,
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
            "pattern": "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$",
        },
    })
}

/// The schema of an embedded Kubernetes object, kept as it was sent.
pub fn embedded(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "A Kubernetes object.",
        "x-kubernetes-embedded-resource": true,
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// Conditions, as they appear in every status.
pub type Conditions = Vec<Condition>;
