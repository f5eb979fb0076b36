//! OpenAPI v3: one index and a document per group and version, enough for `kubectl explain`, for field validation, and
//! for `kubectl apply` to know how each kind is patched. And v2, all in one, for older clients.

mod component;
mod operation;
mod paths;
mod protobuf;
mod v2;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use serde_json::{Map, Value, json};

use crate::{ResourceInfo, discovery::Document};

/// All OpenAPI v3 documents, made once.
#[derive(Clone, Debug)]
pub struct OpenApi {
    index: Document,
    /// By the path that the index uses: `api/v1`, `apis/{group}/{version}`.
    documents: BTreeMap<String, Document>,
    release: String,
    old: OnceLock<Old>,
}

/// OpenAPI v2, made when somebody first asks: few do, and it is large.
#[derive(Clone, Debug)]
struct Old {
    json: Document,
    protobuf: Document,
}

impl OpenApi {
    /// Makes the documents; `release` is the version of the product.
    #[must_use]
    pub fn new(resources: &[Arc<ResourceInfo>], release: &str) -> Self {
        let mut by_version: BTreeMap<String, Vec<&ResourceInfo>> = BTreeMap::new();
        for resource in resources {
            by_version
                .entry(prefix(resource))
                .or_default()
                .push(resource);
        }
        let documents: BTreeMap<String, Document> = by_version
            .into_iter()
            .map(|(path, resources)| (path, Document::new(&document(&resources, release))))
            .collect();
        let mut paths = Map::new();
        for (path, document) in &documents {
            // The hash makes the URL immutable, so that clients keep the document as long as it is the same.
            let url = format!("/openapi/v3/{path}?hash={}", document.hash);
            paths.insert(path.clone(), json!({ "serverRelativeURL": url }));
        }
        Self {
            index: Document::new(&json!({ "paths": paths })),
            documents,
            release: release.to_owned(),
            old: OnceLock::new(),
        }
    }

    /// `/openapi/v3`
    #[must_use]
    pub fn index(&self) -> &Document {
        &self.index
    }

    /// `/openapi/v3/{path}`
    #[must_use]
    pub fn document(&self, path: &str) -> Option<&Document> {
        self.documents.get(path)
    }

    /// `/openapi/v2` as JSON.
    #[must_use]
    pub fn v2(&self) -> &Document {
        &self.old().json
    }

    /// `/openapi/v2` as protobuf.
    #[must_use]
    pub fn v2_protobuf(&self) -> &Document {
        &self.old().protobuf
    }

    fn old(&self) -> &Old {
        self.old.get_or_init(|| {
            let documents = self
                .documents
                .values()
                .filter_map(|document| serde_json::from_slice(&document.body).ok());
            let document = v2::document(documents, &self.release);
            Old {
                protobuf: Document::of(protobuf::document(&document).into()),
                json: Document::new(&document),
            }
        })
    }
}

/// Where a kind's group and version live: `api/v1`, `apis/{group}/{version}`.
fn prefix(resource: &ResourceInfo) -> String {
    if resource.group.is_empty() {
        format!("api/{}", resource.version)
    } else {
        format!("apis/{}/{}", resource.group, resource.version)
    }
}

fn document(resources: &[&ResourceInfo], release: &str) -> Value {
    let mut components = component::shared();
    let mut paths = Map::new();
    for resource in resources {
        component::insert(resource, &mut components);
        paths::insert(resource, &mut paths);
    }
    json!({
        "openapi": "3.0.0",
        "info": { "title": "Koinon", "version": release },
        "paths": paths,
        "components": { "schemas": components },
    })
}

/// The extension by which clients find the operations and the schema of a kind.
fn group_version_kind(resource: &ResourceInfo) -> Value {
    json!({ "group": resource.group, "version": resource.version, "kind": resource.kind })
}

fn reference(component: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{component}") })
}
