//! What goes wrong: writes that are refused, objects that cannot be read, specs that make no sense.

use koinon_store::Event;

use super::{
    super::super::{super::queue::Pending as _, Placements, act::stages},
    *,
};

fn event_of(stored: &Event) -> std::sync::Arc<koinon_store::Stored> {
    stored.after.clone().unwrap()
}

fn events(plan: &Plan) -> Vec<(&'static str, String)> {
    let of = |action: &Action| match action {
        Action::Event {
            warning: true,
            reason,
            message,
        } => Some((*reason, message.clone())),
        _ => None,
    };
    plan.actions.iter().filter_map(of).collect()
}

/// Changes a spec; the status stays.
fn edit(index: &mut Index, name: &str, generation: i64, spec: Value) {
    let status = index
        .placements
        .get(&key(name))
        .map(|entry| entry.status.clone());
    index.observe(&put(stored(
        resource::PLACEMENTS,
        NS,
        name,
        json!({ "generation": generation }),
        json!({ "spec": spec }),
        json!(status),
    )));
}

/// A placement whose plan is refused each time is tried ever more seldom, and nothing of it is believed.
#[test]
fn a_plan_that_always_fails_is_tried_with_growing_pauses() {
    let mut index = world(&["c1", "c2"]);
    let spec = put(stored(
        resource::PLACEMENTS,
        NS,
        "web",
        json!({}),
        json!({ "spec": { "numberOfClusters": 1 } }),
        Value::Null,
    ));
    index.observe(&spec);
    let mut placements = Placements {
        index,
        ..Placements::default()
    };
    let start = Instant::now();
    let (mut now, mut tries) = (start, 0);
    while now.duration_since(start) < std::time::Duration::from_secs(600) {
        for name in placements.index.queue.take(now) {
            tries += 1;
            let plan = placements.index.decide(&name, super::now()).unwrap();
            assert!(
                !plan.actions.is_empty(),
                "nothing was written, so all is still to be written"
            );
            placements.index.assume(&plan);
            let placement = event_of(&spec);
            let stored = |key: &koinon_store::Key| {
                (*key.resource == *resource::PLACEMENTS).then(|| placement.clone())
            };
            placements.recall(&plan, stored);
            placements.index.queue.failed(name, now);
        }
        assert!(!placements.index.queue.due(now), "it waits");
        assert!(held(&placements.index, "web").is_empty());
        now = placements.index.queue.next().unwrap();
    }
    assert!((5..60).contains(&tries), "{tries} tries in ten minutes");
}

/// Different objects are written side by side, but nothing is taken away before all that is given is there.
#[test]
fn stages_give_before_they_take() {
    let mut index = world(&["a", "b", "c"]);
    let groups = |size: u32| json!({ "decisionStrategy": { "groupStrategy": { "clustersPerDecisionGroup": size } } });
    edit(&mut index, "web", 1, groups(1));
    let plan = decide(&mut index, "web");
    let made = stages(&plan.actions);
    assert_eq!(made[0].len(), 3, "one chain for each object: {made:?}");
    for chain in &made[0] {
        assert!(matches!(chain[0], Action::Create { .. }), "{chain:?}");
        assert!(
            chain
                .iter()
                .any(|action| matches!(action, Action::Decide { .. }))
        );
    }
    assert!(
        made[3]
            .iter()
            .flatten()
            .any(|action| matches!(action, Action::Status(_)))
    );

    edit(&mut index, "web", 2, groups(2));
    let plan = decide(&mut index, "web");
    let made = stages(&plan.actions);
    let count: usize = made.iter().flatten().map(Vec::len).sum();
    assert_eq!(count, plan.actions.len(), "none is lost");
    let takes = |stage: usize| {
        let mut all = made[stage].iter().flatten();
        all.any(|action| matches!(action, Action::Remove { .. }))
    };
    assert!(!takes(0) && !takes(1) && takes(2));
    assert!(
        made[0]
            .iter()
            .flatten()
            .any(|action| matches!(action, Action::Decide { .. }))
    );
}

