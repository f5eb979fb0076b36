//! What is decided only in part, or for a cluster that goes.

use std::sync::Arc;

use serde_json::{Value, json};

use super::table::{
    NS, applied, carry_out, decision, decision_of, held, key, placement, removed, set, world,
};
use crate::controllers::{
    fixtures::{gone, put, stored, uid_of},
    resource,
};

/// A placement with this uid; it has decided for so many clusters, if it has decided.
fn made_anew(uid: &str, decided: Option<usize>) -> koinon_store::Event {
    let (metadata, body) = (json!({ "uid": uid }), json!({ "spec": {} }));
    let condition = json!({ "type": "PlacementSatisfied", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" });
    let status = decided
        .map(|count| json!({ "numberOfSelectedClusters": count, "conditions": [condition] }));
    let status = status.unwrap_or(Value::Null);
    put(stored(
        resource::PLACEMENTS,
        NS,
        "prod",
        metadata,
        body,
        status,
    ))
}

/// A decision object that belongs to the placement with this uid.
fn of(uid: &str, name: &str, clusters: &[&str]) -> koinon_store::Event {
    let mut event = decision(name, clusters);
    let plain = event.after.take().unwrap();
    let owner = json!({ "apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "Placement", "name": "prod", "uid": uid, "controller": true });
    let metadata = json!({ "labels": *plain.labels, "ownerReferences": [owner] });
    let status: Value = serde_json::from_slice(&plain.status).unwrap();
    put(stored(
        resource::DECISIONS,
        NS,
        name,
        metadata,
        json!({}),
        status,
    ))
}

/// Its decisions go one after the other, before or after the placement itself, and a new one of its name writes them likewise.
#[test]
fn a_placement_that_goes_or_is_made_anew_takes_nothing_away() {
    let mut index = world(&[]);
    index.observe(&gone(decision("prod-decision-1", &[]).after.unwrap()));
    let (one, two) = (
        of("old", "prod-decision-1", &["east"]),
        of("old", "prod-decision-2", &["west"]),
    );
    for event in [made_anew("old", Some(2)), one, two] {
        index.observe(&event);
    }
    let plan = index.decide(&key()).unwrap();
    assert_eq!(applied(&plan), [("east", false), ("west", false)]);
    carry_out(&mut index, &plan, "one");
    let mut quiet = |event: &koinon_store::Event| {
        index.observe(event);
        let plan = index.decide(&key()).unwrap();
        assert!(plan.is_quiet(), "{plan:?}");
    };
    // In the foreground: what it owns goes first.
    let going = json!({ "uid": "old", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["foregroundDeletion"] });
    quiet(&put(stored(
        resource::PLACEMENTS,
        NS,
        "prod",
        going,
        json!({ "spec": {} }),
        Value::Null,
    )));
    quiet(&gone(
        of("old", "prod-decision-1", &["east"]).after.unwrap(),
    ));
    // Made anew while the rest of the old one's is there, then by its own first object alone.
    quiet(&made_anew("new", None));
    quiet(&of("new", "prod-decision-1", &["east"]));
    quiet(&gone(
        of("old", "prod-decision-2", &["west"]).after.unwrap(),
    ));
    quiet(&of("new", "prod-decision-2", &["west"]));
    quiet(&made_anew("new", Some(2)));
    // What the new one has decided counts.
    index.observe(&of("new", "prod-decision-2", &[]));
    assert_eq!(removed(&index.decide(&key()).unwrap()), ["west"]);
}

/// Tools that decide by themselves make decisions without an owner, and perhaps a placement that never says anything.
#[test]
fn decisions_of_others_count() {
    let mut index = world(&["east", "west"]);
    index.observe(&made_anew(
        &uid_of(resource::PLACEMENTS, NS, "prod").to_string(),
        None,
    ));
    let plan = index.decide(&key()).unwrap();
    carry_out(&mut index, &plan, "one");
    index.observe(&decision("prod-decision-1", &["east"]));
    assert_eq!(removed(&index.decide(&key()).unwrap()), ["west"]);
}

/// Some of them own what they decide in the placement's name, and speak by decisions alone.
#[test]
fn decisions_of_others_count_whoever_owns_them() {
    let mut index = world(&[]);
    index.observe(&gone(decision("prod-decision-1", &[]).after.unwrap()));
    let metadata = |disabled: &str| json!({ "uid": "one", "annotations": { "cluster.open-cluster-management.io/experimental-scheduling-disable": disabled } });
    let placement = |disabled: &str| {
        let body = json!({ "spec": {} });
        put(stored(
            resource::PLACEMENTS,
            NS,
            "prod",
            metadata(disabled),
            body,
            Value::Null,
        ))
    };
    index.observe(&placement("true"));
    index.observe(&of("one", "prod-decision-1", &["east"]));
    let plan = index.decide(&key()).unwrap();
    assert_eq!(applied(&plan), [("east", false)]);
    carry_out(&mut index, &plan, "one");
    // A failover.
    index.observe(&of("one", "prod-decision-1", &["west"]));
    let plan = index.decide(&key()).unwrap();
    assert_eq!(
        (applied(&plan), removed(&plan)),
        (vec![("west", false)], vec!["east"])
    );
    // The hub is to decide, and has not.
    index.observe(&placement("false"));
    assert!(removed(&index.decide(&key()).unwrap()).is_empty());
}

/// One that goes may take long: somebody's finalizer is on it. What is placed stays as it is asked for, and others go on.
#[test]
fn a_placement_that_goes_keeps_up_no_other() {
    let mut index = world(&["east"]);
    let refs = json!({ "placementRefs": [{ "name": "prod" }, { "name": "other" }] });
    index.observe(&set(held(), refs.clone(), "one"));
    let plan = index.decide(&key()).unwrap();
    carry_out(&mut index, &plan, "one");
    let going = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["f"] });
    let body = || json!({ "spec": {} });
    index.observe(&put(stored(
        resource::PLACEMENTS,
        NS,
        "prod",
        going,
        body(),
        Value::Null,
    )));
    index.observe(&decision("prod-decision-1", &["north"]));
    let other = decision_of("other", "other-decision-1", &["west"]);
    index.observe(&put(stored(
        resource::PLACEMENTS,
        NS,
        "other",
        json!({}),
        body(),
        Value::Null,
    )));
    index.observe(&other);
    let mut newer = held();
    newer["generation"] = 2.into();
    index.observe(&set(newer, refs, "two"));
    let plan = index.decide(&key()).unwrap();
    assert_eq!(applied(&plan), [("east", true), ("west", false)]);
    assert!(removed(&plan).is_empty());
}

/// The rest of an earlier one's, that somebody's finalizer holds, is not waited for.
#[test]
fn a_decision_that_is_being_deleted_keeps_nothing_in_part() {
    let mut index = world(&["east", "west"]);
    index.observe(&made_anew("new", Some(1)));
    let plan = index.decide(&key()).unwrap();
    carry_out(&mut index, &plan, "one");
    index.observe(&of("new", "prod-decision-1", &["east"]));
    let mut old = of("old", "prod-decision-2", &["north"]).after.unwrap();
    index.observe(&put(Arc::clone(&old)));
    assert!(removed(&index.decide(&key()).unwrap()).is_empty());
    let metadata = json!({ "labels": *old.labels, "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["f"],
        "ownerReferences": [{ "apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "Placement", "name": "prod", "uid": "old", "controller": true }] });
    let status: Value = serde_json::from_slice(&old.status).unwrap();
    old = put(stored(
        resource::DECISIONS,
        NS,
        "prod-decision-2",
        metadata,
        json!({}),
        status,
    ))
    .after
    .unwrap();
    index.observe(&put(old));
    assert_eq!(removed(&index.decide(&key()).unwrap()), ["west"]);
}

#[test]
fn nothing_is_made_for_a_cluster_that_is_being_deleted() {
    let mut index = world(&["east", "west"]);
    let cluster = |metadata: Value| {
        stored(
            resource::CLUSTERS,
            "",
            "east",
            metadata,
            json!({ "spec": {} }),
            Value::Null,
        )
    };
    let going =
        cluster(json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["f"] }));
    index.observe(&put(going.clone()));
    let plan = index.decide(&key()).unwrap();
    assert_eq!(applied(&plan), [("west", false)]);
    carry_out(&mut index, &plan, "one");
    assert!(index.decide(&key()).unwrap().is_quiet());
    index.observe(&gone(going));
    assert_eq!(applied(&index.decide(&key()).unwrap()), [("east", false)]);
}

#[test]
fn a_placement_that_is_named_twice_counts_once() {
    let mut index = world(&["east"]);
    let twice = json!({ "placementRefs": [{ "name": "prod" }, { "name": "prod" }] });
    index.observe(&set(held(), twice, "one"));
    index.observe(&placement(&["prod-decision-1"], 1));
    assert_eq!(applied(&index.decide(&key()).unwrap()), [("east", false)]);
}
