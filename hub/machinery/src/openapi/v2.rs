//! OpenAPI v2 (Swagger) of everything in one document, for clients that predate v3: kubectl before 1.27 explains and
//! validates by it.
//!
//! It is made from the v3 documents, as kube-apiserver makes the v2 schemas of custom resources from their CRDs: what v2
//! cannot say is left out, and what old clients would take too strictly as well.

use serde_json::{Map, Value, json};

const V3: &str = "#/components/schemas/";
const V2: &str = "#/definitions/";

/// Makes the document from those of all groups and versions.
pub(super) fn document(documents: impl IntoIterator<Item = Value>, release: &str) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for mut document in documents {
        if let Some(Value::Object(all)) = document.pointer_mut("/components/schemas") {
            for (name, mut schema) in std::mem::take(all) {
                self::schema(&mut schema);
                definitions.insert(name, schema);
            }
        }
        if let Some(Value::Object(all)) = document.get_mut("paths") {
            paths.extend(
                std::mem::take(all)
                    .into_iter()
                    .map(|(path, item)| (path, self::item(item))),
            );
        }
    }
    json!({
        "swagger": "2.0",
        "info": { "title": "Koinon", "version": release },
        "paths": paths,
        "definitions": definitions,
    })
}

/// Rewrites a schema in place, with all below it.
fn schema(value: &mut Value) {
    let Value::Object(fields) = value else {
        return;
    };
    let is_on =
        |fields: &Map<String, Value>, name: &str| fields.get(name) == Some(&Value::Bool(true));
    // `allOf` of one reference is how v3 gives a reference a description.
    if let Some(Value::Array(all)) = fields.remove("allOf")
        && let [Value::Object(only)] = all.as_slice()
        && let Some(target) = only.get("$ref")
    {
        fields.insert("$ref".to_owned(), target.clone());
    }
    if let Some(Value::String(target)) = fields.get_mut("$ref")
        && let Some(name) = target.strip_prefix(V3)
    {
        *target = format!("{V2}{name}");
    }
    for unknown in ["anyOf", "oneOf", "not"] {
        fields.remove(unknown);
    }
    let nullable = is_on(fields, "nullable");
    fields.remove("nullable");
    if nullable {
        // Old clients have no null: the type would forbid it.
        fields.remove("type");
    }
    if nullable || is_on(fields, "x-kubernetes-preserve-unknown-fields") {
        // They would complain of all that is not listed.
        fields.remove("items");
        fields.remove("properties");
    }
    for bound in ["exclusiveMinimum", "exclusiveMaximum"] {
        if fields.get(bound).is_some_and(Value::is_number) {
            fields.remove(bound);
        }
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(schema);
    }
    for part in ["items", "additionalProperties"] {
        if let Some(part) = fields.get_mut(part) {
            schema(part);
        }
    }
}

fn item(item: Value) -> Value {
    let Value::Object(fields) = item else {
        return item;
    };
    let fields = fields.into_iter().map(|(name, value)| {
        let value = match value {
            Value::Array(list) if name == "parameters" => list.into_iter().map(parameter).collect(),
            value => operation(value),
        };
        (name, value)
    });
    Value::Object(fields.collect())
}

fn operation(value: Value) -> Value {
    let Value::Object(mut fields) = value else {
        return value;
    };
    let mut parameters: Vec<Value> = match fields.remove("parameters") {
        Some(Value::Array(list)) => list.into_iter().map(parameter).collect(),
        _ => Vec::new(),
    };
    if let Some(body) = fields.remove("requestBody") {
        let content = body.get("content").and_then(Value::as_object);
        let content = content.cloned().unwrap_or_default();
        let consumes: Vec<&String> = content.keys().collect();
        let mut schema = content
            .values()
            .next()
            .map(|one| one["schema"].clone())
            .unwrap_or_default();
        self::schema(&mut schema);
        let required = body.get("required").cloned().unwrap_or(Value::Bool(true));
        parameters
            .push(json!({ "name": "body", "in": "body", "required": required, "schema": schema }));
        fields.insert("consumes".to_owned(), json!(consumes));
    }
    fields.insert("parameters".to_owned(), parameters.into());
    fields.insert("produces".to_owned(), json!(["application/json"]));
    if let Some(Value::Object(responses)) = fields.get_mut("responses") {
        for response in responses.values_mut() {
            let mut plain = json!({ "description": response["description"] });
            if let Some(schema) = response.pointer_mut("/content/application~1json/schema") {
                self::schema(schema);
                plain["schema"] = schema.take();
            }
            *response = plain;
        }
    }
    Value::Object(fields)
}

/// In v2 what the schema of a parameter says stands beside its name.
fn parameter(value: Value) -> Value {
    let Value::Object(mut fields) = value else {
        return value;
    };
    if let Some(Value::Object(schema)) = fields.remove("schema") {
        fields.extend(schema);
    }
    Value::Object(fields)
}