#[test]
fn a_mistake_is_an_event_once() {
    let mut index = world(&["c1", "c2"]);
    let mode = |mode: &str| json!({ "prioritizerPolicy": { "mode": mode } });
    edit(&mut index, "web", 1, json!({}));
    assert_eq!(events(&decide(&mut index, "web")), []);
    edit(&mut index, "web", 2, mode("Fancy"));
    let plan = decide(&mut index, "web");
    let message = ":incorrect prioritizer policy mode: Fancy".to_owned();
    assert_eq!(events(&plan), [("Misconfigured", message)]);
    index.observe(&cluster("c3", json!([])));
    assert_eq!(events(&decide(&mut index, "web")), []);
    edit(&mut index, "web", 3, mode(&"x".repeat(40_000)));
    let plan = decide(&mut index, "web");
    let [(_, message)] = &events(&plan)[..] else {
        panic!("{plan:?}")
    };
    assert!(message.chars().count() <= 1_000);
    let shown = find(
        &status(&plan).conditions,
        condition::PLACEMENT_MISCONFIGURED,
    )
    .unwrap();
    assert!(shown.message.chars().count() <= 1_001);
}

#[test]
fn what_is_not_satisfied_is_an_event_when_it_changes() {
    let mut index = world(&["c1"]);
    edit(&mut index, "web", 1, json!({ "numberOfClusters": 3 }));
    let of = |index: &mut Index| events(&decide(index, "web"));
    let short = "2 cluster decisions unscheduled".to_owned();
    assert_eq!(of(&mut index), [("NotAllDecisionsScheduled", short)]);
    assert_eq!(of(&mut index), []);
    index.observe(&cluster("c2", json!([])));
    assert_eq!(of(&mut index)[0].1, "1 cluster decisions unscheduled");
    let set = stored(
        resource::SETS,
        "",
        "prod",
        json!({}),
        json!({ "spec": {} }),
        Value::Null,
    );
    index.observe(&gone(set));
    assert_eq!(of(&mut index)[0].0, "NoManagedClusterSetBindings");
}

#[test]
fn selectors_that_no_label_can_match_keep_the_decisions() {
    for (selector, said) in [
        (
            json!({ "matchLabels": { "region ": "eu" } }),
            "key: Invalid value: \"region \"",
        ),
        (
            json!({ "matchExpressions": [{ "key": "a/b/c", "operator": "DoesNotExist" }] }),
            "key: Invalid value: \"a/b/c\"",
        ),
        (
            json!({ "matchExpressions": [{ "key": "tier", "operator": "NotIn", "values": ["gold", "not this"] }] }),
            "values[1][tier]: Invalid value: \"not this\"",
        ),
    ] {
        let mut index = world(&["c1", "c2"]);
        edit(&mut index, "web", 1, json!({ "numberOfClusters": 1 }));
        decide(&mut index, "web");
        let predicate = json!({ "requiredClusterSelector": { "labelSelector": selector } });
        edit(&mut index, "web", 2, json!({ "predicates": [predicate] }));
        let plan = decide(&mut index, "web");
        let [("Misconfigured", message)] = &events(&plan)[..] else {
            panic!("{selector}: {plan:?}")
        };
        assert!(message.contains(said), "{message}");
        assert_eq!(held(&index, "web"), ["c1"]);
    }
}

