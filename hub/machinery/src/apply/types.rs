//! What of a value is owned as a whole and what part by part, compiled from a kind's schema.
//!
//! The rules are those by which kube-apiserver turns OpenAPI into a structured-merge-diff schema
//! (`kube-openapi/pkg/schemaconv`): objects are owned field by field, lists as a whole, unless
//! `x-kubernetes-map-type` or `x-kubernetes-list-type` says otherwise. What has no schema is deduced from the value.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::{Map, Value, json};

/// How a value is owned.
#[derive(Clone, Debug)]
pub struct Type(pub(super) Shape);

#[derive(Clone, Debug)]
pub(super) enum Shape {
    Scalar(Scalar),
    Map(MapType),
    List(ListType),
    /// As the value says.
    Deduced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Text,
    Number,
    Flag,
    Any,
}

#[derive(Clone, Debug, Default)]
pub(super) struct MapType {
    pub(super) fields: BTreeMap<String, Type>,
    /// What fields are that have no name in the schema; `None` when there may be no such fields.
    pub(super) element: Option<Box<Type>>,
    pub(super) atomic: bool,
}

#[derive(Clone, Debug)]
pub(super) struct ListType {
    pub(super) element: Box<Type>,
    pub(super) relation: Relation,
}

/// What makes two items of a list the same.
#[derive(Clone, Debug)]
pub(super) enum Relation {
    /// Nothing: the list is owned as a whole.
    Atomic,
    /// Being equal.
    Set,
    /// Having equal keys; a key may have a default.
    Keys(Vec<(String, Option<Value>)>),
}

/// A type looked at with a value in hand.
#[derive(Clone, Copy, Debug)]
pub(super) enum View<'a> {
    Scalar(Scalar),
    Map(&'a MapType),
    List(&'a ListType),
}

static DEDUCED: Type = Type(Shape::Deduced);

static DEDUCED_MAP: LazyLock<MapType> = LazyLock::new(|| MapType {
    element: Some(Box::new(DEDUCED.clone())),
    ..MapType::default()
});

static DEDUCED_LIST: LazyLock<ListType> = LazyLock::new(|| ListType {
    element: Box::new(DEDUCED.clone()),
    relation: Relation::Atomic,
});

/// `ObjectMeta`, with the merge keys of its Go type.
static METADATA: LazyLock<Type> = LazyLock::new(|| {
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let text = json!({ "type": "string" });
    let number = json!({ "type": "integer" });
    let flag = json!({ "type": "boolean" });
    Type::value(
        &json!({ "type": "object", "properties": {
            "annotations": texts, "labels": texts,
            "creationTimestamp": text, "deletionTimestamp": text, "deletionGracePeriodSeconds": number,
            "finalizers": { "type": "array", "items": text, "x-kubernetes-list-type": "set" },
            "generateName": text, "generation": number, "name": text, "namespace": text,
            "managedFields": { "type": "array", "items": { "type": "object" } },
            "ownerReferences": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"],
                "items": { "type": "object", "x-kubernetes-map-type": "atomic", "properties": {
                    "apiVersion": text, "kind": text, "name": text, "uid": text,
                    "controller": flag, "blockOwnerDeletion": flag } } },
            "resourceVersion": text, "selfLink": text, "uid": text,
        } }),
        false,
    )
});

impl Type {
    /// Compiles the schema of a whole object.
    #[must_use]
    pub fn of_object(document: &Value) -> Self {
        let mut compiled = Self::value(document, false);
        if let Shape::Map(root) = &mut compiled.0 {
            complete(root);
        } else {
            let mut root = MapType::clone(&DEDUCED_MAP);
            complete(&mut root);
            compiled = Self(Shape::Map(root));
        }
        compiled
    }

    /// What an object is of whose kind nothing is known, its metadata included: objects field by field, lists as a whole.
    #[must_use]
    pub fn unknown() -> Self {
        DEDUCED.clone()
    }

