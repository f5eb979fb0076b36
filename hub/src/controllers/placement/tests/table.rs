mod faults;
mod semantics;

use jiff::Timestamp;
use koinon_api::{labels::condition, meta::condition as find, placement::PlacementStatus};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::{
    super::{
        fixtures::{gone, put, stored},
        resource,
    },
    decide::{Action, Plan},
    index::{Index, Name},
};

const NS: &str = "apps";

fn now() -> Timestamp {
    Timestamp::from_second(1_000).unwrap()
}

fn world(clusters: &[&str]) -> Index {
    let mut index = Index::default();
    for name in clusters {
        index.observe(&cluster(name, json!([])));
    }
    index.observe(&put(stored(
        resource::SETS,
        "",
        "prod",
        json!({}),
        json!({ "spec": {} }),
        Value::Null,
    )));
    index.observe(&put(stored(
        resource::BINDINGS,
        NS,
        "prod",
        json!({}),
        json!({ "spec": { "clusterSet": "prod" } }),
        Value::Null,
    )));
    index
}

fn cluster(name: &str, taints: Value) -> koinon_store::Event {
    let labels = json!({ "labels": { "cluster.open-cluster-management.io/clusterset": "prod" } });
    put(stored(
        resource::CLUSTERS,
        "",
        name,
        labels,
        json!({ "spec": { "hubAcceptsClient": true, "taints": taints } }),
        Value::Null,
    ))
}

fn placement(index: &mut Index, name: &str, generation: i64, spec: Value) {
    let metadata = json!({ "generation": generation });
    index.observe(&put(stored(
        resource::PLACEMENTS,
        NS,
        name,
        metadata,
        json!({ "spec": spec }),
        Value::Null,
    )));
}

fn key(name: &str) -> Name {
    (NS.to_owned(), name.to_owned())
}

/// Decides and takes the plan as carried out.
fn decide(index: &mut Index, name: &str) -> Plan {
    let plan = index.decide(&key(name), now()).unwrap();
    index.assume(&plan);
    plan
}

fn decided(plan: &Plan) -> Vec<(String, Vec<String>)> {
    let of = |action: &Action| match action {
        Action::Decide { name, clusters, .. } => Some((name.clone(), clusters.clone())),
        _ => None,
    };
    plan.actions.iter().filter_map(of).collect()
}

fn status(plan: &Plan) -> &PlacementStatus {
    plan.actions
        .iter()
        .find_map(|action| match action {
            Action::Status(status) => Some(status),
            _ => None,
        })
        .unwrap()
}

fn satisfied(status: &PlacementStatus) -> (String, String, String) {
    let found = find(&status.conditions, condition::PLACEMENT_SATISFIED).unwrap();
    (
        found.status.clone(),
        found.reason.clone(),
        found.message.clone(),
    )
}

