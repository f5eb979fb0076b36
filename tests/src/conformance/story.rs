//! Random stories of writes to one object, told as rows, and made smaller when they are told differently.

use rand::{RngExt as _, rngs::StdRng};
use serde_json::{Map, Value, json};

use super::{
    row::{Row, Step},
    shape::{Shape, Wild, is_hollow, one_of},
};

/// The group of the kinds that stories are about.
pub const GROUP: &str = "conformance.koinon.dev";
/// Where their objects are.
pub const NAMESPACE: &str = "default";
const MANAGERS: [&str; 3] = ["ann", "bob", "eve"];
/// Writes of one story.
pub const WRITES: usize = 10;

/// A made-up kind: `thing<number>s` in [`GROUP`], with a status.
#[derive(Clone, Debug)]
pub struct Thing {
    number: usize,
    spec: Shape,
}

impl Thing {
    /// The kind of this number with this spec.
    #[must_use]
    pub fn new(number: usize, spec: Shape) -> Self {
        Self { number, spec }
    }

    /// Its CRD.
    #[must_use]
    pub fn definition(&self) -> Value {
        let number = self.number;
        let condition = json!({ "type": "object", "required": ["type"],
            "properties": { "type": { "type": "string" }, "status": { "type": "string" } } });
        let schema = json!({ "type": "object", "properties": {
            "spec": self.spec.schema(),
            "status": { "type": "object", "properties": {
                "phase": { "type": "string" },
                "conditions": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"], "items": condition },
            } },
        } });
        json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("thing{number}s.{GROUP}") },
            "spec": { "group": GROUP, "scope": "Namespaced",
                "names": { "kind": format!("Thing{number}"), "listKind": format!("Thing{number}List"),
                    "plural": format!("thing{number}s"), "singular": format!("thing{number}") },
                "versions": [{ "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                    "schema": { "openAPIV3Schema": schema } }] } })
    }

    fn path(&self) -> String {
        format!(
            "/apis/{GROUP}/v1/namespaces/{NAMESPACE}/thing{}s",
            self.number
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Apply,
    Force,
    Replace,
    Merge,
    /// `add` and `remove` of fields of the spec.
    Json,
    /// An apply that is only tried.
    Dry,
}

/// One write.
#[derive(Clone, Debug)]
struct Write {
    by: &'static str,
    how: How,
    /// To `/status`.
    status: bool,
    /// `metadata`, `spec` and `status`, as far as it has them.
    fields: Value,
}

impl Write {
    /// Whether it makes an object that is not there.
    fn makes(&self) -> bool {
        !self.status && matches!(self.how, How::Apply | How::Force)
    }
}

/// Writes to one object.
#[derive(Clone, Debug)]
pub struct Story {
    thing: Thing,
    writes: Vec<Write>,
}

impl Story {
    /// A story about an object of this kind; the first write makes it. `modern` allows what old versions
    /// own in ways of their own: the status, empty records and maps.
    pub fn random(thing: &Thing, random: &mut StdRng, modern: bool) -> Self {
        // Most stories have no faults at all: a refusal ends nothing, but tells less.
        let faults = if random.random_bool(0.3) { 0.03 } else { 0.0 };
        let wild = Wild { faults, modern };
        let mut writes: Vec<Write> = (0..WRITES).map(|_| write(thing, random, wild)).collect();
        if !writes[0].makes() {
            (writes[0].status, writes[0].how) = (false, How::Apply);
        }
        Self {
            thing: thing.clone(),
            writes,
        }
    }

    /// The story as a row about the object of this number.
    #[must_use]
    pub fn row(&self, at: usize) -> Row {
        Row {
            name: format!("{self:?}"),
            at,
            versions: (0, u32::MAX),
            steps: self
                .writes
                .iter()
                .map(|write| self.step(write, at))
                .collect(),
        }
    }

    fn step(&self, write: &Write, at: usize) -> Step {
        let name = format!("thing-{at}");
        let mut body = write.fields.clone();
        if !matches!(write.how, How::Merge | How::Json) {
            body["apiVersion"] = format!("{GROUP}/v1").into();
            body["kind"] = format!("Thing{}", self.thing.number).into();
            body["metadata"]["name"] = name.clone().into();
        }
        let (method, content_type, query) = match write.how {
            How::Apply => ("PATCH", "application/apply-patch+yaml", ""),
            How::Force => ("PATCH", "application/apply-patch+yaml", "&force=true"),
            How::Dry => ("PATCH", "application/apply-patch+yaml", "&dryRun=All"),
            How::Merge => ("PATCH", "application/merge-patch+json", ""),
            How::Json => ("PATCH", "application/json-patch+json", ""),
            How::Replace => ("PUT", "application/json", ""),
        };
        match write.how {
            How::Replace => body["metadata"]["resourceVersion"] = "$rv".into(),
            How::Json => body = json_patch(&write.fields),
            _ => {}
        }
        let below = if write.status { "/status" } else { "" };
        Step {
            method: method.to_owned(),
            path: format!(
                "{}/{name}{below}?fieldManager={}{query}",
                self.thing.path(),
                write.by
            ),
            content_type: content_type.to_owned(),
            accept: "application/json".to_owned(),
            body: body.to_string().into_bytes(),
            setup: false,
        }
    }

    /// Smaller stories, the smallest first: without a write, or without a part of one. `modern` as for [`Self::random`].
    #[must_use]
    pub fn smaller(&self, modern: bool) -> Vec<Self> {
        let mut found = Vec::new();
        for at in (0..self.writes.len()).rev() {
            let mut less = self.clone();
            less.writes.remove(at);
            found.push(less);
        }
        for (at, write) in self.writes.iter().enumerate() {
            for fields in without_one(&write.fields) {
                let mut less = self.clone();
                less.writes[at].fields = fields;
                found.push(less);
            }
        }
        // It still begins by making the object.
        found.retain(|story| story.writes.first().is_some_and(Write::makes));
        found.retain(|story| {
            modern
                || story
                    .writes
                    .iter()
                    .all(|write| !has_empty(&write.fields, "fields"))
        });
        found
    }

    /// Whether an object has a manager that owns a record, a map or a list that is not empty, and nothing in it.
    #[must_use]
    pub fn has_hollow_owner(&self, object: &Value) -> bool {
        let entries = object["metadata"]["managedFields"].as_array();
        entries.into_iter().flatten().any(|entry| {
            let owned = &entry["fieldsV1"];
            let spec = self
                .thing
                .spec
                .has_hollow(&owned["f:spec"], &object["spec"]);
            let metadata = ["labels", "finalizers"].into_iter().any(|name| {
                let (owned, live) = (
                    &owned["f:metadata"][format!("f:{name}")],
                    &object["metadata"][name],
                );
                is_hollow(owned, live)
            });
            spec || metadata
        })
    }

    /// Without what comes after the write of this number.
    #[must_use]
    pub fn until(&self, at: usize) -> Self {
        let mut less = self.clone();
        less.writes.truncate(at + 1);
        less
    }

    /// The schema of the spec that the story is about.
    #[must_use]
    pub fn schema(&self) -> Value {
        self.thing.spec.schema()
    }
}

fn write(thing: &Thing, random: &mut StdRng, wild: Wild) -> Write {
    let how = match random.random_range(0..12) {
        0..=4 => How::Apply,
        5 | 6 => How::Force,
        7 | 8 => How::Replace,
        9 => How::Merge,
        10 => How::Json,
        _ => How::Dry,
    };
    let mut fields = Map::new();
    let mut metadata = Map::new();
    if random.random_bool(0.4) {
        let labels = ["a", "b"].into_iter().filter(|_| random.random_bool(0.6));
        let labels: Vec<&str> = labels.collect();
        let labels: Map<String, Value> = labels
            .into_iter()
            .map(|key| (key.to_owned(), one_of(random, &["1", "2"])))
            .collect();
        if wild.modern || !labels.is_empty() {
            metadata.insert("labels".to_owned(), labels.into());
        }
    }
    if random.random_bool(0.15) {
        let finalizers = ["example.org/a", "example.org/b"];
        let finalizers: Vec<&str> = finalizers
            .into_iter()
            .filter(|_| random.random_bool(0.5))
            .collect();
        metadata.insert("finalizers".to_owned(), json!(finalizers));
    }
    fields.insert("metadata".to_owned(), metadata.into());
    let status = wild.modern && random.random_bool(0.15);
    if !status || random.random_bool(0.2) {
        fields.insert("spec".to_owned(), thing.spec.value(random, wild));
    }
    if status || wild.modern && random.random_bool(0.1) {
        let mut of = Map::new();
        if random.random_bool(0.5) {
            of.insert("phase".to_owned(), one_of(random, &["on", "off"]));
        }
        let conditions: Vec<Value> = ["A", "B"]
            .into_iter()
            .filter(|_| random.random_bool(0.6))
            .map(|kind| json!({ "type": kind }))
            .collect();
        let conditions: Vec<Value> = conditions
            .into_iter()
            .map(|mut condition| {
                condition["status"] = one_of(random, &["True", "False"]);
                condition
            })
            .collect();
        of.insert("conditions".to_owned(), conditions.into());
        if wild.modern || !of.is_empty() {
            fields.insert("status".to_owned(), of.into());
        }
    }
    Write {
        by: MANAGERS[random.random_range(0..MANAGERS.len())],
        how,
        status,
        fields: fields.into(),
    }
}

/// Sets the fields of the spec one by one, or takes the whole away where there are none.
fn json_patch(fields: &Value) -> Value {
    let Some(spec) = fields["spec"].as_object().filter(|spec| !spec.is_empty()) else {
        return json!([{ "op": "add", "path": "/spec", "value": {} }]);
    };
    spec.iter()
        .map(
            |(name, value)| json!({ "op": "add", "path": format!("/spec/{name}"), "value": value }),
        )
        .collect()
}

/// Whether a record, a map or a list in a value is empty that stories do not have so. Metadata never is, for it has the name.
fn has_empty(value: &Value, name: &str) -> bool {
    match value {
        Value::Object(fields) => {
            (fields.is_empty() && name != "metadata")
                || fields.iter().any(|(name, below)| has_empty(below, name))
        }
        Value::Array(items) => {
            (items.is_empty() && name != "finalizers")
                || items.iter().any(|below| has_empty(below, ""))
        }
        _ => false,
    }
}

/// The same value without one of its fields or items, each in turn.
fn without_one(value: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    match value {
        Value::Object(fields) => {
            for (name, below) in fields {
                let mut less = fields.clone();
                less.remove(name);
                found.push(less.into());
                for smaller in without_one(below) {
                    let mut less = fields.clone();
                    less.insert(name.clone(), smaller);
                    found.push(less.into());
                }
            }
        }
        Value::Array(items) => {
            for (at, below) in items.iter().enumerate() {
                let mut less = items.clone();
                less.remove(at);
                found.push(less.into());
                for smaller in without_one(below) {
                    let mut less = items.clone();
                    less[at] = smaller;
                    found.push(less.into());
                }
            }
        }
        _ => {}
    }
    found
}