/// What the types cannot hold is no deletion.
#[test]
fn objects_that_cannot_be_read_change_nothing() {
    let mut index = world(&["c1", "c2"]);
    edit(&mut index, "web", 1, json!({ "clusterSets": ["prod"] }));
    decide(&mut index, "web");
    let labels = json!({ "labels": { "cluster.open-cluster-management.io/clusterset": "prod" } });
    let broken = json!({ "spec": { "taints": "many" } });
    index.observe(&put(stored(
        resource::CLUSTERS,
        "",
        "c1",
        labels,
        broken,
        Value::Null,
    )));
    let broken = json!({ "spec": { "clusterSelector": 1 } });
    index.observe(&put(stored(
        resource::SETS,
        "",
        "prod",
        json!({}),
        broken,
        Value::Null,
    )));
    assert_eq!(held(&index, "web"), ["c1", "c2"]);
    let group = json!({ "groupStrategy": { "clustersPerDecisionGroup": 3_000_000_000u64 } });
    edit(&mut index, "web", 2, json!({ "decisionStrategy": group }));
    let plan = decide(&mut index, "web");
    assert_eq!(decided(&plan), []);
    assert!(events(&plan)[0].1.contains("cannot be read"), "{plan:?}");
    assert_eq!(held(&index, "web"), ["c1", "c2"]);
    edit(&mut index, "web", 3, json!({ "numberOfClusters": 1 }));
    decide(&mut index, "web");
    assert_eq!(held(&index, "web"), ["c1"]);
}

/// A number is as good an amount as a text.
#[test]
fn amounts_may_be_numbers() {
    let mut index = world(&["c1"]);
    edit(&mut index, "web", 1, json!({}));
    decide(&mut index, "web");
    let labels = json!({ "labels": { "cluster.open-cluster-management.io/clusterset": "prod" } });
    let resources = json!({ "capacity": { "cpu": 8 }, "allocatable": { "cpu": 4 } });
    let spec = json!({ "spec": { "hubAcceptsClient": true } });
    index.observe(&put(stored(
        resource::CLUSTERS,
        "",
        "c1",
        labels,
        spec,
        resources,
    )));
    let packing = json!({ "annotations": { "koinon.dev/packing": "{\"requests\": {\"cpu\": \"4\"}}" }, "generation": 2 });
    index.observe(&put(stored(
        resource::PLACEMENTS,
        NS,
        "web",
        packing,
        json!({ "spec": {} }),
        Value::Null,
    )));
    decide(&mut index, "web");
    assert_eq!(held(&index, "web"), ["c1"]);
}

#[test]
fn while_misconfigured_losses_show_and_what_is_kept_is_as_it_was() {
    let mut index = world(&["c1", "c2", "c3"]);
    edit(&mut index, "web", 1, json!({ "sortBy": "Score" }));
    decide(&mut index, "web");
    edit(
        &mut index,
        "web",
        2,
        json!({ "prioritizerPolicy": { "mode": "Fancy" } }),
    );
    decide(&mut index, "web");
    let before = index.decisions[&key("web-decision-1")].clone();
    let lost = stored(
        resource::CLUSTERS,
        "",
        "c1",
        json!({}),
        json!({ "spec": {} }),
        Value::Null,
    );
    index.observe(&gone(lost));
    let plan = decide(&mut index, "web");
    let shown = satisfied(status(&plan));
    assert_eq!(
        (shown.0.as_str(), shown.2.as_str()),
        ("False", "1 cluster decisions unscheduled")
    );
    assert_eq!(status(&plan).number_of_selected_clusters, 2);
    assert_eq!(status(&plan).decision_groups[0].clusters_count, 2);
    let after = &index.decisions[&key("web-decision-1")];
    for (cluster, score) in before.clusters().zip(&before.scores) {
        let place = after.clusters().position(|one| one == cluster);
        assert_eq!(
            place.map(|place| after.scores[place]),
            (cluster != "c1").then_some(*score)
        );
    }
    // An object that is gone is not counted any more.
    let gone_object = stored(
        resource::DECISIONS,
        NS,
        "web-decision-1",
        json!({}),
        json!({}),
        Value::Null,
    );
    index.observe(&gone(gone_object));
    let plan = decide(&mut index, "web");
    assert_eq!(satisfied(status(&plan)).1, "NoManagedClusterMatched");
    assert!(status(&plan).decision_groups[0].decisions.is_empty());
}

