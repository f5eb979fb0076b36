//! Deletes what a work owned, and nothing else.

use std::collections::BTreeMap;

use koinon_api::{
    applied::AppliedManifestResourceMeta as Applied, labels::annotation, policy::PolicyVerb,
    work::ManifestWorkSpec,
};
use serde_json::{Value, json};

use super::{
    content,
    plan::{self, Ownership},
    status::Delayed,
    update::{Owner, references},
};
use crate::{
    cluster::{Cluster, Deleted, Resource, Result},
    policy::Judge,
};

/// What became of an object that the work no longer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is gone, or not ours to delete.
    Done,
    /// It is on its way out.
    Pending,
    /// It may not go, or not without an approval.
    Held(Delayed),
}

/// What has to be done with a live object. Pure.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// Somebody else's, or another object under the same name.
    Leave,
    /// Another work owns it too: only our reference goes.
    Disown(Vec<Value>),
    Wait,
    Delete,
}

fn judge(live: &Value, recorded: &Applied, owner: &Owner) -> Verdict {
    let uid = live
        .pointer("/metadata/uid")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !owner.owns(live) {
        return Verdict::Leave;
    }
    let shared = references(live).iter().any(|r| {
        r.get("kind").and_then(Value::as_str) == Some("AppliedManifestWork")
            && r.get("uid").and_then(Value::as_str) != Some(&owner.uid)
    });
    if shared {
        return Verdict::Disown(owner.merged(live, Ownership::Orphaned));
    }
    if !recorded.uid.is_empty() && recorded.uid != uid {
        return Verdict::Leave;
    }
    if live.pointer("/metadata/deletionTimestamp").is_some() {
        Verdict::Wait
    } else {
        Verdict::Delete
    }
}

/// Says whether a work's annotation approves the deletion of this Namespace or definition with all that is in it.
fn is_approved(directives: &BTreeMap<String, String>, recorded: &Applied) -> bool {
    let place = format!("{}/{}", recorded.resource, recorded.name);
    directives
        .get(annotation::APPROVE_DELETION)
        .is_some_and(|approved| approved.split(',').any(|one| one.trim() == place))
}

/// What a work says of the objects that it no longer wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving<'a> {
    /// As it is now: what it orphans, or only reads, stays.
    pub(super) spec: &'a ManifestWorkSpec,
    pub(super) directives: &'a BTreeMap<String, String>,
    pub(super) policies: &'a Judge,
}

/// Takes one step towards the end of an object.
pub(super) async fn remove(
    cluster: &Cluster,
    recorded: &Applied,
    owner: &Owner,
    work: &Leaving<'_>,
) -> Result<Fate> {
    let resource = Resource {
        group: recorded.group.clone(),
        version: recorded.version.clone(),
        kind: String::new(),
        plural: recorded.resource.clone(),
        namespaced: !recorded.namespace.is_empty(),
    };
    let (namespace, name) = (recorded.namespace.as_str(), recorded.name.as_str());
    let Some(live) = cluster.get(&resource, namespace, name).await? else {
        return Ok(Fate::Done);
    };
    let verdict = match plan::fate(work.spec, recorded) {
        Ownership::Owned => judge(&live, recorded, owner),
        Ownership::Orphaned if owner.owns(&live) => {
            Verdict::Disown(owner.merged(&live, Ownership::Orphaned))
        }
        Ownership::Orphaned => Verdict::Leave,
    };
    match verdict {
        Verdict::Leave => Ok(Fate::Done),
        Verdict::Wait => Ok(Fate::Pending),
        Verdict::Disown(owners) => {
            let version = live
                .pointer("/metadata/resourceVersion")
                .cloned()
                .unwrap_or_default();
            let hash = owner.hash_key();
            let patch = json!({"metadata": {"ownerReferences": owners, "annotations": {hash: null}, "resourceVersion": version}});
            cluster
                .merge(&resource, namespace, name, None, &patch)
                .await?;
            Ok(Fate::Done)
        }
        Verdict::Delete => {
            if let Err(refusal) = work
                .policies
                .allows(&resource, &live, Some(PolicyVerb::Delete))
            {
                return Ok(Fate::Held(Delayed::policy(refusal.to_string())));
            }
            if !is_approved(work.directives, recorded)
                && let Some(found) = content::of_others(cluster, &resource, &live, owner).await?
            {
                let place = format!("{}/{name}", resource.plural);
                return Ok(Fate::Held(Delayed::content(format!(
                    "deleting {place} would delete {found} too, which is not of this work; to approve it, annotate the work with {}={place}",
                    annotation::APPROVE_DELETION
                ))));
            }
            let uid = live.pointer("/metadata/uid").and_then(Value::as_str);
            Ok(
                match cluster.delete(&resource, namespace, name, uid).await? {
                    Deleted::Gone => Fate::Done,
                    Deleted::Going => Fate::Pending,
                },
            )
        }
    }
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
        let live = |uid: &str, owners: &[&Value], deleted: bool| {
            let mut live = json!({"metadata": {"uid": uid, "ownerReferences": owners}});
            if deleted {
                live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            }
            live
        };
        let recorded = |uid: &str| Applied {
            uid: uid.into(),
            ..Default::default()
        };
        for (live, recorded, expected) in [
            (live("a", &[&ours], false), recorded("a"), Verdict::Delete),
            (live("a", &[&ours], false), recorded(""), Verdict::Delete),
            (
                live("a", &[&ours, &stranger], false),
                recorded("a"),
                Verdict::Delete,
            ),
            (live("a", &[&ours], true), recorded("a"), Verdict::Wait),
            (live("b", &[&ours], false), recorded("a"), Verdict::Leave),
            (live("a", &[], false), recorded("a"), Verdict::Leave),
            (live("a", &[&other], false), recorded("a"), Verdict::Leave),
            (
                live("a", &[&ours, &other], false),
                recorded("a"),
                Verdict::Disown(vec![other.clone()]),
            ),
        ] {
            assert_eq!(judge(&live, &recorded, &owner), expected, "{live}");
        }
    }
}
