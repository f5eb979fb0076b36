//! Expressions, scores and packing, change by change.

use super::*;

fn expressing(expression: &str) -> Value {
    json!({ "predicates": [{ "requiredClusterSelector": { "celSelector": { "celExpressions": [expression] } } }] })
}

#[test]
fn an_expression_sees_every_change_of_an_object_and_of_scores() {
    let mut index = world(&["c1", "c2"]);
    placement(
        &mut index,
        "tall",
        1,
        expressing("managedCluster.scores('size').exists(s, s.name == 'height' && s.value > 10)"),
    );
    placement(
        &mut index,
        "alpha",
        1,
        expressing("managedCluster.metadata.?annotations.?tier.orValue('') == 'a'"),
    );
    placement(&mut index, "plain", 1, json!({}));
    for name in ["tall", "alpha", "plain"] {
        decide(&mut index, name);
    }
    index.queue.take(Instant::now());
    let score = |value: i32| {
        put(stored(
            resource::SCORES,
            "c2",
            "size",
            json!({}),
            json!({}),
            json!({ "scores": [{ "name": "height", "value": value }] }),
        ))
    };
    index.observe(&score(11));
    assert_eq!(
        index.queue.take(Instant::now()),
        [key("tall")],
        "the other expression does not look at scores"
    );
    decide(&mut index, "tall");
    assert_eq!(held(&index, "tall"), ["c2"]);
    index.observe(&score(9));
    decide(&mut index, "tall");
    assert!(held(&index, "tall").is_empty());
    index.queue.take(Instant::now());
    let annotated = json!({
        "labels": { "cluster.open-cluster-management.io/clusterset": "prod" }, "annotations": { "tier": "a" },
    });
    index.observe(&put(stored(
        resource::CLUSTERS,
        "",
        "c1",
        annotated,
        json!({ "spec": { "hubAcceptsClient": true } }),
        Value::Null,
    )));
    assert_eq!(
        index.queue.take(Instant::now()),
        [key("alpha"), key("tall")],
        "labels are as before"
    );
    decide(&mut index, "alpha");
    assert_eq!(held(&index, "alpha"), ["c1"]);
}

#[test]
fn scores_alone_change_decisions_no_more_often_than_asked() {
    let mut index = world(&["c1", "c2"]);
    let score = |cluster: &str, value: i32| {
        put(stored(
            resource::SCORES,
            cluster,
            "demo",
            json!({}),
            json!({}),
            json!({ "scores": [{ "name": "demo", "value": value }] }),
        ))
    };
    index.observe(&score("c1", 10));
    index.observe(&score("c2", 20));
    let coordinate =
        json!({ "type": "AddOn", "addOn": { "resourceName": "demo", "scoreName": "demo" } });
    let spec = json!({
        "sortBy": "Score", "scoreRateLimit": "90s",
        "prioritizerPolicy": { "mode": "Exact", "configurations": [{ "scoreCoordinate": coordinate, "weight": 1 }] },
    });
    placement(&mut index, "web", 1, spec.clone());
    let plan = decide(&mut index, "web");
    assert_eq!(decided(&plan)[0].1, ["c2", "c1"]);
    let shown = plan.actions.iter().find_map(|action| match action {
        Action::Decide { scores, .. } => Some(scores.clone()),
        _ => None,
    });
    assert_eq!(shown, Some(vec![20, 10]));
    assert_eq!(
        status(&plan)
            .last_score_update_time
            .as_ref()
            .map(|time| time.0),
        Some(now())
    );
    index.observe(&score("c1", 30));
    let plan = decide(&mut index, "web");
    assert!(plan.actions.is_empty(), "{:?}", plan.actions);
    let later = Timestamp::from_second(1_090).unwrap();
    assert_eq!(plan.recheck_at, Some(later));
    let plan = index.decide(&key("web"), later).unwrap();
    assert_eq!(decided(&plan)[0].1, ["c1", "c2"]);
    assert_eq!(
        status(&plan)
            .last_score_update_time
            .as_ref()
            .map(|time| time.0),
        Some(later)
    );
    // Groups are no scores: they do not wait.
    index.assume(&plan);
    index.observe(&score("c1", 25));
    let mut grouped = spec;
    grouped["decisionStrategy"] = json!({ "groupStrategy": { "clustersPerDecisionGroup": 1 } });
    placement(&mut index, "web", 2, grouped);
    let plan = index.decide(&key("web"), later).unwrap();
    assert_eq!(status(&plan).decision_groups.len(), 2, "{plan:?}");
    index.observe(&score("c1", 5));
    placement(
        &mut index,
        "web",
        3,
        json!({ "sortBy": "Score", "numberOfClusters": 1 }),
    );
    assert!(
        !decided(&decide(&mut index, "web")).is_empty(),
        "another choice is not kept waiting"
    );
}

#[test]
fn packing_placements_leave_room_for_each_other_and_take_what_becomes_free() {
    let mut index = world(&[]);
    let labels = json!({ "labels": { "cluster.open-cluster-management.io/clusterset": "prod" } });
    index.observe(&put(stored(
        resource::CLUSTERS,
        "",
        "c1",
        labels,
        json!({ "spec": { "hubAcceptsClient": true } }),
        json!({ "conditions": [], "allocatable": { "cpu": "4" } }),
    )));
    for name in ["a", "b"] {
        let metadata = json!({ "generation": 1, "annotations": { "koinon.dev/packing": r#"{"requests": {"cpu": "3"}}"# } });
        index.observe(&put(stored(
            resource::PLACEMENTS,
            NS,
            name,
            metadata,
            json!({ "spec": { "numberOfClusters": 1 } }),
            Value::Null,
        )));
        decide(&mut index, name);
    }
    assert_eq!(held(&index, "a"), ["c1"]);
    assert!(held(&index, "b").is_empty());
    index.queue.take(Instant::now());
    index.set_decision((NS.to_owned(), "a-decision-1".to_owned()), None);
    assert_eq!(index.queue.take(Instant::now()), [key("a"), key("b")]);
    decide(&mut index, "b");
    assert_eq!(held(&index, "b"), ["c1"]);
}
