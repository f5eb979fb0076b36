use jiff::Timestamp;
use koinon_api::{
    labels::condition, meta::condition as find, workset::ManifestWorkReplicaSetStatus,
};
use koinon_store::Event;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::{
    super::{
        fixtures::{gone, put, stored},
        resource,
    },
    decide::Plan,
    index::{Index, Name},
};

pub(super) const NS: &str = "apps";

pub(super) fn key() -> Name {
    (NS.to_owned(), "web".to_owned())
}

fn template(data: &str) -> Value {
    json!({ "workload": { "manifests": [{ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "namespace": "default" }, "data": { "k": data } }] } })
}

pub(super) fn set(metadata: Value, more: Value, data: &str) -> Event {
    let mut spec =
        json!({ "manifestWorkTemplate": template(data), "placementRefs": [{ "name": "prod" }] });
    spec.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    put(stored(
        resource::WORKSETS,
        NS,
        "web",
        metadata,
        json!({ "spec": spec }),
        Value::Null,
    ))
}

pub(super) fn held() -> Value {
    json!({ "finalizers": ["work.open-cluster-management.io/manifest-work-cleanup"] })
}

pub(super) fn placement(objects: &[&str], selected: usize) -> Event {
    let groups =
        json!([{ "decisionGroupIndex": 0, "decisions": objects, "clusterCount": selected }]);
    let condition = json!({ "type": "PlacementSatisfied", "status": "True", "reason": "AllDecisionsScheduled", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" });
    let status = json!({ "numberOfSelectedClusters": selected, "decisionGroups": groups, "conditions": [condition] });
    put(stored(
        resource::PLACEMENTS,
        NS,
        "prod",
        json!({}),
        json!({ "spec": {} }),
        status,
    ))
}

pub(super) fn decision(name: &str, clusters: &[&str]) -> Event {
    decision_of("prod", name, clusters)
}

pub(super) fn decision_of(placement: &str, name: &str, clusters: &[&str]) -> Event {
    let labels = json!({ "labels": { "cluster.open-cluster-management.io/placement": placement, "cluster.open-cluster-management.io/decision-group-index": "0" } });
    let decisions: Vec<Value> = clusters
        .iter()
        .map(|name| json!({ "clusterName": name, "reason": "" }))
        .collect();
    put(stored(
        resource::DECISIONS,
        NS,
        name,
        labels,
        json!({}),
        json!({ "decisions": decisions }),
    ))
}

pub(super) fn world(clusters: &[&str]) -> Index {
    let mut index = Index::default();
    index.observe(&placement(&["prod-decision-1"], clusters.len()));
    index.observe(&decision("prod-decision-1", clusters));
    index.observe(&set(held(), json!({}), "one"));
    index
}

fn work(at: &Name, metadata: Value, data: &str, status: Value) -> Event {
    let mut full = json!({ "labels": {
        "work.open-cluster-management.io/manifestworkreplicaset": "apps.web",
        "work.open-cluster-management.io/placementname": "prod",
    }});
    full.as_object_mut()
        .unwrap()
        .extend(metadata.as_object().unwrap().clone());
    put(stored(
        resource::WORKS,
        &at.0,
        &at.1,
        full,
        json!({ "spec": template(data) }),
        status,
    ))
}

/// Carries a plan out on the index, as the registry would.
pub(super) fn carry_out(index: &mut Index, plan: &Plan, data: &str) {
    for apply in &plan.apply {
        index.observe(&work(
            &(apply.cluster.clone(), apply.name.clone()),
            json!({}),
            data,
            Value::Null,
        ));
    }
    for remove in &plan.remove {
        let at = (remove.cluster.clone(), remove.name.clone());
        index.observe(&work(
            &at,
            json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }),
            data,
            Value::Null,
        ));
    }
}

fn vanish(index: &mut Index, cluster: &str) {
    let at = index
        .works
        .keys()
        .find(|at| at.0 == cluster)
        .unwrap()
        .clone();
    let stored = index.works[&at].stored.clone();
    index.observe(&gone(stored));
}

pub(super) fn applied(plan: &Plan) -> Vec<(&str, bool)> {
    plan.apply
        .iter()
        .map(|apply| (apply.cluster.as_str(), apply.exists))
        .collect()
}

