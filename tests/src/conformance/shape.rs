//! Random schemas, and random values that fit them, nearly.

use rand::{RngExt as _, rngs::StdRng};
use serde_json::{Map, Value, json};

/// What a field holds: each form that the schema of a custom resource can give it and server-side apply tells apart.
#[derive(Clone, Debug)]
pub enum Shape {
    Text {
        default: bool,
        nullable: bool,
    },
    Number,
    Flag,
    /// `x-kubernetes-int-or-string`.
    Either,
    Record {
        fields: Fields,
        atomic: bool,
    },
    Map {
        of: Box<Shape>,
        atomic: bool,
    },
    /// A list that is owned as a whole.
    List {
        of: Box<Shape>,
    },
    Set {
        numbers: bool,
    },
    /// A list of records with these keys; with a default, an item may leave the last one out.
    Keyed {
        keys: Vec<&'static str>,
        default: bool,
        fields: Fields,
    },
    /// `x-kubernetes-preserve-unknown-fields`.
    Any,
    /// An object of whatever kind, as the manifests of a work.
    Embedded,
}

/// Named fields of a record.
pub type Fields = Vec<(&'static str, Shape)>;

/// Names of fields.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const KEYS: [&str; 2] = ["port", "protocol"];
/// Levels below `spec`.
const DEPTH: u32 = 3;

/// What values may be beside right.
#[derive(Clone, Copy, Debug)]
pub struct Wild {
    /// How often a value is something that the schema does not allow, of 1.
    pub faults: f64,
    /// Whether records, maps, lists and texts may be empty or null: old versions make null of what is empty, and own it in ways of
    /// their own.
    pub modern: bool,
}

impl Shape {
    /// A record of one of everything; `modern` adds what old versions own in ways of their own.
    #[must_use]
    pub fn everything(modern: bool) -> Self {
        let text = || Self::Text {
            default: false,
            nullable: false,
        };
        let node = |atomic| Self::Record {
            fields: vec![("a", text()), ("b", text())],
            atomic,
        };
        let map = |of, atomic| Self::Map {
            of: Box::new(of),
            atomic,
        };
        let mut fields = vec![
            ("size", Self::Number),
            ("text", text()),
            ("node", node(false)),
            ("whole", node(true)),
            ("map", map(text(), false)),
            ("maps", map(node(false), false)),
            (
                "list",
                Self::List {
                    of: Box::new(text()),
                },
            ),
            ("set", Self::Set { numbers: false }),
            (
                "ports",
                Self::Keyed {
                    keys: KEYS.to_vec(),
                    default: true,
                    fields: vec![("name", text()), ("node", node(false))],
                },
            ),
        ];
        if modern {
            fields.extend([
                ("any", Self::Any),
                ("manifest", Self::Embedded),
                ("either", Self::Either),
            ]);
        }
        Self::Record {
            fields,
            atomic: false,
        }
    }

    /// A record of up to six random fields; `modern` allows the same.
    pub fn random(random: &mut StdRng, modern: bool) -> Self {
        Self::Record {
            fields: fields(random, DEPTH, modern, 3),
            atomic: false,
        }
    }

    fn below(random: &mut StdRng, depth: u32, modern: bool) -> Self {
        if depth == 0 || random.random_bool(0.3) {
            return match random.random_range(0..if modern { 5 } else { 4 }) {
                0 | 1 => Self::Text {
                    // Old versions leave what nobody owns in a record whose owner is gone.
                    default: random.random_bool(0.2) && modern,
                    nullable: random.random_bool(0.2),
                },
                2 => Self::Number,
                3 => Self::Flag,
                _ => Self::Either,
            };
        }
        let below = depth - 1;
        match random.random_range(0..10) {
            0 | 1 => Self::Record {
                fields: fields(random, below, modern, 1),
                atomic: random.random_bool(0.25),
            },
            2 | 3 => Self::Map {
                of: Box::new(Self::below(random, below, modern)),
                atomic: random.random_bool(0.2),
            },
            4 => Self::List {
                of: Box::new(Self::below(random, below, modern)),
            },
            5 => Self::Set {
                numbers: random.random_bool(0.3),
            },
            6..=8 => Self::Keyed {
                keys: KEYS[..random.random_range(1..=2)].to_vec(),
                default: random.random_bool(0.4),
                fields: fields(random, below, modern, 1),
            },
            _ if !modern => Self::Number,
            _ if random.random_bool(0.5) => Self::Any,
            _ => Self::Embedded,
        }
    }

    /// Its OpenAPI schema.
    #[must_use]
    pub fn schema(&self) -> Value {
        match self {
            Self::Text { default, nullable } => {
                let mut schema = json!({ "type": "string" });
                if *default {
                    schema["default"] = "x".into();
                }
                if *nullable {
                    schema["nullable"] = true.into();
                }
                schema
            }
            Self::Number => json!({ "type": "integer" }),
            Self::Flag => json!({ "type": "boolean" }),
            Self::Either => json!({ "x-kubernetes-int-or-string": true }),
            Self::Record { fields, atomic } => {
                let mut schema = record(fields);
                if *atomic {
                    schema["x-kubernetes-map-type"] = "atomic".into();
                }
                schema
            }
            Self::Map { of, atomic } => {
                let mut schema = json!({ "type": "object", "additionalProperties": of.schema() });
                if *atomic {
                    schema["x-kubernetes-map-type"] = "atomic".into();
                }
                schema
            }
            Self::List { of } => json!({ "type": "array", "items": of.schema() }),
            Self::Set { numbers } => {
                let of = if *numbers { "integer" } else { "string" };
                json!({ "type": "array", "x-kubernetes-list-type": "set", "items": { "type": of } })
            }
            Self::Keyed {
                keys,
                default,
                fields,
            } => {
                let mut items = record(fields);
                for key in keys {
                    items["properties"][*key] = match *key {
                        "port" => json!({ "type": "integer" }),
                        _ => json!({ "type": "string" }),
                    };
                }
                let mut required = keys.clone();
                if *default && let Some(last) = required.pop() {
                    items["properties"][last]["default"] = if last == "port" {
                        json!(1)
                    } else {
                        json!("TCP")
                    };
                }
                if !required.is_empty() {
                    items["required"] = json!(required);
                }
                json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys, "items": items })
            }
            Self::Any => json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }),
            Self::Embedded => {
                json!({ "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true })
            }
        }
    }

    /// Whether `owned`, a part of a manager's fields, names a value of this shape (or one in it) that is not empty and is owned part by
    /// part, and none of its parts. `live` is the value.
    #[must_use]
    pub fn has_hollow(&self, owned: &Value, live: &Value) -> bool {
        let within = |fields: &Fields, owned: &Value, live: &Value| {
            fields
                .iter()
                .any(|(name, shape)| shape.has_hollow(&owned[format!("f:{name}")], &live[*name]))
        };
        match self {
            Self::Record { atomic: true, .. } | Self::Map { atomic: true, .. } => false,
            Self::Record { fields, .. } => is_hollow(owned, live) || within(fields, owned, live),
            Self::Map { of, .. } => {
                let entries = owned.as_object().into_iter().flatten();
                is_hollow(owned, live)
                    || entries.into_iter().any(|(step, below)| {
                        let name = step.strip_prefix("f:").unwrap_or_default();
                        of.has_hollow(below, &live[name])
                    })
            }
            Self::Set { .. } => is_hollow(owned, live),
            Self::Keyed { keys, fields, .. } => {
                let entries = owned.as_object().into_iter().flatten();
                is_hollow(owned, live)
                    || entries.into_iter().any(|(step, below)| {
                        let wanted = step.strip_prefix("k:").unwrap_or_default();
                        let wanted: Value = serde_json::from_str(wanted).unwrap_or_default();
                        let items = live.as_array().into_iter().flatten();
                        let mut items = items
                            .into_iter()
                            .filter(|item| keys.iter().all(|key| item[*key] == wanted[*key]));
                        items.any(|item| is_hollow(below, item) || within(fields, below, item))
                    })
            }
            _ => false,
        }
    }

    /// A value of this shape, and now and then one that is not.
    pub fn value(&self, random: &mut StdRng, wild: Wild) -> Value {
        if random.random_bool(wild.faults) {
            return match random.random_range(0..5) {
                0 | 1 if wild.modern => Value::Null,
                2 => json!({ "odd": 1 }),
                3 => json!(["odd"]),
                _ => json!("odd"),
            };
        }
        match self {
            // Old versions make null of an empty text that is applied, and refuse that.
            Self::Text { .. } if !wild.modern => one_of(random, &["x", "y", "y", "z"]),
            Self::Text { .. } => one_of(random, &["x", "y", "y", ""]),
            Self::Number => json!(random.random_range(0..3)),
            Self::Flag => json!(random.random_bool(0.5)),
            Self::Either if random.random_bool(0.5) => json!(random.random_range(0..2)),
            Self::Either => one_of(random, &["50%", "1"]),
            Self::Record { fields, .. } => some(random, fields, wild),
            Self::Map { of, .. } => {
                let mut map = Map::new();
                for key in ["k", "l", "m"] {
                    if random.random_bool(0.5) || (map.is_empty() && !wild.modern) {
                        map.insert(key.to_owned(), of.value(random, wild));
                    }
                }
                Value::Object(map)
            }
            Self::List { of } => {
                let length = random.random_range(usize::from(!wild.modern)..3);
                (0..length).map(|_| of.value(random, wild)).collect()
            }
            Self::Set { numbers } => {
                let mut items: Vec<Value> = (1..=4)
                    .filter(|_| random.random_bool(0.5))
                    .map(|n| {
                        if *numbers {
                            json!(n)
                        } else {
                            json!(format!("p{n}"))
                        }
                    })
                    .collect();
                if items.is_empty() && !wild.modern {
                    items.push(if *numbers { json!(1) } else { json!("p1") });
                }
                shuffle(random, &mut items);
                repeat(random, &mut items, wild);
                Value::Array(items)
            }
            Self::Keyed {
                keys,
                default,
                fields,
            } => {
                let mut items = Vec::new();
                for port in [1, 2] {
                    for protocol in ["TCP", "UDP"] {
                        let last_chance = port == 2 && protocol == "TCP" && items.is_empty();
                        let left_out = random.random_bool(0.6) && (wild.modern || !last_chance);
                        if (keys.len() == 1 && protocol == "UDP") || left_out {
                            continue;
                        }
                        let mut item = some(random, fields, wild);
                        item["port"] = port.into();
                        if keys.len() > 1 {
                            item["protocol"] = protocol.into();
                        }
                        let last = *keys.last().expect("there is a key");
                        let is_default = if last == "port" {
                            port == 1
                        } else {
                            protocol == "TCP"
                        };
                        let left_out = *default && is_default && random.random_bool(0.5);
                        if (left_out || random.random_bool(wild.faults))
                            && let Some(item) = item.as_object_mut()
                        {
                            item.remove(last);
                        }
                        items.push(item);
                    }
                }
                shuffle(random, &mut items);
                repeat(random, &mut items, wild);
                Value::Array(items)
            }
            Self::Any => anything(random),
            Self::Embedded => {
                let mut value =
                    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c" } });
                if random.random_bool(0.6) {
                    value["metadata"]["labels"] = json!({ "a": one_of(random, &["1", "2"]) });
                }
                if random.random_bool(0.6) {
                    value["data"] = anything(random);
                }
                value
            }
        }
    }
}