    /// Compiles the schema of a value; `open` is said by a level above that preserves unknown fields.
    fn value(document: &Value, open: bool) -> Self {
        let Value::Object(schema) = document else {
            return DEDUCED.clone();
        };
        let open = open || flag(schema, "x-kubernetes-preserve-unknown-fields");
        let shape = match kind(schema) {
            Some("object") => map(schema, open),
            Some("array") => list(schema, open),
            Some("string") => Shape::Scalar(Scalar::Text),
            Some("integer" | "number") => Shape::Scalar(Scalar::Number),
            Some("boolean") => Shape::Scalar(Scalar::Flag),
            _ => Shape::Deduced,
        };
        Self(shape)
    }

    /// The type of a value at hand; what is deduced from null is a map, as in structured-merge-diff.
    pub(super) fn view(&self, value: Option<&Value>) -> View<'_> {
        match &self.0 {
            Shape::Scalar(scalar) => View::Scalar(*scalar),
            Shape::Map(map) => View::Map(map),
            Shape::List(list) => View::List(list),
            Shape::Deduced => match value {
                None | Some(Value::Null | Value::Object(_)) => View::Map(&DEDUCED_MAP),
                Some(Value::Array(_)) => View::List(&DEDUCED_LIST),
                Some(_) => View::Scalar(Scalar::Any),
            },
        }
    }
}

impl MapType {
    /// The type of a field; what the schema does not know is deduced.
    pub(super) fn field(&self, name: &str) -> &Type {
        self.fields
            .get(name)
            .or(self.element.as_deref())
            .unwrap_or(&DEDUCED)
    }

    /// Whether the schema knows the field by name.
    pub(super) fn names(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }
}

/// Adds what every object has.
fn complete(root: &mut MapType) {
    for name in ["apiVersion", "kind"] {
        let text = Type(Shape::Scalar(Scalar::Text));
        root.fields.insert(name.to_owned(), text);
    }
    root.fields.insert("metadata".to_owned(), METADATA.clone());
}

/// The one type that the schema names, if it names one.
fn kind(schema: &Map<String, Value>) -> Option<&str> {
    if flag(schema, "x-kubernetes-int-or-string")
        || schema.get("format").and_then(Value::as_str) == Some("int-or-string")
    {
        return None;
    }
    match schema.get("type") {
        Some(Value::String(name)) => Some(name),
        Some(Value::Array(names)) => {
            let mut names = names
                .iter()
                .filter_map(Value::as_str)
                .filter(|name| *name != "null");
            match (names.next(), names.next()) {
                (Some(name), None) => Some(name),
                _ => None,
            }
        }
        _ if schema.contains_key("properties") => Some("object"),
        _ => None,
    }
}

fn map(schema: &Map<String, Value>, open: bool) -> Shape {
    let properties = schema.get("properties").and_then(Value::as_object);
    let fields: BTreeMap<String, Type> = properties
        .into_iter()
        .flatten()
        .map(|(name, schema)| (name.clone(), Type::value(schema, open)))
        .collect();
    let element = match schema.get("additionalProperties") {
        Some(each @ Value::Object(_)) => Some(Type::value(each, open)),
        _ if properties.is_none() || open => Some(DEDUCED.clone()),
        _ => None,
    };
    let mut map = MapType {
        fields,
        element: element.map(Box::new),
        atomic: schema.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic"),
    };
    if flag(schema, "x-kubernetes-embedded-resource") {
        complete(&mut map);
    }
    Shape::Map(map)
}

fn list(schema: &Map<String, Value>, open: bool) -> Shape {
    let items = schema.get("items").unwrap_or(&Value::Null);
    let relation = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => Relation::Set,
        Some("map") => {
            let keys = schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array);
            let keys = keys.into_iter().flatten().filter_map(Value::as_str);
            let default = |key: &str| items.get("properties")?.get(key)?.get("default").cloned();
            Relation::Keys(keys.map(|key| (key.to_owned(), default(key))).collect())
        }
        _ => Relation::Atomic,
    };
    Shape::List(ListType {
        element: Box::new(Type::value(items, open)),
        relation,
    })
}

fn flag(schema: &Map<String, Value>, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}
