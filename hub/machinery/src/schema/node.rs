//! One level of a schema, read from OpenAPI v3 once so that the walks do no parsing.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::{Error, number::Bound, rule::Rule};

/// What a value must be, and what its parts must be.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) nullable: bool,
    /// `x-kubernetes-preserve-unknown-fields`
    pub(super) preserve: bool,
    /// `x-kubernetes-embedded-resource`
    pub(super) embedded: bool,
    pub(super) properties: BTreeMap<String, Node>,
    pub(super) additional: Additional,
    pub(super) items: Option<Box<Node>>,
    pub(super) required: Vec<String>,
    pub(super) default: Option<Value>,
    pub(super) list: List,
    pub(super) rules: Rules,
    pub(super) logic: Option<Box<Logic>>,
    /// CEL rules on this value.
    pub(super) validations: Vec<Rule>,
    /// Whether there are rules here or below.
    pub(super) ruled: bool,
    /// Whether one of those looks at the old value.
    pub(super) looks_back: bool,
    /// Whether normalising can change anything below here.
    pub(super) inert: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Kind {
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
}

#[derive(Clone, Debug, Default)]
pub(super) enum Additional {
    #[default]
    None,
    Any,
    Each(Box<Node>),
}

/// `x-kubernetes-list-type`
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum List {
    #[default]
    Atomic,
    Set,
    Map(Vec<String>),
}

/// The rules for one value.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pub(super) enumeration: Option<Vec<Value>>,
    pub(super) format: Option<String>,
    pub(super) pattern: Option<Regex>,
    pub(super) minimum: Option<Bound>,
    pub(super) maximum: Option<Bound>,
    pub(super) multiple_of: Option<f64>,
    pub(super) min_length: Option<usize>,
    pub(super) max_length: Option<usize>,
    pub(super) min_items: Option<usize>,
    pub(super) max_items: Option<usize>,
    pub(super) min_properties: Option<usize>,
    pub(super) max_properties: Option<usize>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Logic {
    pub(super) all: Vec<Node>,
    pub(super) any: Vec<Node>,
    pub(super) one: Vec<Node>,
    pub(super) not: Option<Node>,
}

impl Node {
    pub(super) fn parse(document: &Value, path: &str) -> Result<Self, Error> {
        let Value::Object(fields) = document else {
            // `true` is how JSON Schema says "anything".
            if document == &Value::Bool(true) {
                return Ok(Self {
                    preserve: true,
                    inert: true,
                    ..Self::default()
                });
            }
            return Err(Error::NotObject {
                path: path.to_owned(),
            });
        };
        let flag = |name: &str| {
            fields
                .get(name)
                .and_then(Value::as_bool)
                .unwrap_or_default()
        };
        let (kind, null) = kind(fields, path)?;
        let mut node = Self {
            kind,
            nullable: null || flag("nullable"),
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            required: texts(fields.get("required")),
            default: fields.get("default").cloned(),
            list: list(fields),
            rules: rules(fields, path)?,
            logic: logic(fields, path)?,
            validations: Rule::parse_all(fields, path)?,
            ..Self::default()
        };
        for (name, property) in fields
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            node.properties.insert(
                name.clone(),
                Self::parse(property, &format!("{path}.{name}"))?,
            );
        }
        node.additional = match fields.get("additionalProperties") {
            None | Some(Value::Bool(false)) => Additional::None,
            Some(Value::Bool(true)) => Additional::Any,
            Some(each) => Additional::Each(Box::new(Self::parse(each, &format!("{path}[*]"))?)),
        };
        if let Some(items) = fields.get("items") {
            node.items = Some(Box::new(Self::parse(items, &format!("{path}[]"))?));
        }
        // No type and no parts: anything goes, as for a field that holds arbitrary JSON.
        if node.kind == Kind::Any && node.properties.is_empty() {
            node.preserve = true;
        }
        node.inert = node.is_inert();
        node.ruled = !node.validations.is_empty() || node.any_part(|part| part.ruled);
        node.looks_back = node.validations.iter().any(|rule| rule.looks_back)
            || node.any_part(|part| part.looks_back);
        Ok(node)
    }

    /// The root: what every object has is looked after elsewhere.
    pub(super) fn make_root(&mut self) {
        for field in ["apiVersion", "kind", "metadata"] {
            self.properties.remove(field);
            self.required.retain(|required| required != field);
        }
        self.kind = Kind::Object;
        self.inert = false;
    }

    /// Whether an object may have fields that are not among the properties.
    pub(super) fn is_open(&self) -> bool {
        self.preserve || !matches!(self.additional, Additional::None)
    }

    fn any_part(&self, has: impl Fn(&Self) -> bool) -> bool {
        let each = match &self.additional {
            Additional::Each(each) => has(each),
            Additional::Any | Additional::None => false,
        };
        each || self.items.as_deref().is_some_and(&has) || self.properties.values().any(has)
    }

    fn is_inert(&self) -> bool {
        let idle = |node: &Self| node.inert && node.default.is_none();
        match self.kind {
            Kind::String | Kind::Boolean | Kind::Number | Kind::IntOrString => true,
            Kind::Integer => false,
            Kind::Array => self.items.as_deref().is_none_or(|items| items.inert),
            Kind::Any | Kind::Object => {
                self.preserve
                    && !self.embedded
                    && self
                        .properties
                        .values()
                        .all(|node| idle(node) && node.nullable)
            }
        }
    }
}

