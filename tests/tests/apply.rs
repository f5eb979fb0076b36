//! Server-side apply against the original: random writes go to a kube-apiserver with a CRD of one of everything and through
//! `koinon_machinery::apply`; after each, object, owners and conflicts must be the same.
//!
//! `APPLY_SEED` chooses the stories, `APPLY_STORIES` how many; a failure names its seed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use koinon_machinery::{
    ApiError, Object, Schema,
    apply::{self, Manager, Scope, Track, Type},
};
use koinon_tests::{
    Member,
    conformance::{Answer, Server, normal, row::Step},
    eventually,
    tools::kubernetes_minor,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Map, Value, json};

const THINGS: &str = "/apis/conformance.koinon.dev/v1/namespaces/default/things";
const MANAGERS: [&str; 3] = ["ann", "bob", "eve"];
/// Writes of one story.
const WRITES: usize = 10;

fn schema() -> Value {
    let text = json!({ "type": "string" });
    let node = json!({ "type": "object", "properties": { "a": text, "b": text } });
    json!({ "type": "object", "properties": { "spec": { "type": "object", "properties": {
        "size": { "type": "integer" }, "text": text, "node": node,
        "whole": { "type": "object", "x-kubernetes-map-type": "atomic", "properties": { "a": text, "b": text } },
        "map": { "type": "object", "additionalProperties": text },
        "maps": { "type": "object", "additionalProperties": node },
        "list": { "type": "array", "items": text },
        "set": { "type": "array", "items": text, "x-kubernetes-list-type": "set" },
        "ports": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": { "type": "object", "required": ["port", "protocol"], "properties": {
                "port": { "type": "integer" }, "protocol": { "type": "string", "default": "TCP" }, "name": text, "node": node } } },
        "any": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
        "either": { "x-kubernetes-int-or-string": true },
    } } } })
}

fn definition() -> Value {
    json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "things.conformance.koinon.dev" },
        "spec": { "group": "conformance.koinon.dev", "scope": "Namespaced",
            "names": { "kind": "Thing", "listKind": "ThingList", "plural": "things", "singular": "thing" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema() } }] } })
}

/// One write.
#[derive(Clone, Debug)]
struct Write {
    by: &'static str,
    how: How,
    fields: Value,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Apply,
    Force,
    Replace,
    Merge,
}

fn write(random: &mut StdRng) -> Write {
    let how = match random.random_range(0..8) {
        0..=3 => How::Apply,
        4 | 5 => How::Force,
        6 => How::Replace,
        _ => How::Merge,
    };
    Write {
        by: MANAGERS[random.random_range(0..MANAGERS.len())],
        how,
        fields: fields(random),
    }
}

fn fields(random: &mut StdRng) -> Value {
    let mut metadata = Map::new();
    if random.random_bool(0.5) {
        let labels = some(random, &["a", "b"], |random| one_of(random, &["1", "2"]));
        metadata.insert("labels".to_owned(), labels);
    }
    if random.random_bool(0.2) {
        let finalizers = list(random, &["example.org/a", "example.org/b"]);
        metadata.insert("finalizers".to_owned(), finalizers);
    }
    let mut spec = Map::new();
    for (field, often) in [
        ("size", 0.4),
        ("text", 0.4),
        ("node", 0.4),
        ("whole", 0.3),
        ("map", 0.4),
        ("maps", 0.3),
        ("list", 0.3),
        ("set", 0.4),
        ("ports", 0.5),
        ("any", 0.3),
        ("either", 0.2),
    ] {
        if !random.random_bool(often) {
            continue;
        }
        let value = match field {
            "size" => json!(random.random_range(0..2)),
            "text" => one_of(random, &["x", "y"]),
            "node" | "whole" => node(random),
            "map" => some(random, &["k", "l", "m"], |random| {
                one_of(random, &["1", "2"])
            }),
            "maps" => some(random, &["k", "l"], node),
            "list" | "set" => list(random, &["p", "q", "r"]),
            "ports" => ports(random),
            "any" => some(random, &["x", "y"], anything),
            _ => anything(random),
        };
        let value = match (field, value) {
            ("either", Value::Object(_) | Value::Array(_)) => json!(1),
            (_, value) => value,
        };
        spec.insert(field.to_owned(), value);
    }
    json!({ "metadata": metadata, "spec": spec })
}