pub(super) fn removed(plan: &Plan) -> Vec<&str> {
    plan.remove
        .iter()
        .map(|remove| remove.cluster.as_str())
        .collect()
}

fn status(plan: &Plan) -> ManifestWorkReplicaSetStatus {
    let mut status = ManifestWorkReplicaSetStatus::default();
    plan.summary
        .as_ref()
        .unwrap()
        .apply(&mut status, Timestamp::UNIX_EPOCH);
    status
}

fn shown(status: &ManifestWorkReplicaSetStatus, kind: &str) -> (String, String) {
    let found = find(&status.conditions, kind).unwrap();
    (found.status.clone(), found.reason.clone())
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[test]
fn every_chosen_cluster_gets_a_work_once() {
    let mut index = world(&["east", "west"]);
    let plan = index.decide(&key()).unwrap();
    assert_eq!(applied(&plan), [("east", false), ("west", false)]);
    let labels = &plan.apply[0].labels;
    assert_eq!(
        labels["work.open-cluster-management.io/manifestworkreplicaset"],
        "apps.web"
    );
    assert_eq!(
        labels["work.open-cluster-management.io/placementname"],
        "prod"
    );
    assert_eq!(
        plan,
        index.decide(&key()).unwrap(),
        "names do not depend on chance"
    );
    carry_out(&mut index, &plan, "one");
    let plan = index.decide(&key()).unwrap();
    assert!(plan.is_quiet(), "{plan:?}");
}

/// Absence is not deletion, and neither is what a type cannot hold (P3).
#[test]
fn what_cannot_be_read_takes_no_work_away() {
    let mut index = world(&["east", "west"]);
    let plan = index.decide(&key()).unwrap();
    carry_out(&mut index, &plan, "one");
    let labels = json!({ "labels": { "cluster.open-cluster-management.io/placement": "prod", "cluster.open-cluster-management.io/decision-group-index": "0" } });
    let mut quiet = |event: Event| {
        index.observe(&event);
        let plan = index.decide(&key()).unwrap();
        assert!(plan.is_quiet(), "{plan:?}");
    };
    quiet(put(stored(
        resource::DECISIONS,
        NS,
        "prod-decision-1",
        labels,
        json!({}),
        json!({ "decisions": "none" }),
    )));
    quiet(put(stored(
        resource::PLACEMENTS,
        NS,
        "prod",
        json!({}),
        json!({ "spec": {} }),
        json!({ "numberOfSelectedClusters": "none" }),
    )));
    quiet(set(held(), json!({ "placementRefs": "none" }), "one"));
}

#[test]
fn a_set_is_held_before_it_makes_works() {
    let mut index = world(&["east"]);
    index.observe(&set(json!({}), json!({}), "one"));
    assert!(index.decide(&key()).unwrap().add_finalizer);
}

#[test]
fn a_changed_template_reaches_every_work() {
    let mut index = world(&["east", "west"]);
    let plan = index.decide(&key()).unwrap();
    carry_out(&mut index, &plan, "one");
    index.observe(&set(
        json!({ "generation": 2, "finalizers": held()["finalizers"] }),
        json!({}),
        "two",
    ));
    let plan = index.decide(&key()).unwrap();
    assert_eq!(applied(&plan), [("east", true), ("west", true)]);
    carry_out(&mut index, &plan, "two");
    assert!(index.decide(&key()).unwrap().is_quiet());
}

#[test]
fn works_that_were_edited_are_put_right() {
    let mut index = world(&["east"]);
    let plan = index.decide(&key()).unwrap();
    carry_out(&mut index, &plan, "edited");
    let plan = index.decide(&key()).unwrap();
    assert_eq!(applied(&plan), [("east", true)]);
}

#[test]
fn a_move_makes_the_new_work_and_removes_the_old_one() {
    let mut index = world(&["east", "west"]);
    let plan = index.decide(&key()).unwrap();
    carry_out(&mut index, &plan, "one");
    index.observe(&decision("prod-decision-1", &["standby", "west"]));
    let plan = index.decide(&key()).unwrap();
    assert_eq!(applied(&plan), [("standby", false)]);
    assert_eq!(removed(&plan), ["east"]);
}

#[test]
fn a_cluster_that_is_chosen_again_waits_until_its_old_work_is_gone() {
    let mut index = world(&["east"]);
    let plan = index.decide(&key()).unwrap();
    let first = plan.apply[0].name.clone();
    carry_out(&mut index, &plan, "one");
    index.observe(&decision("prod-decision-1", &["west"]));
    let plan = index.decide(&key()).unwrap();
    carry_out(&mut index, &plan, "one");
    index.observe(&decision("prod-decision-1", &["east"]));
    let plan = index.decide(&key()).unwrap();
    assert!(applied(&plan).is_empty());
    vanish(&mut index, "east");
    let plan = index.decide(&key()).unwrap();
    assert_eq!(
        (applied(&plan), plan.apply[0].name.clone()),
        (vec![("east", false)], first)
    );
}

#[test]
fn a_placement_without_decisions_takes_no_work_away() {
    let mut index = world(&["east"]);
    let plan = index.decide(&key()).unwrap();
    carry_out(&mut index, &plan, "one");
    let object = decision("prod-decision-1", &["east"]).after.unwrap();
    index.observe(&gone(object));
    let plan = index.decide(&key()).unwrap();
    assert!(plan.is_quiet());
    index.observe(&gone(placement(&["prod-decision-1"], 1).after.unwrap()));
    let plan = index.decide(&key()).unwrap();
    assert!(plan.is_quiet());
    assert_eq!(
        shown(&status(&plan), condition::PLACEMENT_VERIFIED),
        pair("False", "PlacementDecisionNotFound")
    );
}

#[test]
fn an_empty_decision_takes_all_works_away() {
    let mut index = world(&["east"]);
    let plan = index.decide(&key()).unwrap();
    carry_out(&mut index, &plan, "one");
    index.observe(&decision("prod-decision-1", &[]));
    index.observe(&placement(&["prod-decision-1"], 0));
    let plan = index.decide(&key()).unwrap();
    assert_eq!(removed(&plan), ["east"]);
    assert_eq!(
        shown(&status(&plan), condition::PLACEMENT_VERIFIED),
        pair("False", "PlacementDecisionEmpty")
    );
}

#[test]
fn works_of_a_placement_that_is_not_referred_to_any_more_go() {
    let mut index = world(&["east"]);
    let plan = index.decide(&key()).unwrap();
    carry_out(&mut index, &plan, "one");
    index.observe(&set(
        json!({ "generation": 2, "finalizers": held()["finalizers"] }),
        json!({ "placementRefs": [{ "name": "other" }] }),
        "one",
    ));
    assert_eq!(removed(&index.decide(&key()).unwrap()), ["east"]);
}

#[test]
fn a_name_that_is_taken_is_left_to_its_owner() {
    let mut index = world(&["east"]);
    let first = index.decide(&key()).unwrap().apply[0].name.clone();
    index.observe(&put(stored(
        resource::WORKS,
        "east",
        &first,
        json!({}),
        json!({ "spec": {} }),
        Value::Null,
    )));
    let second = index.decide(&key()).unwrap().apply[0].name.clone();
    assert_ne!(first, second);
}

#[test]
fn reports_are_summed_up() {
    let mut index = world(&["east", "west"]);
    let plan = index.decide(&key()).unwrap();
    let at = |n: usize| (plan.apply[n].cluster.clone(), plan.apply[n].name.clone());
    carry_out(&mut index, &plan, "one");
    let shown_status = status(&index.decide(&key()).unwrap());
    assert_eq!(
        shown(&shown_status, condition::PLACEMENT_VERIFIED),
        pair("True", "AsExpected")
    );
    assert_eq!(
        shown(&shown_status, condition::MANIFESTWORK_APPLIED),
        pair("False", "NotAsExpected")
    );
    assert_eq!(
        shown(&shown_status, condition::PLACEMENT_ROLLED_OUT),
        pair("False", "Progressing")
    );

    let one = |kind: &str, status: &str| json!({ "type": kind, "status": status, "reason": "R", "message": "", "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z" });
    let good = json!({ "conditions": [one("Applied", "True"), one("Available", "True")] });
    index.queue.take(Instant::now());
    index.observe(&work(&at(0), json!({}), "one", good.clone()));
    assert!(
        index.queue.take(Instant::now()).is_empty(),
        "reports are gathered for a moment"
    );
    index.observe(&work(&at(1), json!({}), "one", good));
    let shown_status = status(&index.decide(&key()).unwrap());
    assert_eq!(shown_status.summary.available, 2);
    assert_eq!(
        shown_status.placement_summary[0].available_decision_groups,
        "1 (2 / 2 clusters applied)"
    );
    assert_eq!(
        shown(&shown_status, condition::MANIFESTWORK_APPLIED),
        pair("True", "AsExpected")
    );
    assert_eq!(
        shown(&shown_status, condition::PLACEMENT_ROLLED_OUT),
        pair("True", "Complete")
    );

    let busy = json!({ "conditions": [one("Applied", "True"), one("Available", "True"), one("Progressing", "True")] });
    index.observe(&work(&at(1), json!({}), "one", busy));
    let shown_status = status(&index.decide(&key()).unwrap());
    assert_eq!(
        shown(&shown_status, condition::MANIFESTWORK_APPLIED),
        pair("False", "Processing")
    );
    assert_eq!(
        shown(&shown_status, condition::PLACEMENT_ROLLED_OUT),
        pair("False", "Progressing")
    );
}

#[test]
fn a_strategy_that_is_not_supported_yet_is_named() {
    let mut index = world(&["east"]);
    let refs = json!({ "placementRefs": [{ "name": "prod", "rolloutStrategy": { "type": "Progressive" } }] });
    index.observe(&set(held(), refs, "one"));
    let plan = index.decide(&key()).unwrap();
    assert_eq!(applied(&plan), [("east", false)]);
    let status = status(&plan);
    assert!(
        find(&status.conditions, condition::PLACEMENT_ROLLED_OUT)
            .unwrap()
            .message
            .contains("Progressive is not supported yet")
    );
}

#[test]
fn names_too_long_for_a_label_are_reported() {
    let mut index = Index::default();
    let name = "w".repeat(60);
    let spec = json!({ "spec": { "manifestWorkTemplate": template("one"), "placementRefs": [{ "name": "prod" }] } });
    index.observe(&put(stored(
        resource::WORKSETS,
        NS,
        &name,
        held(),
        spec,
        Value::Null,
    )));
    let plan = index.decide(&(NS.to_owned(), name)).unwrap();
    assert!(plan.is_quiet());
    assert_eq!(
        shown(&status(&plan), condition::MANIFESTWORK_APPLIED),
        pair("False", "InvalidManifestWorkName")
    );
}

#[test]
fn a_deleted_set_takes_its_works_along() {
    let mut index = world(&["east"]);
    let plan = index.decide(&key()).unwrap();
    carry_out(&mut index, &plan, "one");
    let metadata =
        json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": held()["finalizers"] });
    index.observe(&set(metadata.clone(), json!({}), "one"));
    let plan = index.decide(&key()).unwrap();
    assert_eq!(
        (removed(&plan), plan.remove_finalizer),
        (vec!["east"], true)
    );

    index.observe(&set(
        metadata,
        json!({ "cascadeDeletionPolicy": "Foreground" }),
        "one",
    ));
    let plan = index.decide(&key()).unwrap();
    assert!(!plan.remove_finalizer);
    carry_out(&mut index, &plan, "one");
    assert!(index.decide(&key()).unwrap().is_quiet());
    vanish(&mut index, "east");
    assert!(index.decide(&key()).unwrap().remove_finalizer);
}

#[test]
fn works_take_over_what_their_set_says_of_availability() {
    let meaning = "koinon.dev/availability";
    let mut index = world(&["east"]);
    let means = |value: &str| json!({ "annotations": { meaning: value }, "finalizers": held()["finalizers"] });
    index.observe(&set(means("exists"), json!({}), "one"));
    let first = index.decide(&key()).unwrap().apply.remove(0);
    assert_eq!(first.availability.as_deref(), Some("exists"));
    let at = (first.cluster, first.name);
    let applies = |index: &mut Index| index.decide(&key()).map_or(0, |plan| plan.apply.len());
    index.observe(&work(
        &at,
        json!({ "annotations": { meaning: "exists" } }),
        "one",
        Value::Null,
    ));
    assert_eq!(applies(&mut index), 0);
    index.observe(&set(means("ready"), json!({}), "one"));
    assert_eq!(applies(&mut index), 1);
    // A set that says nothing leaves what was said by hand.
    index.observe(&set(held(), json!({}), "one"));
    assert_eq!(applies(&mut index), 0);
}