fn decision(labels: Value, reason: &str) -> Event {
    let mut all = json!({
        "cluster.open-cluster-management.io/placement": "web",
        "cluster.open-cluster-management.io/decision-group-index": "0",
        "cluster.open-cluster-management.io/decision-group-name": "",
    });
    all.as_object_mut()
        .unwrap()
        .extend(labels.as_object().unwrap().clone());
    let uid = super::super::super::super::fixtures::uid_of(resource::PLACEMENTS, NS, "web");
    let owner = json!({
        "apiVersion": "v1", "kind": "Placement", "name": "web", "uid": uid, "controller": true,
    });
    put(stored(
        resource::DECISIONS,
        NS,
        "web-decision-1",
        json!({ "labels": all, "ownerReferences": [owner] }),
        json!({}),
        json!({ "decisions": [{ "clusterName": "c1", "reason": reason }] }),
    ))
}

#[test]
fn labels_of_others_stay_and_wrong_reasons_are_put_right() {
    let mut index = world(&["c1"]);
    edit(&mut index, "web", 1, json!({}));
    decide(&mut index, "web");
    let every = "every cluster that qualifies is selected";
    index.observe(&decision(json!({ "team": "shop" }), every));
    let plan = decide(&mut index, "web");
    assert_eq!(
        plan.actions,
        [],
        "a label of somebody else is no reason to write"
    );
    let wrong =
        json!({ "team": "shop", "cluster.open-cluster-management.io/decision-group-index": "7" });
    index.observe(&decision(wrong, every));
    let plan = decide(&mut index, "web");
    assert!(matches!(&plan.actions[0], Action::Adopt { .. }), "{plan:?}");
    assert_eq!(
        index.decisions[&key("web-decision-1")].labels["team"],
        "shop"
    );
    index.observe(&decision(json!({}), "because I say so"));
    assert_eq!(decided(&decide(&mut index, "web")).len(), 1);
    // The same clusters for another reason.
    edit(&mut index, "web", 2, json!({ "numberOfClusters": 1 }));
    let plan = decide(&mut index, "web");
    let reasons = plan.actions.iter().filter_map(|action| match action {
        Action::Decide { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(reasons.collect::<Vec<_>>(), ["among the best ranked"]);
    assert_eq!(decide(&mut index, "web").actions, []);
}

#[test]
fn an_expired_score_is_an_event_once() {
    let mut index = world(&["c1", "c2"]);
    let scores = |valid: &str| {
        let status = json!({ "scores": [{ "name": "s", "value": 50 }], "validUntil": valid });
        put(stored(
            resource::SCORES,
            "c2",
            "demo",
            json!({}),
            json!({}),
            status,
        ))
    };
    index.observe(&scores("1970-01-01T00:10:00Z"));
    let add_on = json!({ "scoreCoordinate": { "type": "AddOn", "addOn": { "resourceName": "demo", "scoreName": "s" } }, "weight": 1 });
    edit(
        &mut index,
        "web",
        1,
        json!({ "numberOfClusters": 1, "prioritizerPolicy": { "configurations": [add_on] } }),
    );
    let said = events(&decide(&mut index, "web"));
    assert_eq!(said[0].0, "ScoreExpired");
    assert!(
        said[0].1.contains("AddOn/demo/s") && said[0].1.contains("c2"),
        "{said:?}"
    );
    index.mark_all();
    assert_eq!(decide(&mut index, "web").actions, []);
    index.observe(&scores("2970-01-01T00:10:00Z"));
    index.mark_all();
    decide(&mut index, "web");
    index.observe(&scores("1970-01-01T00:11:00Z"));
    index.mark_all();
    assert_eq!(events(&decide(&mut index, "web"))[0].0, "ScoreExpired");
}