fn one_of(random: &mut StdRng, texts: &[&str]) -> Value {
    texts[random.random_range(0..texts.len())].into()
}

fn list(random: &mut StdRng, texts: &[&str]) -> Value {
    let mut items: Vec<&str> = texts
        .iter()
        .copied()
        .filter(|_| random.random_bool(0.5))
        .collect();
    if random.random_bool(0.3) {
        items.reverse();
    }
    json!(items)
}

/// Some of the keys; now and then none.
fn some(random: &mut StdRng, keys: &[&str], mut value: impl FnMut(&mut StdRng) -> Value) -> Value {
    let mut map = Map::new();
    for key in keys {
        if random.random_bool(0.6) {
            map.insert((*key).to_owned(), value(random));
        }
    }
    Value::Object(map)
}

fn node(random: &mut StdRng) -> Value {
    some(random, &["a", "b"], |random| one_of(random, &["1", "2"]))
}

fn ports(random: &mut StdRng) -> Value {
    let mut ports = Vec::new();
    for port in 1..=2 {
        for protocol in ["", "UDP"] {
            if random.random_bool(0.4) {
                let mut item = json!({ "port": port });
                if !protocol.is_empty() {
                    item["protocol"] = protocol.into();
                }
                if random.random_bool(0.5) {
                    item["name"] = one_of(random, &["x", "y"]);
                }
                if random.random_bool(0.3) {
                    item["node"] = node(random);
                }
                ports.push(item);
            }
        }
    }
    Value::Array(ports)
}

fn anything(random: &mut StdRng) -> Value {
    match random.random_range(0..5) {
        0 => json!(1),
        1 => json!("t"),
        2 => json!([1, 2]),
        3 => json!({ "z": 1 }),
        _ => json!({ "z": { "w": "t" }, "v": [] }),
    }
}

fn complete(write: &Write, name: &str) -> Value {
    let mut object = write.fields.clone();
    if write.how != How::Merge {
        object["apiVersion"] = "conformance.koinon.dev/v1".into();
        object["kind"] = "Thing".into();
        object["metadata"]["name"] = name.into();
    }
    object
}

/// Sends a write to Kubernetes; the object must exist for all but an apply.
async fn theirs(
    kube: &Server,
    name: &str,
    write: &Write,
    revision: &str,
) -> anyhow::Result<Answer> {
    let mut body = complete(write, name);
    let (method, content_type) = match write.how {
        How::Apply | How::Force => ("PATCH", "application/apply-patch+yaml"),
        How::Merge => ("PATCH", "application/merge-patch+json"),
        How::Replace => ("PUT", "application/json"),
    };
    if write.how == How::Replace {
        body["metadata"]["resourceVersion"] = revision.into();
    }
    let force = if write.how == How::Force {
        "&force=true"
    } else {
        ""
    };
    let step = Step {
        method: method.to_owned(),
        path: format!("{THINGS}/{name}?fieldManager={}{force}", write.by),
        content_type: content_type.to_owned(),
        accept: "application/json".to_owned(),
        body: body.to_string().into_bytes(),
        setup: false,
    };
    kube.ask(&step, &BTreeMap::new()).await
}

/// The same write by our own code, as the hub's registry makes it.
fn ours(
    schema: &Schema,
    ownership: &Type,
    live: &Object,
    name: &str,
    write: &Write,
) -> Result<Object, ApiError> {
    let writer = Manager {
        name: write.by,
        subresource: "",
        now: "2026-01-01T00:00:00Z".parse().expect("a time"),
    };
    let mut new = match write.how {
        How::Apply | How::Force => {
            let config = Object::from_applied(complete(write, name))?;
            let force = write.how == How::Force;
            apply::apply(ownership, Scope::Everything, live, &config, &writer, force)?
        }
        How::Replace => {
            let mut new = Object::from_value(complete(write, name))?;
            new.set_uid(live.uid());
            new
        }
        How::Merge => {
            let mut value = live.clone().into_value();
            koinon_machinery::patch::merge_into(&mut value, &write.fields);
            Object::from_value(value)?
        }
    };
    schema.normalize(&mut new);
    if matches!(write.how, How::Replace | How::Merge) {
        apply::update(
            ownership,
            Scope::Everything,
            live,
            &mut new,
            &writer,
            Track::IfTracked,
        );
    }
    new.set_uid("u");
    Ok(new)
}

