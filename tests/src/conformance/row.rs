//! Rows: small stories of requests, read from YAML.

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

/// A story, told to both servers in a namespace of its own.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    /// Its number, which keeps its objects apart from those of others.
    pub at: usize,
    /// The first and the last minor version of Kubernetes that it holds for.
    pub versions: (u32, u32),
    pub steps: Vec<Step>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Step {
    pub method: String,
    pub path: String,
    pub content_type: String,
    pub accept: String,
    pub body: Vec<u8>,
    /// It prepares what is tested and is compared by its code alone.
    pub setup: bool,
}

/// A kind that rows of all kinds are told for.
struct Kind {
    name: &'static str,
    object: fn() -> Value,
}

const CLUSTER: &str = "/apis/cluster.open-cluster-management.io";
const WORK: &str = "/apis/work.open-cluster-management.io";

const KINDS: [Kind; 8] = [
    Kind {
        name: "cm",
        object: || json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "k": "v" } }),
    },
    Kind {
        name: "secret",
        object: || json!({ "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": { "k": "dg==" } }),
    },
    Kind {
        name: "lease",
        object: || json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": { "holderIdentity": "a", "leaseDurationSeconds": 15 } }),
    },
    Kind {
        name: "placement",
        object: || json!({ "apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "Placement", "spec": { "numberOfClusters": 1 } }),
    },
    Kind {
        name: "decision",
        object: || json!({ "apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "PlacementDecision" }),
    },
    Kind {
        name: "score",
        object: || json!({ "apiVersion": "cluster.open-cluster-management.io/v1alpha1", "kind": "AddOnPlacementScore" }),
    },
    Kind {
        name: "set",
        object: || json!({ "apiVersion": "cluster.open-cluster-management.io/v1beta2", "kind": "ManagedClusterSet", "spec": { "clusterSelector": { "selectorType": "ExclusiveClusterSetLabel" } } }),
    },
    Kind {
        name: "mwrs",
        object: || {
            json!({ "apiVersion": "work.open-cluster-management.io/v1alpha1", "kind": "ManifestWorkReplicaSet",
        "spec": { "placementRefs": [{ "name": "p" }], "manifestWorkTemplate": { "workload": { "manifests": [
            { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "namespace": "n" } }] } } } })
        },
    },
];

/// Reads all rows below a folder; a row with `kinds` is told for each of them.
///
/// # Errors
/// When a file is no list of rows.
pub fn load(folder: &Path) -> anyhow::Result<Vec<Row>> {
    let mut files: Vec<_> = std::fs::read_dir(folder)?
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    let mut rows = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let list: Vec<Value> =
            serde_saphyr::from_str(&text).with_context(|| file.display().to_string())?;
        for row in list {
            read(&row, &mut rows).with_context(|| format!("{}: {row}", file.display()))?;
        }
    }
    Ok(rows)
}

fn read(row: &Value, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let name = row["row"].as_str().context("a row has a name")?;
    let bound = |field: &str, default: u32| {
        row[field]
            .as_u64()
            .and_then(|minor| u32::try_from(minor).ok())
            .unwrap_or(default)
    };
    let versions = (bound("since", 0), bound("until", u32::MAX));
    let steps = row["do"].as_array().context("a row has steps")?;
    let kinds: Vec<&str> = match &row["kinds"] {
        Value::Null => vec![""],
        Value::String(all) if all == "all" => KINDS.iter().map(|kind| kind.name).collect(),
        // In 1.20 schemas with int-or-string in them did not reach server-side apply.
        Value::String(most) if most == "typed" => KINDS
            .iter()
            .map(|kind| kind.name)
            .filter(|name| !matches!(*name, "placement" | "mwrs"))
            .collect(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => bail!("`kinds` is a list, `all` or `typed`"),
    };
    for kind in kinds {
        let at = rows.len().to_string();
        let known = KINDS.iter().find(|known| known.name == kind);
        let steps = steps
            .iter()
            .map(|step| self::step(step, known, &at))
            .collect::<anyhow::Result<_>>()?;
        rows.push(Row {
            name: if kind.is_empty() {
                name.to_owned()
            } else {
                format!("{name} ({kind})")
            },
            at: rows.len(),
            versions,
            steps,
        });
    }
    Ok(())
}

fn step(step: &Value, kind: Option<&Kind>, at: &str) -> anyhow::Result<Step> {
    let parts = step.as_array().context("a step is a list")?;
    let verb = parts.first().and_then(Value::as_str).context("a verb")?;
    let path = parts.get(1).and_then(Value::as_str).context("a path")?;
    let (setup, verb) = match verb.strip_prefix("setup ") {
        Some(verb) => (true, verb),
        None => (false, verb),
    };
    let (method, format) = verb.split_once(' ').unwrap_or((verb, ""));
    let (mut content_type, mut accept) = (String::new(), "application/json".to_owned());
    match format {
        "table" => "application/json;as=Table;v=v1;g=meta.k8s.io".clone_into(&mut accept),
        "metadata" => {
            "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io".clone_into(&mut accept)
        }
        "metadatalist" => "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
            .clone_into(&mut accept),
        "merge" | "strategic-merge" | "json" if method == "PATCH" => {
            content_type = format!("application/{format}-patch+json");
        }
        "apply" => "application/apply-patch+yaml".clone_into(&mut content_type),
        "" if matches!(method, "POST" | "PUT" | "DELETE") => {
            "application/json".clone_into(&mut content_type)
        }
        "" => {}
        other if method == "GET" => other.clone_into(&mut accept),
        other => other.clone_into(&mut content_type),
    }
    let body = match parts.get(2) {
        None => Vec::new(),
        Some(Value::String(text)) => named(text, kind).replace("$N", at).into_bytes(),
        Some(body) => {
            let body = complete(body, kind);
            body.to_string().replace("$N", at).into_bytes()
        }
    };
    Ok(Step {
        method: method.to_owned(),
        path: expand(path, kind).replace("$N", at),
        content_type,
        accept,
        body,
        setup,
    })
}

/// Fills in `$api` and `$kind` of the kind in a body that is written out.
fn named(text: &str, kind: Option<&Kind>) -> String {
    let Some(kind) = kind else {
        return text.to_owned();
    };
    let object = (kind.object)();
    ["apiVersion", "kind"]
        .into_iter()
        .zip(["$api", "$kind"])
        .fold(text.to_owned(), |text, (field, name)| {
            text.replace(name, object[field].as_str().unwrap_or_default())
        })
}

/// Fills in the object of the kind where a body says `$it: name`.
fn complete(body: &Value, kind: Option<&Kind>) -> Value {
    let (Some(kind), Some(name)) = (kind, body.get("$it").and_then(Value::as_str)) else {
        return body.clone();
    };
    let mut object = (kind.object)();
    object["metadata"] = json!({ "name": name });
    let mut rest = body.clone();
    if let Some(fields) = rest.as_object_mut() {
        fields.remove("$it");
    }
    lay_over(&mut object, &rest);
    object
}

fn lay_over(target: &mut Value, over: &Value) {
    match (target, over) {
        (Value::Object(target), Value::Object(over)) => {
            for (name, value) in over {
                lay_over(
                    target
                        .entry(name.clone())
                        .or_insert(Value::Object(Map::new())),
                    value,
                );
            }
        }
        (target, over) => target.clone_from(over),
    }
}

/// Writes out the short names of resources; `it` is the kind that the row is told for.
fn expand(path: &str, kind: Option<&Kind>) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let end = path.find(['/', '?']).unwrap_or(path.len());
    let (short, rest) = path.split_at(end);
    let short = match (short, kind) {
        ("it", Some(kind)) => kind.name,
        _ => short,
    };
    let inside = |group: &str, plural: &str| format!("{group}/namespaces/row-$N/{plural}{rest}");
    match short {
        "cm" => inside("/api/v1", "configmaps"),
        "secret" => inside("/api/v1", "secrets"),
        "event" => inside("/api/v1", "events"),
        "ns" => format!("/api/v1/namespaces{rest}"),
        "placement" => inside(&format!("{CLUSTER}/v1beta1"), "placements"),
        "decision" => inside(&format!("{CLUSTER}/v1beta1"), "placementdecisions"),
        "score" => inside(&format!("{CLUSTER}/v1alpha1"), "addonplacementscores"),
        "binding" => inside(&format!("{CLUSTER}/v1beta2"), "managedclustersetbindings"),
        "set" => format!("{CLUSTER}/v1beta2/managedclustersets{rest}"),
        "cluster" => format!("{CLUSTER}/v1/managedclusters{rest}"),
        "work" => inside(&format!("{WORK}/v1"), "manifestworks"),
        "lease" => inside("/apis/coordination.k8s.io/v1", "leases"),
        "role" => inside("/apis/rbac.authorization.k8s.io/v1", "roles"),
        "mwrs" => inside(&format!("{WORK}/v1alpha1"), "manifestworkreplicasets"),
        other => other.to_owned(),
    }
}
