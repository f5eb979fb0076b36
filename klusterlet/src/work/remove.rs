//! Deletes what a work owned, and nothing else.

use koinon_api::applied::AppliedManifestResourceMeta as Applied;
use serde_json::{Value, json};

use super::{
    plan::Ownership,
    update::{Owner, references},
};
use crate::cluster::{Cluster, Deleted, Resource, Result};

/// What became of an object that the work no longer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is gone, or not ours to delete.
    Done,
    /// It is on its way out.
    Pending,
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

/// Takes one step towards the end of an object.
pub(super) async fn remove(cluster: &Cluster, recorded: &Applied, owner: &Owner) -> Result<Fate> {
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
    match judge(&live, recorded, owner) {
        Verdict::Leave => Ok(Fate::Done),
        Verdict::Wait => Ok(Fate::Pending),
        Verdict::Disown(owners) => {
            let version = live
                .pointer("/metadata/resourceVersion")
                .cloned()
                .unwrap_or_default();
            let patch =
                json!({"metadata": {"ownerReferences": owners, "resourceVersion": version}});
            cluster
                .merge(&resource, namespace, name, None, &patch)
                .await?;
            Ok(Fate::Done)
        }
        Verdict::Delete => {
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
