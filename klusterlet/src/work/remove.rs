//! One object that a work no longer wants: what is to become of it, and the steps towards that.

use koinon_api::applied::AppliedManifestResourceMeta as Applied;
use serde_json::{Value, json};
use tracing::warn;

use super::{
    plan::{Ownership, resource_of},
    update::{Owner, references},
};
use crate::cluster::{Cluster, Deleted, Resource, Result, Served, known};

/// How often a change by others in between is looked at again at once.
const TRIES: u32 = 3;

/// What has to be done with a live object. Pure.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Somebody else's.
    Leave,
    /// It stays, or another work owns it too: only our reference goes.
    Disown,
    Wait,
    Delete,
}

/// Judges a live object; `fate` is what the work says of it now.
///
/// That it names the very record of the work as its owner proves that it is the work's. The uid that is recorded proves nothing:
/// an object that was made anew has its new one a moment before the record does, and without the record Kubernetes' garbage
/// collector would take it, whatever is in it.
pub(super) fn judge(live: &Value, owner: &Owner, fate: Ownership) -> Verdict {
    if !owner.owns(live) {
        return Verdict::Leave;
    }
    let shared = references(live).iter().any(|r| {
        r.get("kind").and_then(Value::as_str) == Some("AppliedManifestWork")
            && r.get("uid").and_then(Value::as_str) != Some(&owner.uid)
    });
    if shared || fate == Ownership::Orphaned {
        return Verdict::Disown;
    }
    if live.pointer("/metadata/deletionTimestamp").is_some() {
        Verdict::Wait
    } else {
        Verdict::Delete
    }
}

/// Reads a recorded object, in whatever version its kind is served by now; `None` if it is certainly gone. `by` is why its kind was
/// served when it was applied.
///
/// # Errors
/// Also when nobody serves its kind just now: that says nothing about the object, for a server that is away may come back with it.
/// Only with a definition its objects are gone.
pub(super) async fn read(
    cluster: &Cluster,
    recorded: &Applied,
    by: Served,
) -> Result<Option<(Resource, Value)>> {
    let resource = resource_of(recorded);
    let (namespace, name) = (recorded.namespace.as_str(), recorded.name.as_str());
    match cluster.get(&resource, namespace, name).await {
        Err(error) if error.is_not_found() => match served(cluster, &resource).await? {
            Some(resource) => {
                let live = cluster.get(&resource, namespace, name).await?;
                Ok(live.map(|live| (resource, live)))
            }
            None if by == Served::ByDefinition && is_undefined(cluster, &resource).await? => {
                warn!(resource = %resource.plural, group = %resource.group, name = %recorded.name, "the cluster does not know this kind any more, so nothing of it can be deleted");
                Ok(None)
            }
            None => Err(error),
        },
        live => Ok(live?.map(|live| (resource, live))),
    }
}

/// Finds another version in which a resource is served.
async fn served(cluster: &Cluster, resource: &Resource) -> Result<Option<Resource>> {
    let path = if resource.group.is_empty() {
        "/api".to_owned()
    } else {
        format!("/apis/{}", resource.group)
    };
    let group = match cluster.document(&path).await {
        Ok(group) => group,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let versions = group.get("versions").and_then(Value::as_array);
    for version in versions.into_iter().flatten() {
        // The core group lists names, every other one objects.
        let version = version
            .as_str()
            .or_else(|| version.get("version")?.as_str());
        let Some(version) = version.filter(|version| **version != resource.version) else {
            continue;
        };
        let list = match cluster.document(&format!("{path}/{version}")).await {
            Ok(list) => list,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error),
        };
        let entries = list.get("resources").and_then(Value::as_array);
        let has = |entry: &Value| {
            entry.get("name").and_then(Value::as_str) == Some(resource.plural.as_str())
        };
        if entries.is_some_and(|entries| entries.iter().any(has)) {
            return Ok(Some(Resource {
                version: version.to_owned(),
                ..resource.clone()
            }));
        }
    }
    Ok(None)
}

/// Says whether neither a definition nor another server stands for a resource any more. Definitions go after their objects.
async fn is_undefined(cluster: &Cluster, resource: &Resource) -> Result<bool> {
    let definition = resource.definition();
    if cluster.get(&known::CRDS, "", &definition).await?.is_some() {
        return Ok(false);
    }
    let service = format!("{}.{}", resource.version, resource.group);
    let service = cluster.get(&known::API_SERVICES, "", &service).await?;
    // One that Kubernetes itself made is there for other kinds of the group.
    Ok(service.is_none_or(|service| service.pointer("/spec/service").is_none_or(Value::is_null)))
}

