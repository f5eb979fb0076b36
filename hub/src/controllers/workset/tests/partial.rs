//! What is decided only in part, or for a cluster that goes.

use serde_json::{Value, json};

use super::table::{NS, applied, carry_out, decision, held, key, placement, removed, set, world};
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
