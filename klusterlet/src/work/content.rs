//! What others have in a Namespace, or of a custom kind, that a work wants to delete.
//!
//! The API server deletes both with all that is in them. Whoever deletes a work hardly means the things of others, nor those
//! that are to stay.

mod kinds;

use koinon_api::{applied::AppliedManifestResourceMeta as Applied, work::ManifestWorkSpec};
use serde_json::Value;

use super::{
    plan::{self, Ownership},
    update::{Owner, references},
};
use crate::cluster::{Cluster, Resource, Result, known};
use kinds::Kinds;

/// Something with other objects in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Namespace,
    Definition,
}

impl Container {
    /// Says whether objects of a resource contain others.
    pub(super) fn of(group: &str, plural: &str) -> Option<Self> {
        if known::is_namespace(group, plural) {
            Some(Self::Namespace)
        } else if (group, plural) == (known::CRDS.group.as_str(), known::CRDS.plural.as_str()) {
            Some(Self::Definition)
        } else {
            None
        }
    }

    /// Says whether an object is in the container of this name.
    pub(super) fn holds(self, name: &str, object: &Applied) -> bool {
        match self {
            Self::Namespace => object.namespace == name,
            Self::Definition => name
                .strip_prefix(object.resource.as_str())
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|group| group == object.group),
        }
    }
}

/// Whose objects may go with a container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Eyes<'a> {
    pub(super) owner: &'a Owner,
    /// Says what of the work's own objects stays.
    pub(super) spec: &'a ManifestWorkSpec,
}

/// Names an object that would go with a container although its work is not all that wants it, or wants it to stay; `None` if
/// there is none.
///
/// # Errors
/// Fails when something cannot be listed: what is not known to be nobody's is not deleted.
pub(super) async fn of_others(
    cluster: &Cluster,
    container: Container,
    live: &Value,
    eyes: Eyes<'_>,
) -> Result<Option<String>> {
    match container {
        Container::Definition => in_definition(cluster, live, eyes).await,
        Container::Namespace => {
            let name = live
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let kinds = Kinds::discover(cluster).await?;
            for kind in kinds.listable() {
                let foreign = |object: &Value| eyes.is_foreign(kind, object, &kinds);
                match cluster.find_metadata(kind, name, foreign).await {
                    Ok(None) => {}
                    Ok(Some(found)) => return Ok(Some(named(kind, &found))),
                    // Not for listing, whatever discovery says.
                    Err(error) if error.is_not_allowed() => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(None)
        }
    }
}

async fn in_definition(
    cluster: &Cluster,
    definition: &Value,
    eyes: Eyes<'_>,
) -> Result<Option<String>> {
    let Some(kind) = defined(definition) else {
        return Ok(Some("objects that no version of it shows".to_owned()));
    };
    let foreign = |object: &Value| match eyes.is_own(&kind, object) {
        _ if is_going(object) => false,
        Some(own) => !own,
        None => true,
    };
    match cluster.find_metadata(&kind, "", foreign).await {
        Ok(found) => Ok(found.map(|object| named(&kind, &object))),
        // It never came into force, so there is nothing of it.
        Err(error) if error.is_not_found() && !is_established(definition) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Eyes<'_> {
    /// Says whether an object goes with its work, as all works that have it agree; `None` if no work has it.
    fn is_own(&self, kind: &Resource, object: &Value) -> Option<bool> {
        let works: Vec<_> = references(object)
            .iter()
            .filter(|r| r.get("kind").and_then(Value::as_str) == Some("AppliedManifestWork"))
            .collect();
        if works.is_empty() {
            return None;
        }
        let text = |pointer: &str| {
            let text = object.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let recorded = Applied {
            group: kind.group.clone(),
            version: kind.version.clone(),
            resource: kind.plural.clone(),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            uid: String::new(),
        };
        let ours = works
            .iter()
            .all(|r| r.get("uid").and_then(Value::as_str) == Some(&self.owner.uid));
        Some(ours && plan::fate(self.spec, &recorded) == Ownership::Owned)
    }

    /// Judges an object in a namespace. What other objects of the namespace own goes with those, which are judged themselves.
    fn is_foreign(&self, kind: &Resource, object: &Value, kinds: &Kinds) -> bool {
        if is_going(object) {
            return false;
        }
        if let Some(own) = self.is_own(kind, object) {
            return !own;
        }
        let owners = references(object);
        if owners.is_empty() {
            return !is_made_by_the_cluster(kind, object, kinds);
        }
        // An owner outside of namespaces is not looked at, and may want the object.
        owners.iter().any(|owner| {
            let text = |key: &str| owner.get(key).and_then(Value::as_str).unwrap_or_default();
            !kinds.is_namespaced(text("apiVersion"), text("kind"))
        })
    }
}

fn is_going(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

fn is_made_by_the_cluster(kind: &Resource, object: &Value, kinds: &Kinds) -> bool {
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let is_account = |name: &str| {
        name == "default" || kinds.is_openshift() && matches!(name, "builder" | "deployer")
    };
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "configmaps") => matches!(
            name,
            "kube-root-ca.crt" | "openshift-service-ca.crt" | "istio-ca-root-cert"
        ),
        ("", "serviceaccounts") => is_account(name),
        ("rbac.authorization.k8s.io" | "authorization.openshift.io", "rolebindings") => {
            kinds.is_openshift()
                && matches!(
                    name,
                    "system:deployers" | "system:image-builders" | "system:image-pullers"
                )
        }
        // The tokens that the cluster makes for these accounts; what somebody made has another name.
        ("", "secrets") => object
            .pointer("/metadata/annotations")
            .and_then(|all| all.get("kubernetes.io/service-account.name")?.as_str())
            .filter(|account| is_account(account))
            .and_then(|account| name.strip_prefix(account))
            .is_some_and(|rest| rest.starts_with("-token-") || rest.starts_with("-dockercfg-")),
        _ => false,
    }
}

fn named(kind: &Resource, object: &Value) -> String {
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    format!("{} {name:?}", kind.plural)
}

fn is_established(definition: &Value) -> bool {
    let conditions = definition.pointer("/status/conditions");
    let conditions = conditions.and_then(Value::as_array).into_iter().flatten();
    conditions
        .filter(|c| c.get("type").and_then(Value::as_str) == Some("Established"))
        .any(|c| c.get("status").and_then(Value::as_str) == Some("True"))
}

/// The kind that a definition defines, as one of its versions serves it.
fn defined(definition: &Value) -> Option<Resource> {
    let text = |pointer: &str| definition.pointer(pointer)?.as_str().map(str::to_owned);
    let served = definition
        .pointer("/spec/versions")?
        .as_array()?
        .iter()
        .find(|version| version.get("served") == Some(&Value::Bool(true)))?;
    Some(Resource {
        group: text("/spec/group")?,
        version: served.get("name")?.as_str()?.to_owned(),
        kind: text("/spec/names/kind")?,
        plural: text("/spec/names/plural")?,
        namespaced: text("/spec/scope").as_deref() == Some("Namespaced"),
    })
}

#[cfg(test)]
mod tests;