fn kind(fields: &Map<String, Value>, path: &str) -> Result<(Kind, bool), Error> {
    if fields
        .get("x-kubernetes-int-or-string")
        .and_then(Value::as_bool)
        .unwrap_or_default()
        || fields.get("format").and_then(Value::as_str) == Some("int-or-string")
    {
        return Ok((Kind::IntOrString, false));
    }
    let named = |name: &str| {
        Ok(match name {
            "object" => Kind::Object,
            "array" => Kind::Array,
            "string" => Kind::String,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "boolean" => Kind::Boolean,
            other => {
                return Err(Error::UnknownType {
                    path: path.to_owned(),
                    found: other.to_owned(),
                });
            }
        })
    };
    match fields.get("type") {
        None => Ok((Kind::Any, false)),
        Some(Value::String(name)) => Ok((named(name)?, false)),
        // JSON Schema's way to say nullable: `["string", "null"]`.
        Some(Value::Array(names)) => {
            let null = names.iter().any(|name| name == "null");
            let mut others = names
                .iter()
                .filter_map(Value::as_str)
                .filter(|name| *name != "null");
            match (others.next(), others.next()) {
                (Some(name), None) => Ok((named(name)?, null)),
                _ => Ok((Kind::Any, null)),
            }
        }
        Some(other) => Err(Error::UnknownType {
            path: path.to_owned(),
            found: other.to_string(),
        }),
    }
}

fn rules(fields: &Map<String, Value>, path: &str) -> Result<Rules, Error> {
    let size = |name: &str| {
        fields
            .get(name)
            .and_then(Value::as_u64)
            .and_then(|size| usize::try_from(size).ok())
    };
    let pattern = match fields.get("pattern").and_then(Value::as_str) {
        Some(pattern) => Some(Regex::new(pattern).map_err(|source| Error::Pattern {
            path: path.to_owned(),
            source: Box::new(source),
        })?),
        None => None,
    };
    Ok(Rules {
        enumeration: fields.get("enum").and_then(Value::as_array).cloned(),
        format: fields
            .get("format")
            .and_then(Value::as_str)
            .map(str::to_owned),
        pattern,
        minimum: Bound::parse(fields, "minimum", "exclusiveMinimum"),
        maximum: Bound::parse(fields, "maximum", "exclusiveMaximum"),
        multiple_of: fields.get("multipleOf").and_then(Value::as_f64),
        min_length: size("minLength"),
        max_length: size("maxLength"),
        min_items: size("minItems"),
        max_items: size("maxItems"),
        min_properties: size("minProperties"),
        max_properties: size("maxProperties"),
    })
}

fn list(fields: &Map<String, Value>) -> List {
    match fields.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => List::Set,
        Some("map") => List::Map(texts(fields.get("x-kubernetes-list-map-keys"))),
        _ => List::Atomic,
    }
}

fn logic(fields: &Map<String, Value>, path: &str) -> Result<Option<Box<Logic>>, Error> {
    let nodes = |name: &str| -> Result<Vec<Node>, Error> {
        let list = fields.get(name).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .map(|document| Node::parse(document, path))
            .collect()
    };
    let not = fields
        .get("not")
        .map(|document| Node::parse(document, path))
        .transpose()?;
    let logic = Logic {
        all: nodes("allOf")?,
        any: nodes("anyOf")?,
        one: nodes("oneOf")?,
        not,
    };
    let empty =
        logic.all.is_empty() && logic.any.is_empty() && logic.one.is_empty() && logic.not.is_none();
    Ok((!empty).then(|| Box::new(logic)))
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
