//! What others have in a Namespace, or of a custom kind, that a work wants to delete.
//!
//! The API server deletes both with all that is in them. Whoever deletes a work hardly means the things of others.

use serde_json::Value;

use super::update::{Owner, references};
use crate::cluster::{Cluster, Resource, Result, known};

/// Resources that clusters fill by themselves, or that go with what they are about.
const FILLED: [&str; 4] = ["events", "endpoints", "leases", "podmetrics"];

/// Names an object of others that would go with `name` of `resource`; `None` if there is none.
///
/// # Errors
/// Fails when something cannot be listed: what is not known to be nobody's is not deleted.
pub(super) async fn of_others(
    cluster: &Cluster,
    resource: &Resource,
    live: &Value,
    owner: &Owner,
) -> Result<Option<String>> {
    let name = live
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if resource.group == known::CRDS.group && resource.plural == known::CRDS.plural {
        let Some(kind) = defined(live) else {
            return Ok(None);
        };
        return find(cluster, &kind, "", |object| !owner.owns(object)).await;
    }
    if resource.group.is_empty() && resource.plural == known::NAMESPACES.plural {
        for kind in namespaced(cluster).await? {
            let found = find(cluster, &kind, name, |object| {
                is_of_others(&kind, object, owner)
            });
            if let Some(found) = found.await? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// Judges an object in a namespace. What another object owns goes with that one, which is judged itself.
fn is_of_others(kind: &Resource, object: &Value, owner: &Owner) -> bool {
    if object.pointer("/metadata/deletionTimestamp").is_some() || owner.owns(object) {
        return false;
    }
    let owners = references(object);
    if owners
        .iter()
        .any(|o| o.get("kind").and_then(Value::as_str) == Some("AppliedManifestWork"))
    {
        return true;
    }
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let made_by_the_cluster = match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "configmaps") => matches!(name, "kube-root-ca.crt" | "openshift-service-ca.crt"),
        ("", "serviceaccounts") => name == "default",
        _ => false,
    };
    owners.is_empty() && !made_by_the_cluster
}

async fn find(
    cluster: &Cluster,
    kind: &Resource,
    namespace: &str,
    is_foreign: impl Fn(&Value) -> bool,
) -> Result<Option<String>> {
    let objects = match cluster.list_metadata(kind, namespace).await {
        Ok(objects) => objects,
        // Gone in the meantime, or not for listing.
        Err(error) if error.is_not_found() || error.is_not_allowed() => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(objects
        .iter()
        .find(|object| is_foreign(object))
        .map(|object| {
            let name = object
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            format!("{} {name:?}", kind.plural)
        }))
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

/// Every kind that namespaces can hold, in one version each.
async fn namespaced(cluster: &Cluster) -> Result<Vec<Resource>> {
    let mut versions = vec![(String::new(), "v1".to_owned())];
    let groups = cluster.document("/apis").await?;
    for group in groups
        .get("groups")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let name = group
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let version = group
            .pointer("/preferredVersion/version")
            .and_then(Value::as_str);
        if let Some(version) = version {
            versions.push((name.to_owned(), version.to_owned()));
        }
    }
    let mut kinds = Vec::new();
    for (group, version) in versions {
        let path = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        let document = match cluster.document(&path).await {
            Err(error) if error.is_not_found() => continue,
            other => other?,
        };
        kinds.extend(listable(&document, &group, &version));
    }
    Ok(kinds)
}

fn listable(document: &Value, group: &str, version: &str) -> Vec<Resource> {
    let entries = document.get("resources").and_then(Value::as_array);
    let text = |entry: &Value, key: &str| {
        entry
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    entries
        .into_iter()
        .flatten()
        .filter(|entry| {
            let verbs = entry.get("verbs").and_then(Value::as_array);
            entry.get("namespaced") == Some(&Value::Bool(true))
                && verbs.is_some_and(|verbs| verbs.iter().any(|verb| verb == "list"))
        })
        .map(|entry| Resource {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: text(entry, "kind"),
            plural: text(entry, "name"),
            namespaced: true,
        })
        .filter(|kind| !kind.plural.contains('/') && !FILLED.contains(&kind.plural.as_str()))
        // Views of what others hold.
        .filter(|kind| !kind.group.ends_with("metrics.k8s.io"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_ours_derived_or_the_clusters_own_is_not_of_others() {
        let owner = Owner {
            name: "hub-work".into(),
            uid: "u1".into(),
        };
        let kind = |group: &str, plural: &str| Resource {
            group: group.into(),
            version: "v1".into(),
            kind: String::new(),
            plural: plural.into(),
            namespaced: true,
        };
        let object = |name: &str, owners: Value| json!({"metadata": {"name": name, "ownerReferences": owners}});
        let other_work = json!([{"kind": "AppliedManifestWork", "uid": "u2"}]);
        for (kind, object, expected) in [
            (
                kind("", "configmaps"),
                object("mine", json!([owner.reference()])),
                false,
            ),
            (
                kind("", "configmaps"),
                object("kube-root-ca.crt", json!([])),
                false,
            ),
            (kind("", "configmaps"), object("theirs", json!([])), true),
            (kind("", "configmaps"), object("theirs", other_work), true),
            (
                kind("", "pods"),
                object("web-1", json!([{"kind": "ReplicaSet", "uid": "x"}])),
                false,
            ),
            (
                kind("", "serviceaccounts"),
                object("default", json!([])),
                false,
            ),
            (kind("", "secrets"), object("default", json!([])), true),
            (
                kind("", "pods"),
                json!({"metadata": {"name": "going", "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
                false,
            ),
        ] {
            assert_eq!(is_of_others(&kind, &object, &owner), expected, "{object}");
        }
    }

    #[test]
    fn kinds_are_found_in_discovery_without_subresources_and_views() {
        let document = json!({"resources": [
            {"name": "pods", "kind": "Pod", "namespaced": true, "verbs": ["get", "list"]},
            {"name": "pods/status", "kind": "Pod", "namespaced": true, "verbs": ["get", "list"]},
            {"name": "bindings", "kind": "Binding", "namespaced": true, "verbs": ["create"]},
            {"name": "nodes", "kind": "Node", "namespaced": false, "verbs": ["list"]},
            {"name": "events", "kind": "Event", "namespaced": true, "verbs": ["list"]},
        ]});
        let names: Vec<_> = listable(&document, "", "v1")
            .into_iter()
            .map(|k| k.plural)
            .collect();
        assert_eq!(names, ["pods"]);
        assert!(listable(&document, "metrics.k8s.io", "v1beta1").is_empty());
    }
}