/// What is compared of an object: what it says and who says it.
fn shown(object: &Value, minor: u32) -> Value {
    let mut spec = object["spec"].clone();
    if minor < 27 {
        // Before, merged lists began with what was there.
        for field in ["set", "ports"] {
            if let Some(Value::Array(items)) = spec.get_mut(field) {
                items.sort_by_key(ToString::to_string);
            }
        }
    }
    let metadata = &object["metadata"];
    let finalizers: BTreeSet<String> = metadata["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(ToString::to_string)
        .collect();
    let labels = metadata["labels"].as_object().cloned().unwrap_or_default();
    let managers = normal::managers(
        metadata["managedFields"]
            .as_array()
            .map_or(&[], Vec::as_slice),
        minor,
    );
    json!({ "spec": spec, "labels": labels, "finalizers": finalizers, "managers": managers })
}

fn conflicts(status: &Value) -> BTreeSet<String> {
    let causes = status["details"]["causes"].as_array();
    causes
        .into_iter()
        .flatten()
        .map(|cause| format!("{}: {}", cause["field"], cause["message"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn random_writes_are_owned_as_in_kubernetes() -> anyhow::Result<()> {
    let setting = |name: &str, default: u64| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (seed, stories) = (setting("APPLY_SEED", 1), setting("APPLY_STORIES", 60));
    let minor = kubernetes_minor()?;
    let dir = tempfile::tempdir()?;
    let member = Member::reference("kube", dir.path()).await?;
    member.kubectl().apply(&definition().to_string()).await?;
    let kube = Server {
        name: "kube",
        client: member.client().await?,
    };
    eventually("things are served", async || {
        let first = Write {
            by: "ann",
            how: How::Apply,
            fields: json!({ "spec": { "set": ["a"] } }),
        };
        let answer = theirs(&kube, "first", &first, "").await?;
        ensure!(answer.code < 300, "{answer:?}");
        Ok(Some(()))
    })
    .await?;

    let schema = Schema::parse(schema())?;
    // Schemas of custom resources do not reach server-side apply in old versions.
    let ownership = if minor < 22 {
        Type::unknown()
    } else {
        schema.ownership().clone()
    };
    let (mut refused, mut emptied) = (0, 0);
    for seed in seed..seed + stories {
        let mut random = StdRng::seed_from_u64(seed);
        let name = format!("thing-{seed}");
        let mut live = Object::new("conformance.koinon.dev/v1", "Thing");
        let mut revision = String::new();
        for at in 0..WRITES {
            let mut write = write(&mut random);
            if at == 0 {
                write.how = How::Apply;
            }
            let answer = theirs(&kube, &name, &write, &revision).await?;
            let theirs = answer.body.first().cloned().unwrap_or_default();
            let what = format!("APPLY_SEED={seed} write {at} {write:?}");
            match ours(&schema, &ownership, &live, &name, &write) {
                // What a merge empties becomes null, which old versions refuse and newer ones, as the hub, drop.
                Ok(_)
                    if answer.code == 422
                        && theirs["message"]
                            .as_str()
                            .is_some_and(|words| words.contains("\"null\"")) =>
                {
                    emptied += 1;
                    break;
                }
                Ok(after) => {
                    ensure!(
                        answer.code < 300,
                        "{what}\nkube refuses: {theirs}\nours: {after:?}"
                    );
                    let (theirs_shown, ours_shown) = (
                        shown(&theirs, minor),
                        shown(&after.clone().into_value(), minor),
                    );
                    let differences = normal::differences(&theirs_shown, &ours_shown);
                    ensure!(
                        differences.is_empty(),
                        "{what}\nbefore: {live:?}\n{}",
                        differences.join("\n")
                    );
                    theirs["metadata"]["resourceVersion"]
                        .as_str()
                        .unwrap_or_default()
                        .clone_into(&mut revision);
                    live = after;
                }
                Err(error) => {
                    refused += 1;
                    ensure!(
                        answer.code == error.code,
                        "{what}\nkube: {} {theirs}\nours: {error:?}",
                        answer.code
                    );
                    ensure!(
                        conflicts(&theirs) == conflicts(&error.to_status()),
                        "{what}\nkube: {theirs}\nours: {error:?}"
                    );
                }
            }
        }
    }
    println!(
        "{stories} stories of {WRITES} writes, {refused} refused by both, {emptied} ended by a null"
    );
    Ok(())
}
