//! OpenAPI v2 as protobuf: the messages of gnostic's `OpenAPIv2.proto`, as far as our document has what they hold.
//!
//! client-go asks for this form alone when it reads `/openapi/v2`.

use serde_json::{Map, Value};

/// Writes the whole document.
pub(super) fn document(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, &document["swagger"]);
    let mut info = Message::default();
    info.text(1, &document["info"]["title"]);
    info.text(2, &document["info"]["version"]);
    out.message(2, info);
    let mut paths = Message::default();
    paths.named(2, &document["paths"], item);
    out.message(8, paths);
    let mut definitions = Message::default();
    definitions.named(1, &document["definitions"], schema);
    out.message(9, definitions);
    out.0
}

fn item(value: &Value) -> Message {
    let mut out = Message::default();
    for (field, method) in [
        (2, "get"),
        (3, "put"),
        (4, "post"),
        (5, "delete"),
        (8, "patch"),
    ] {
        if let Some(value) = value.get(method) {
            out.message(field, operation(value));
        }
    }
    out.each(9, &value["parameters"], parameter);
    out
}

fn operation(value: &Value) -> Message {
    let mut out = Message::default();
    out.texts(1, &value["tags"]);
    out.text(3, &value["description"]);
    out.text(5, &value["operationId"]);
    out.texts(6, &value["produces"]);
    out.texts(7, &value["consumes"]);
    out.each(8, &value["parameters"], parameter);
    let mut responses = Message::default();
    responses.named(1, &value["responses"], response);
    out.message(9, responses);
    out.extensions(13, value);
    out
}

/// `ParametersItem`: three levels of choices around what is meant.
fn parameter(value: &Value) -> Message {
    let mut inner = Message::default();
    let place = value["in"].as_str().unwrap_or_default();
    let parameter = if place == "body" {
        inner.text(1, &value["description"]);
        inner.text(2, &value["name"]);
        inner.text(3, &value["in"]);
        inner.flag(4, &value["required"]);
        inner.message(5, schema(&value["schema"]));
        inner.inside(1)
    } else {
        inner.flag(1, &value["required"]);
        inner.text(2, &value["in"]);
        inner.text(3, &value["description"]);
        inner.text(4, &value["name"]);
        // Parameters of the query have one field more before their type.
        let (kind, unique, choice) = if place == "query" {
            (6, 20, 3)
        } else {
            (5, 19, 4)
        };
        inner.text(kind, &value["type"]);
        inner.flag(unique, &value["uniqueItems"]);
        inner.inside(choice).inside(2)
    };
    parameter.inside(1)
}

fn response(value: &Value) -> Message {
    let mut response = Message::default();
    response.text(1, &value["description"]);
    if value["schema"].is_object() {
        response.message(2, schema(&value["schema"]).inside(1));
    }
    response.inside(1)
}

fn schema(value: &Value) -> Message {
    let mut out = Message::default();
    out.text(1, &value["$ref"]);
    out.text(2, &value["format"]);
    out.text(4, &value["description"]);
    if let Some(default) = value.get("default") {
        out.message(5, any(default));
    }
    for (field, name) in [(6, "multipleOf"), (7, "maximum"), (9, "minimum")] {
        out.number(field, &value[name]);
    }
    out.flag(8, &value["exclusiveMaximum"]);
    out.flag(10, &value["exclusiveMinimum"]);
    for (field, name) in [
        (11, "maxLength"),
        (12, "minLength"),
        (14, "maxItems"),
        (15, "minItems"),
        (17, "maxProperties"),
        (18, "minProperties"),
    ] {
        out.integer(field, &value[name]);
    }
    out.text(13, &value["pattern"]);
    out.flag(16, &value["uniqueItems"]);
    out.texts(19, &value["required"]);
    out.each(20, &value["enum"], any);
    match value.get("additionalProperties") {
        Some(Value::Bool(open)) => {
            let mut choice = Message::default();
            // A choice is written even when it is the default.
            choice.varint(2, u64::from(*open));
            out.message(21, choice);
        }
        Some(each @ Value::Object(_)) => out.message(21, schema(each).inside(1)),
        _ => {}
    }
    if value["type"].is_string() {
        let mut kind = Message::default();
        kind.text(1, &value["type"]);
        out.message(22, kind);
    }
    if value["items"].is_object() {
        out.message(23, schema(&value["items"]).inside(1));
    }
    if value["properties"].is_object() {
        let mut properties = Message::default();
        properties.named(1, &value["properties"], schema);
        out.message(25, properties);
    }
    out.extensions(31, value);
    out
}

/// Anything, as YAML text: JSON is YAML.
fn any(value: &Value) -> Message {
    let mut out = Message::default();
    out.bytes(2, value.to_string().as_bytes());
    out
}

/// A protobuf message that is being written. Absent values and defaults are left out, as proto3 has it.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn raw(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.raw(field << 3);
        self.raw(value);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.raw(field << 3 | 2);
        self.raw(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, message: Self) {
        self.bytes(field, &message.0);
    }

    /// A message with this one as its only field.
    fn inside(self, field: u64) -> Self {
        let mut outer = Self::default();
        outer.message(field, self);
        outer
    }

    fn text(&mut self, field: u64, value: &Value) {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u64, value: &Value) {
        for text in value.as_array().into_iter().flatten() {
            self.text(field, text);
        }
    }

    fn flag(&mut self, field: u64, value: &Value) {
        if value == &Value::Bool(true) {
            self.varint(field, 1);
        }
    }

    fn integer(&mut self, field: u64, value: &Value) {
        if let Some(number) = value.as_u64().filter(|number| *number > 0) {
            self.varint(field, number);
        }
    }

    fn number(&mut self, field: u64, value: &Value) {
        if let Some(number) = value.as_f64().filter(|number| *number != 0.0) {
            self.raw(field << 3 | 1);
            self.0.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn each(&mut self, field: u64, list: &Value, write: fn(&Value) -> Self) {
        for value in list.as_array().into_iter().flatten() {
            self.message(field, write(value));
        }
    }

    /// The values of an object, each with its name.
    fn named(&mut self, field: u64, object: &Value, write: fn(&Value) -> Self) {
        self.pairs(field, object.as_object(), |_| true, write);
    }

    fn extensions(&mut self, field: u64, object: &Value) {
        self.pairs(
            field,
            object.as_object(),
            |name| name.starts_with("x-"),
            any,
        );
    }

    fn pairs(
        &mut self,
        field: u64,
        object: Option<&Map<String, Value>>,
        wanted: fn(&str) -> bool,
        write: fn(&Value) -> Self,
    ) {
        for (name, value) in object
            .into_iter()
            .flatten()
            .filter(|(name, _)| wanted(name))
        {
            let mut pair = Self::default();
            pair.bytes(1, name.as_bytes());
            pair.message(2, write(value));
            self.message(field, pair);
        }
    }
}