/// Takes our reference off an object that stays.
///
/// # Errors
/// With `Conflict` if the object was changed in between.
pub(super) async fn disown(
    cluster: &Cluster,
    resource: &Resource,
    live: &Value,
    owner: &Owner,
) -> Result<()> {
    let (namespace, name) = place(live);
    let metadata = |key: &str| live.get("metadata").and_then(|m| m.get(key));
    let mut patch = json!({"metadata": {
        "ownerReferences": owner.merged(live, Ownership::Orphaned),
        "resourceVersion": metadata("resourceVersion"),
        "uid": metadata("uid"),
    }});
    let hash = owner.hash_key();
    if metadata("annotations").is_some_and(|annotations| annotations.get(&hash).is_some()) {
        patch["metadata"]["annotations"] = json!({hash: null});
    }
    owner.unmark(live, &mut patch);
    match cluster.merge(resource, namespace, name, None, &patch).await {
        Err(error) if !error.is_missing(name) => Err(error),
        _ => Ok(()),
    }
}

/// Lets go of an object, whatever the work says of it: our reference goes, nothing else.
///
/// # Errors
/// When it cannot be read or changed.
pub(super) async fn let_go(
    cluster: &Cluster,
    recorded: &Applied,
    owner: &Owner,
    by: Served,
) -> Result<()> {
    let mut attempt = 1;
    loop {
        let Some((resource, live)) = read(cluster, recorded, by).await? else {
            return Ok(());
        };
        if !owner.owns(&live) {
            return Ok(());
        }
        match disown(cluster, &resource, &live, owner).await {
            Err(error) if error.is_conflict() && attempt < TRIES => attempt += 1,
            other => return other,
        }
    }
}

/// What a deletion achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Gone,
    Going,
    /// It is another object by now, or somebody else's too: to be judged anew.
    Changed,
}

/// Deletes an object that was judged as it is in `live`; looks again if it changed without a change of what counts.
///
/// # Errors
/// With the server's refusal.
pub(super) async fn delete(
    (reader, deleter): (&Cluster, &Cluster),
    resource: &Resource,
    live: &Value,
    owner: &Owner,
) -> Result<Outcome> {
    let (namespace, name) = place(live);
    let mut seen = live.clone();
    for _ in 0..TRIES {
        match deleter.delete_seen(resource, namespace, name, &seen).await {
            Ok(Deleted::Gone) => return Ok(Outcome::Gone),
            Ok(Deleted::Going) => return Ok(Outcome::Going),
            // Something was written in between, perhaps only a status.
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
        match reader.get(resource, namespace, name).await? {
            None => return Ok(Outcome::Gone),
            Some(now) if judge(&now, owner, Ownership::Owned) == Verdict::Delete => {
                seen = now;
            }
            Some(_) => return Ok(Outcome::Changed),
        }
    }
    Ok(Outcome::Changed)
}

fn place(live: &Value) -> (&str, &str) {
    let text = |pointer: &str| {
        let text = live.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default()
    };
    (text("/metadata/namespace"), text("/metadata/name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_that_are_surely_ours_are_deleted() {
        let owner = Owner {
            name: "hub-work".into(),
            uid: "u1".into(),
        };
        let ours = owner.reference();
        let other = json!({"apiVersion": "work.open-cluster-management.io/v1", "kind": "AppliedManifestWork", "name": "x", "uid": "u2"});
        let stranger = json!({"kind": "ReplicaSet", "uid": "u3"});
        let live = |owners: &[&Value], deleted: bool| {
            let mut live = json!({"metadata": {"uid": "a", "ownerReferences": owners}});
            if deleted {
                live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            }
            live
        };
        let stranger_owner = Owner {
            name: "x".into(),
            uid: "u2".into(),
        };
        let awaited = |by: &Owner, owners: &[&Value]| {
            let mut live = live(owners, false);
            by.await_by(&mut live);
            live
        };
        for (live, expected) in [
            (live(&[&ours], false), Verdict::Delete),
            (live(&[&ours, &stranger], false), Verdict::Delete),
            (live(&[&ours], true), Verdict::Wait),
            (live(&[], false), Verdict::Leave),
            (live(&[&other], false), Verdict::Leave),
            (live(&[&stranger], false), Verdict::Leave),
            (live(&[&ours, &other], false), Verdict::Disown),
            // The agent died before the owner was named; it was for this work, or for another one.
            (awaited(&owner, &[]), Verdict::Delete),
            (awaited(&owner, &[&other]), Verdict::Disown),
            (awaited(&stranger_owner, &[]), Verdict::Leave),
        ] {
            let judged = judge(&live, &owner, Ownership::Owned);
            assert_eq!(judged, expected, "{live}");
            let stays = judge(&live, &owner, Ownership::Orphaned);
            let expected = if expected == Verdict::Leave && !owner.owns(&live) {
                Verdict::Leave
            } else {
                Verdict::Disown
            };
            assert_eq!(stays, expected, "{live}");
        }
    }
}
