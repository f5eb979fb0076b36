use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::RwLock;
use serde_json::Value;

use super::{Cluster, Error, Resource, known::CRDS};

/// Why a kind has no resource.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The member does not serve this kind (now).
    #[error("the server doesn't have a resource type \"{0}\"")]
    NoMatch(String),
    /// Discovery failed.
    #[error(transparent)]
    Cluster(#[from] Error),
}

/// Why a kind is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// A definition says so: without it there are no objects of the kind.
    ByDefinition,
    /// By the API server itself or by another one, or nobody knows: that it is not served says nothing about its objects.
    Otherwise,
}

/// Finds the resource of a kind.
///
/// Asks discovery for one group version at a time, the first time a kind of it is met: the legacy documents are
/// served by every Kubernetes version, and only the kinds in use are remembered. A kind that is not found is asked for
/// again at each try, so a new definition is seen at once.
#[derive(Debug)]
pub struct Mapper {
    cluster: Cluster,
    known: RwLock<HashMap<(String, String), Arc<Resource>>>,
    /// Names of definitions.
    defined: RwLock<HashSet<String>>,
}

impl Mapper {
    /// Starts with nothing known.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            known: RwLock::default(),
            defined: RwLock::default(),
        }
    }

    /// Returns the resource that serves `kind` of `api_version`.
    ///
    /// # Errors
    /// [`MapError::NoMatch`] when the member does not serve it.
    pub async fn resolve(&self, api_version: &str, kind: &str) -> Result<Arc<Resource>, MapError> {
        let key = (api_version.to_owned(), kind.to_owned());
        if let Some(resource) = self.known.read().get(&key) {
            return Ok(resource.clone());
        }
        let path = if api_version.contains('/') {
            format!("/apis/{api_version}")
        } else {
            format!("/api/{api_version}")
        };
        let document = match self.cluster.document(&path).await {
            Ok(document) => document,
            Err(error) if error.is_not_found() => return Err(MapError::NoMatch(kind.to_owned())),
            Err(error) => return Err(error.into()),
        };
        let resource = Arc::new(
            find(&document, api_version, kind).ok_or_else(|| MapError::NoMatch(kind.to_owned()))?,
        );
        if self.ask_definition(&resource).await {
            self.known.write().insert(key, resource.clone());
        }
        Ok(resource)
    }

    /// Why a kind is served that was found.
    #[must_use]
    pub fn served(&self, resource: &Resource) -> Served {
        if self.defined.read().contains(&resource.definition()) {
            Served::ByDefinition
        } else {
            Served::Otherwise
        }
    }

    /// Finds out whether a kind has a definition. False if that is not known, and may be a moment later.
    async fn ask_definition(&self, resource: &Resource) -> bool {
        // Groups of definitions have a dot in their names; Kubernetes' oldest ones have none.
        if !resource.group.contains('.') {
            return true;
        }
        let definition = resource.definition();
        match self.cluster.get(&CRDS, "", &definition).await {
            Ok(Some(_)) => {
                self.defined.write().insert(definition);
                true
            }
            Ok(None) | Err(Error::Refused { code: 403, .. }) => true,
            Err(_) => false,
        }
    }

    /// Forgets a kind whose URL the server no longer knows.
    pub fn forget(&self, resource: &Resource) {
        self.known
            .write()
            .remove(&(resource.api_version(), resource.kind.clone()));
    }
}

/// Finds a kind in an `APIResourceList`; subresources such as `pods/status` are not resources.
fn find(document: &Value, api_version: &str, kind: &str) -> Option<Resource> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let found = document
        .get("resources")?
        .as_array()?
        .iter()
        .find(|entry| {
            entry.get("kind").and_then(Value::as_str) == Some(kind)
                && entry
                    .get("name")
                    .and_then(Value::as_str)
                    .is_some_and(|name| !name.contains('/'))
        })?;
    Some(Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        plural: found.get("name")?.as_str()?.to_owned(),
        namespaced: found
            .get("namespaced")
            .and_then(Value::as_bool)
            .unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn subresources_are_not_mistaken_for_the_kind() {
        let document = json!({"resources": [
            {"name": "deployments/status", "kind": "Deployment", "namespaced": true},
            {"name": "deployments", "kind": "Deployment", "namespaced": true},
        ]});
        let resource = find(&document, "apps/v1", "Deployment").unwrap();
        assert_eq!(
            (resource.group.as_str(), resource.plural.as_str()),
            ("apps", "deployments")
        );
        assert_eq!(find(&document, "apps/v1", "Widget"), None);
    }
}