fn fields(random: &mut StdRng, depth: u32, modern: bool, least: usize) -> Fields {
    let count = random.random_range(least..=NAMES.len());
    NAMES[..count]
        .iter()
        .map(|name| (*name, Shape::below(random, depth, modern)))
        .collect()
}

fn record(fields: &[(&'static str, Shape)]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|(name, shape)| ((*name).to_owned(), shape.schema()))
        .collect();
    json!({ "type": "object", "properties": properties })
}

fn some(random: &mut StdRng, fields: &[(&'static str, Shape)], wild: Wild) -> Value {
    let mut map = Map::new();
    for (name, shape) in fields {
        if random.random_bool(0.45) {
            map.insert((*name).to_owned(), shape.value(random, wild));
        }
    }
    if map.is_empty()
        && !wild.modern
        && let Some((name, shape)) = fields.first()
    {
        map.insert((*name).to_owned(), shape.value(random, wild));
    }
    if random.random_bool(wild.faults) {
        map.insert("unknown".to_owned(), json!(1));
    }
    Value::Object(map)
}

fn anything(random: &mut StdRng) -> Value {
    let mut map = Map::new();
    for key in ["x", "y"] {
        if random.random_bool(0.6) {
            let value = match random.random_range(0..5) {
                0 => json!(1),
                1 => json!("t"),
                2 => json!([1, 2]),
                3 => json!({ "z": 1 }),
                _ => json!({ "z": { "w": "t" }, "v": [] }),
            };
            map.insert(key.to_owned(), value);
        }
    }
    Value::Object(map)
}

/// Whether what is in a value is nobody's while the value itself is somebody's.
#[must_use]
pub fn is_hollow(owned: &Value, live: &Value) -> bool {
    let filled = match live {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    filled && owned.as_object().is_some_and(Map::is_empty)
}

/// One of some texts.
pub fn one_of(random: &mut StdRng, texts: &[&str]) -> Value {
    texts[random.random_range(0..texts.len())].into()
}

fn shuffle(random: &mut StdRng, items: &mut [Value]) {
    for at in (1..items.len()).rev() {
        if random.random_bool(0.2) {
            items.swap(at, random.random_range(0..at));
        }
    }
}

/// Now and then says one thing twice.
fn repeat(random: &mut StdRng, items: &mut Vec<Value>, wild: Wild) {
    if !items.is_empty() && random.random_bool(wild.faults) {
        items.push(items[random.random_range(0..items.len())].clone());
    }
}
