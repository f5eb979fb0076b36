//! What a work owned before and no longer asks for. Pure.

use std::collections::{BTreeMap, BTreeSet};

use koinon_api::applied::AppliedManifestResourceMeta as Applied;

/// A planned object whose resource could not be found, so that only part of its identity is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unmapped {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// What to record, and what to delete.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pruning {
    /// Objects to record as applied, sorted.
    pub(super) keep: Vec<Applied>,
    /// Objects to delete. They stay recorded until they are gone.
    pub(super) drop: Vec<Applied>,
}

/// Compares what was recorded with what the work asks for now.
///
/// `planned` are the objects of the work; their uid is empty if it could not be read this time. An object whose kind is
/// unknown just now is not pruned: a definition that is missing for a moment must not delete anything. What was only planned
/// before (no uid) is never recorded for that, but is dropped as everything else is.
pub(super) fn prune(recorded: &[Applied], planned: &[Applied], unmapped: &[Unmapped]) -> Pruning {
    // Of several entries the first one counts.
    let before: BTreeMap<_, &Applied> = recorded.iter().rev().map(|r| (at(r), r)).collect();
    let wanted: BTreeSet<_> = planned.iter().map(at).collect();
    let mut keep = BTreeSet::new();
    for object in planned {
        if !object.uid.is_empty() {
            keep.insert(object.clone());
        } else if let Some(before) = before.get(&at(object))
            && !before.uid.is_empty()
        {
            keep.insert(Applied::clone(before));
        }
    }
    let mut drop = Vec::new();
    for before in recorded.iter().filter(|r| !wanted.contains(&at(r))) {
        let uncertain = unmapped.iter().any(|u| {
            // A manifest may name a namespace that its kind, if it were known, has no use for; and a group that does not exist is
            // most likely a mistake in the name of one that does.
            u.name == before.name
                && (u.namespace == before.namespace || before.namespace.is_empty())
        });
        if uncertain && !before.uid.is_empty() {
            keep.insert(before.clone());
        } else if !uncertain {
            drop.push(before.clone());
        }
    }
    Pruning {
        keep: sorted(keep),
        drop,
    }
}

/// Where an object is, whatever its version and uid.
fn at(object: &Applied) -> (&str, &str, &str, &str) {
    (
        &object.group,
        &object.resource,
        &object.namespace,
        &object.name,
    )
}

/// Sorts by group, version, resource, namespace, name as OCM does.
pub(super) fn sorted(objects: impl IntoIterator<Item = Applied>) -> Vec<Applied> {
    let mut objects: Vec<_> = objects.into_iter().collect();
    objects.sort_by(|a, b| {
        (&a.group, &a.version, &a.resource, &a.namespace, &a.name).cmp(&(
            &b.group,
            &b.version,
            &b.resource,
            &b.namespace,
            &b.name,
        ))
    });
    objects.dedup();
    objects
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(name: &str, uid: &str) -> Applied {
        Applied {
            version: "v1".into(),
            resource: "configmaps".into(),
            namespace: "n".into(),
            name: name.into(),
            uid: uid.into(),
            ..Default::default()
        }
    }

    fn unmapped(name: &str) -> Unmapped {
        Unmapped {
            namespace: "n".into(),
            name: name.into(),
        }
    }

    #[test]
    fn only_what_is_certainly_no_longer_asked_for_is_dropped() {
        let recorded = [
            object("a", "1"),
            object("b", "2"),
            object("c", "3"),
            object("d", "4"),
        ];
        let pruning = prune(
            &recorded,
            &[
                object("a", "1"),
                object("b", ""),
                object("e", "5"),
                object("f", ""),
            ],
            &[unmapped("c")],
        );
        assert_eq!(
            pruning.keep,
            [
                object("a", "1"),
                object("b", "2"),
                object("c", "3"),
                object("e", "5")
            ]
        );
        assert_eq!(pruning.drop, [object("d", "4")]);
    }

    #[test]
    fn a_cluster_scoped_object_is_not_dropped_while_its_kind_is_unknown() {
        let role = Applied {
            group: "g".into(),
            resource: "roles".into(),
            name: "a".into(),
            uid: "1".into(),
            ..Default::default()
        };
        let hidden = Unmapped {
            namespace: "n".into(),
            name: "a".into(),
        };
        assert!(prune(&[role], &[], &[hidden]).drop.is_empty());
    }

    #[test]
    fn a_recreated_object_is_recorded_under_its_new_uid() {
        assert_eq!(
            prune(&[object("a", "1")], &[object("a", "9")], &[]),
            Pruning {
                keep: vec![object("a", "9")],
                drop: vec![]
            }
        );
    }

    #[test]
    fn another_version_of_the_same_object_is_not_dropped() {
        let mut newer = object("a", "1");
        newer.version = "v2".into();
        assert_eq!(
            prune(&[object("a", "1")], &[newer.clone()], &[]),
            Pruning {
                keep: vec![newer],
                drop: vec![]
            }
        );
    }

    proptest! {
        /// Nothing that is recorded gets lost: it is kept, replaced by its new self, or dropped.
        #[test]
        fn every_recorded_object_has_a_fate(recorded in prop::collection::btree_set("[a-f]", 0..6), planned in prop::collection::btree_set("[a-f]", 0..6), hidden in prop::collection::btree_set("[a-f]", 0..3)) {
            let recorded: Vec<_> = recorded.iter().map(|n| object(n, "1")).collect();
            let planned: Vec<_> = planned.iter().map(|n| object(n, "")).collect();
            let unmapped: Vec<_> = hidden.iter().map(|n| unmapped(n)).collect();
            let pruning = prune(&recorded, &planned, &unmapped);
            for object in &recorded {
                let kept = pruning.keep.contains(object);
                let dropped = pruning.drop.contains(object);
                prop_assert!(kept != dropped);
                if dropped {
                    prop_assert!(!planned.iter().any(|p| p.name == object.name) && !hidden.contains(&object.name));
                }
            }
        }
    }
}