fn held(index: &Index, name: &str) -> Vec<String> {
    let names = index
        .of_placement
        .get(&key(name))
        .cloned()
        .unwrap_or_default();
    names
        .iter()
        .flat_map(|one| {
            index.decisions[&key(one)]
                .clusters()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn a_placement_gets_its_clusters_and_then_rests() {
    let mut index = world(&["c1", "c2", "c3"]);
    placement(&mut index, "web", 1, json!({ "numberOfClusters": 2 }));
    assert_eq!(index.queue.take(Instant::now()), [key("web")]);
    let plan = decide(&mut index, "web");
    assert_eq!(
        decided(&plan),
        [(
            "web-decision-1".to_owned(),
            vec!["c1".to_owned(), "c2".to_owned()]
        )]
    );
    assert!(matches!(&plan.actions[0], Action::Create { .. }));
    assert_eq!(status(&plan).number_of_selected_clusters, 2);
    assert_eq!(satisfied(status(&plan)).1, "AllDecisionsScheduled");
    assert!(
        decide(&mut index, "web").actions.is_empty(),
        "unchanged input writes nothing (P13)"
    );
}

#[test]
fn a_lost_cluster_is_replaced_by_the_next() {
    let mut index = world(&["east", "standby", "west"]);
    placement(&mut index, "web", 1, json!({ "numberOfClusters": 2 }));
    decide(&mut index, "web");
    assert_eq!(held(&index, "web"), ["east", "standby"]);
    index.queue.take(Instant::now());
    let taint = json!([{ "key": "cluster.open-cluster-management.io/unreachable", "effect": "NoSelect", "timeAdded": "1970-01-01T00:10:00Z" }]);
    index.observe(&cluster("east", taint));
    assert_eq!(index.queue.take(Instant::now()), [key("web")]);
    decide(&mut index, "web");
    assert_eq!(held(&index, "web"), ["standby", "west"]);
    index.observe(&cluster("east", json!([])));
    decide(&mut index, "web");
    assert_eq!(
        held(&index, "web"),
        ["standby", "west"],
        "a cluster that comes back does not take its place back"
    );
}

#[test]
fn a_tolerated_taint_keeps_the_cluster_for_its_seconds() {
    let mut index = world(&["east", "west"]);
    let toleration = json!([{ "key": "k", "operator": "Exists", "tolerationSeconds": 600 }]);
    placement(
        &mut index,
        "web",
        1,
        json!({ "numberOfClusters": 1, "tolerations": toleration }),
    );
    decide(&mut index, "web");
    index.observe(&cluster(
        "east",
        json!([{ "key": "k", "effect": "NoSelect", "timeAdded": "1970-01-01T00:10:00Z" }]),
    ));
    let plan = decide(&mut index, "web");
    assert_eq!(plan.recheck_at, Some(Timestamp::from_second(1200).unwrap()));
    assert!(plan.actions.is_empty());
}

#[test]
fn balance_counts_what_was_decided_in_the_same_run() {
    let mut index = world(&["c1", "c2", "c3"]);
    for name in ["a", "b", "c"] {
        placement(&mut index, name, 1, json!({ "numberOfClusters": 1 }));
        decide(&mut index, name);
    }
    let all: Vec<_> = ["a", "b", "c"]
        .iter()
        .flat_map(|name| held(&index, name))
        .collect();
    assert_eq!(all, ["c1", "c2", "c3"]);
}

#[test]
fn a_wrong_spec_keeps_the_decisions_and_says_what_is_wrong() {
    let mut index = world(&["c1", "c2"]);
    placement(&mut index, "web", 1, json!({ "numberOfClusters": 1 }));
    decide(&mut index, "web");
    let cel =
        json!({ "requiredClusterSelector": { "celSelector": { "celExpressions": ["tru"] } } });
    placement(
        &mut index,
        "web",
        2,
        json!({ "numberOfClusters": 1, "predicates": [cel] }),
    );
    let plan = index.decide(&key("web"), now()).unwrap();
    assert!(decided(&plan).is_empty());
    let found = find(
        &status(&plan).conditions,
        condition::PLACEMENT_MISCONFIGURED,
    )
    .unwrap();
    assert_eq!(found.status, "True");
    assert!(
        found
            .message
            .starts_with("Predicate:ERROR: <input>:1:1: undeclared reference to 'tru'"),
        "{}",
        found.message
    );
    assert_eq!(held(&index, "web"), ["c1"]);
}

#[test]
fn a_wrong_spec_still_loses_clusters_that_may_not_be_chosen_any_more() {
    let mut index = world(&["c1", "c2"]);
    placement(&mut index, "web", 1, json!({}));
    decide(&mut index, "web");
    placement(
        &mut index,
        "web",
        2,
        json!({ "prioritizerPolicy": { "mode": "Fancy" } }),
    );
    decide(&mut index, "web");
    let gone_cluster = stored(
        resource::CLUSTERS,
        "",
        "c1",
        json!({}),
        json!({ "spec": {} }),
        Value::Null,
    );
    index.observe(&gone(gone_cluster));
    decide(&mut index, "web");
    assert_eq!(held(&index, "web"), ["c2"]);
}

#[test]
fn conditions_say_why_there_are_no_clusters() {
    let reason = |index: &mut Index, spec: Value| {
        placement(index, "web", 1, spec);
        satisfied(status(&index.decide(&key("web"), now()).unwrap()))
    };
    let unbound = reason(&mut Index::default(), json!({}));
    assert_eq!(unbound.1, "NoManagedClusterSetBindings");
    let foreign = reason(&mut world(&["c1"]), json!({ "clusterSets": ["dev", "qa"] }));
    assert_eq!(
        foreign.2,
        "None of ManagedClusterSets [dev,qa] is bound to placement namespace"
    );
    let empty = reason(&mut world(&[]), json!({}));
    assert_eq!(
        empty.2,
        "All ManagedClusterSets [prod] have no member ManagedCluster"
    );
    let short = reason(&mut world(&["c1"]), json!({ "numberOfClusters": 3 }));
    assert_eq!(
        (short.1.as_str(), short.2.as_str()),
        (
            "NotAllDecisionsScheduled",
            "2 cluster decisions unscheduled"
        )
    );
    let none = reason(&mut world(&["c1"]), json!({ "numberOfClusters": 0 }));
    assert_eq!(none.1, "NoManagedClusterMatched");
}

#[test]
fn losing_the_binding_empties_the_decisions() {
    let mut index = world(&["c1"]);
    placement(&mut index, "web", 1, json!({}));
    decide(&mut index, "web");
    let binding = stored(
        resource::BINDINGS,
        NS,
        "prod",
        json!({}),
        json!({ "spec": { "clusterSet": "prod" } }),
        Value::Null,
    );
    index.observe(&gone(binding));
    let plan = decide(&mut index, "web");
    assert_eq!(decided(&plan), [("web-decision-1".to_owned(), vec![])]);
}

#[test]
fn surplus_objects_go_and_foreign_ones_are_adopted() {
    let clusters: Vec<String> = (0..150).map(|n| format!("c{n:03}")).collect();
    let mut index = world(&clusters.iter().map(String::as_str).collect::<Vec<_>>());
    placement(&mut index, "web", 1, json!({}));
    decide(&mut index, "web");
    assert_eq!(index.of_placement[&key("web")].len(), 2);
    placement(&mut index, "web", 2, json!({ "numberOfClusters": 1 }));
    let plan = decide(&mut index, "web");
    assert!(
        plan.actions.iter().any(
            |action| matches!(action, Action::Remove { name, .. } if name == "web-decision-2")
        )
    );
    assert_eq!(
        status(&plan).decision_groups[0].decisions,
        ["web-decision-1"]
    );

    let labels = json!({ "labels": { "cluster.open-cluster-management.io/placement": "web" } });
    let foreign = stored(
        resource::DECISIONS,
        NS,
        "web-decision-1",
        labels,
        json!({}),
        json!({ "decisions": [] }),
    );
    index.observe(&put(foreign));
    let plan = decide(&mut index, "web");
    assert!(matches!(&plan.actions[0], Action::Adopt { .. }), "{plan:?}");
    assert_eq!(held(&index, "web"), ["c000"]);
}

#[test]
fn a_change_marks_only_what_it_can_affect() {
    let mut index = world(&["c1", "c2"]);
    placement(&mut index, "web", 1, json!({}));
    placement(
        &mut index,
        "memory",
        1,
        json!({ "prioritizerPolicy": { "configurations": [{ "scoreCoordinate": { "builtIn": "ResourceAllocatableMemory" } }] } }),
    );
    placement(&mut index, "other", 1, json!({ "clusterSets": ["dev"] }));
    for name in index.queue.take(Instant::now()) {
        decide(&mut index, &name.1);
    }

    let labels = json!({ "labels": { "cluster.open-cluster-management.io/clusterset": "prod" } });
    let spec = json!({ "spec": { "hubAcceptsClient": true, "taints": [] } });
    let resources = json!({ "capacity": { "memory": "2" }, "allocatable": { "memory": "1" } });
    index.observe(&put(stored(
        resource::CLUSTERS,
        "",
        "c1",
        labels.clone(),
        spec.clone(),
        resources.clone(),
    )));
    assert_eq!(index.queue.take(Instant::now()), [key("memory")]);
    decide(&mut index, "memory");

    let mut conditions = resources;
    conditions["conditions"] = json!([]);
    index.observe(&put(stored(
        resource::CLUSTERS,
        "",
        "c1",
        labels,
        spec.clone(),
        conditions,
    )));
    assert!(index.queue.take(Instant::now()).is_empty());

    index.observe(&put(stored(
        resource::CLUSTERS,
        "",
        "c1",
        json!({}),
        spec,
        Value::Null,
    )));
    assert_eq!(
        index.queue.take(Instant::now()),
        [key("memory"), key("web")]
    );
}

#[test]
fn a_disabled_or_deleted_placement_is_left_alone() {
    let mut index = world(&["c1"]);
    let annotation = json!({ "annotations": { "cluster.open-cluster-management.io/experimental-scheduling-disable": "true" } });
    index.observe(&put(stored(
        resource::PLACEMENTS,
        NS,
        "web",
        annotation,
        json!({ "spec": {} }),
        Value::Null,
    )));
    assert_eq!(index.decide(&key("web"), now()), None);
    assert_eq!(index.decide(&key("nobody"), now()), None);
}

#[test]
fn a_cluster_that_stays_chosen_is_in_some_object_all_the_time() {
    let mut index = world(&["b", "c"]);
    let one_each = json!({ "groupStrategy": { "clustersPerDecisionGroup": 1 } });
    placement(
        &mut index,
        "web",
        1,
        json!({ "decisionStrategy": one_each }),
    );
    decide(&mut index, "web");
    assert_eq!(held(&index, "web"), ["b", "c"]);
    index.observe(&cluster("a", json!([])));
    index.observe(&gone(stored(
        resource::CLUSTERS,
        "",
        "c",
        json!({}),
        json!({ "spec": {} }),
        Value::Null,
    )));
    let plan = index.decide(&key("web"), now()).unwrap();
    for steps in 0..=plan.actions.len() {
        let partial = Plan {
            actions: plan.actions[..steps].to_vec(),
            ..plan.clone()
        };
        let mut index = world(&["b", "c"]);
        placement(
            &mut index,
            "web",
            1,
            json!({ "decisionStrategy": one_each }),
        );
        decide(&mut index, "web");
        index.assume(&partial);
        assert!(
            held(&index, "web").contains(&"b".to_owned()),
            "after {steps} of {plan:?}"
        );
    }
    index.assume(&plan);
    assert_eq!(held(&index, "web"), ["a", "b"]);
}
