//! A world of objects: sets and bindings, hypotheses, what is left alone.

use serde_json::{Value, json};

use super::{
    super::{Answer, Effect, Impact, Name, State, Taint, Topology, World},
    fixtures::at,
};

fn read<K: serde::de::DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

fn world() -> World {
    let mut world = World::default();
    for (name, region) in [("c1", "eu"), ("c2", "eu"), ("c3", "us")] {
        world.put_cluster(&read(json!({
            "metadata": { "name": name, "labels": { "cluster.open-cluster-management.io/clusterset": "prod", "region": region } },
            "spec": { "hubAcceptsClient": true },
        })));
    }
    world.put_set(&read(json!({ "metadata": { "name": "prod" }, "spec": {} })));
    world.put_binding(&read(json!({ "metadata": { "namespace": "apps", "name": "prod" }, "spec": { "clusterSet": "prod" } })));
    world
}

fn placement(world: &mut World, name: &str, spec: Value, annotations: Value) -> Name {
    world.put_placement(&read(json!({
        "metadata": { "namespace": "apps", "name": name, "annotations": annotations }, "spec": spec,
    })));
    ("apps".to_owned(), name.to_owned())
}

fn held(world: &World, name: &Name) -> Vec<String> {
    world.held(name).map(str::to_owned).collect()
}

#[test]
fn what_is_gone_moves_what_ran_there_and_nothing_else() {
    let mut world = world();
    let one = placement(
        &mut world,
        "one",
        json!({ "numberOfClusters": 1 }),
        json!({}),
    );
    let all = placement(&mut world, "all", json!({}), json!({}));
    world.settle(at(0), 3);
    assert_eq!(held(&world, &all), ["c1", "c2", "c3"]);
    let before = held(&world, &one);
    let mut without = world.clone();
    without.remove_cluster(&before[0]);
    without.settle(at(0), 3);
    assert_ne!(held(&without, &one), before);
    assert_eq!(held(&without, &all).len(), 2);
    assert_eq!(
        held(&world, &one),
        before,
        "a hypothesis has no side effects"
    );
}

#[test]
fn without_candidates_the_reason_is_ocms() {
    let mut world = world();
    let elsewhere = ("other".to_owned(), "p".to_owned());
    world.put_placement(&read(
        json!({ "metadata": { "namespace": "other", "name": "p" }, "spec": {} }),
    ));
    let unbound = placement(
        &mut world,
        "unbound",
        json!({ "clusterSets": ["dev"] }),
        json!({}),
    );
    let reason = |name: &Name| match world.answer(name, at(0)) {
        Some(Answer::NoClusters(none)) => (none.reason(), none.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(&elsewhere).0, "NoManagedClusterSetBindings");
    assert_eq!(
        reason(&unbound),
        (
            "NoIntersection",
            "None of ManagedClusterSets [dev] is bound to placement namespace".to_owned()
        )
    );
}

#[test]
fn a_mistake_or_an_annotation_keeps_what_is_there() {
    let mut world = world();
    let wrong = json!({ "predicates": [{ "requiredClusterSelector": { "celSelector": { "celExpressions": ["nope"] } } }] });
    let mistaken = placement(&mut world, "mistaken", wrong, json!({}));
    let disabled = "cluster.open-cluster-management.io/experimental-scheduling-disable";
    let alone = placement(&mut world, "alone", json!({}), json!({ disabled: "true" }));
    for name in ["mistaken", "alone"] {
        world.put_decision(&read(json!({
            "metadata": { "namespace": "apps", "name": format!("{name}-decision-1"), "labels": { "cluster.open-cluster-management.io/placement": name } },
            "status": { "decisions": [{ "clusterName": "c2", "reason": "" }] },
        })));
    }
    world.settle(at(0), 3);
    assert_eq!(held(&world, &mistaken), ["c2"]);
    assert_eq!(held(&world, &alone), ["c2"]);
    assert!(matches!(
        world.answer(&mistaken, at(0)),
        Some(Answer::Misconfigured(_))
    ));
}

/// As on a hub: a spec that cannot be evaluated keeps its clusters only as long as they may be chosen from.
#[test]
fn a_mistake_does_not_keep_what_has_left_the_sets() {
    let mut world = world();
    let wrong = json!({ "predicates": [{ "requiredClusterSelector": { "celSelector": { "celExpressions": ["nope"] } } }] });
    let mistaken = placement(&mut world, "mistaken", wrong, json!({}));
    for (n, clusters) in [(1, ["c1", "c2"]), (2, ["c3", "gone"])] {
        let decisions = clusters.map(|name| json!({ "clusterName": name, "reason": "" }));
        world.put_decision(&read(json!({
            "metadata": { "namespace": "apps", "name": format!("mistaken-decision-{n}"), "labels": { "cluster.open-cluster-management.io/placement": "mistaken" } },
            "status": { "decisions": decisions },
        })));
    }
    world.put_cluster(&read(
        json!({ "metadata": { "name": "c1" }, "spec": { "hubAcceptsClient": true } }),
    ));
    let world = world.settled(at(0));
    assert_eq!(held(&world, &mistaken), ["c2", "c3"]);
    assert_eq!(
        world.standings(at(0))[&mistaken].state,
        State::Misconfigured
    );
}

/// What is explained is what is decided: where the expressions cost too much, nothing is.
#[test]
fn a_placement_that_costs_too_much_is_a_mistake_to_whoever_asks() {
    let mut world = world();
    for n in 0..101 {
        let set = "cluster.open-cluster-management.io/clusterset";
        world.put_cluster(&read(json!({
            "metadata": { "name": format!("more-{n}"), "labels": { set: "prod" } },
            "spec": { "hubAcceptsClient": true },
        })));
    }
    let dear =
        json!({ "celSelector": { "celExpressions": ["lists.range(100000000).size() > 0"] } });
    let spec = json!({ "predicates": [{ "requiredClusterSelector": {} }, { "requiredClusterSelector": dear }] });
    let sound = placement(&mut world, "sound", spec, json!({}));
    let spec = json!({ "predicates": [{ "requiredClusterSelector": dear }] });
    let web = placement(&mut world, "web", spec, json!({}));
    assert!(matches!(
        world.answer(&sound, at(0)),
        Some(Answer::Evaluated(_))
    ));
    let Some(Answer::Misconfigured(error)) = world.answer(&web, at(0)) else {
        panic!("it costs too much");
    };
    assert!(error.to_string().contains("cost more than"), "{error}");
    assert_eq!(world.explain(&web, at(0)), None);
    assert_eq!(world.standings(at(0))[&web].state, State::Misconfigured);
}

/// What others hold that nobody knows counts for those who balance, also where thousands are decided at once.
#[test]
fn decisions_of_nobody_are_counted_in_a_hypothesis() {
    let mut world = world();
    world.put_decision(&read(json!({
        "metadata": { "namespace": "other", "name": "stray" },
        "status": { "decisions": [{ "clusterName": "c1", "reason": "" }, { "clusterName": "c2", "reason": "" }] },
    })));
    let one = placement(
        &mut world,
        "one",
        json!({ "numberOfClusters": 1 }),
        json!({}),
    );
    let Some(Answer::Evaluated(evaluation)) = world.answer(&one, at(0)) else {
        panic!("not evaluated");
    };
    let explained: Vec<&str> = evaluation.selection().map(|one| &*one.name).collect();
    assert_eq!(explained, ["c3"]);
    assert_eq!(held(&world.clone().settled(at(0)), &one), ["c3"]);
}

#[test]
fn packing_placements_do_not_overbook() {
    let mut world = world();
    for name in ["c1", "c2", "c3"] {
        world.put_cluster(&read(json!({
            "metadata": { "name": name, "labels": { "cluster.open-cluster-management.io/clusterset": "prod" } },
            "spec": { "hubAcceptsClient": true }, "status": { "conditions": [], "capacity": { "cpu": "4" }, "allocatable": { "cpu": "4" } },
        })));
    }
    let annotation =
        json!({ "koinon.dev/packing": r#"{"requests": {"cpu": "1500m"}, "strategy": "Pack"}"# });
    let names: Vec<Name> = (0..7)
        .map(|n| {
            placement(
                &mut world,
                &format!("p{n}"),
                json!({ "numberOfClusters": 1 }),
                annotation.clone(),
            )
        })
        .collect();
    world.settle(at(0), 3);
    let mut used = std::collections::BTreeMap::new();
    for cluster in names.iter().flat_map(|name| held(&world, name)) {
        *used.entry(cluster).or_insert(0) += 1;
    }
    assert_eq!(
        used.values().copied().collect::<Vec<_>>(),
        [2, 2, 2],
        "two of 1.5 fit into 4, the seventh has no room"
    );
    let explanation = world.explain(&names[6], at(0)).unwrap();
    assert_eq!(explanation.clusters[0].reason, "1.5 cpu requested, 1 free");
}

/// Whoever asks about a cluster is told what keeps it out, also where it is not even asked whether it fits.
#[test]
fn any_cluster_is_explained_candidate_or_not() {
    let mut world = world();
    let eu = json!({ "predicates": [{ "requiredClusterSelector": { "labelSelector": { "matchLabels": { "region": "eu" } } } }] });
    let web = placement(&mut world, "web", eu, json!({}));
    for (name, set, going) in [("stranger", "dev", false), ("leaving", "prod", true)] {
        let deleted = going.then_some("2026-01-01T00:00:00Z");
        world.put_cluster(&read(json!({
            "metadata": { "name": name, "deletionTimestamp": deleted,
                "labels": { "cluster.open-cluster-management.io/clusterset": set, "region": "us" } },
            "spec": { "hubAcceptsClient": true, "taints": [{ "key": "k", "effect": "NoSelect" }] },
        })));
    }
    let explain = |name: &str| world.explain_cluster(&web, name, at(0));
    let member = explain("c1").unwrap();
    assert!(member.selected && member.filters.iter().all(|one| one.passed));
    for (name, why) in [
        ("stranger", "it is in none of the ManagedClusterSets [prod]"),
        ("leaving", "it is being deleted"),
    ] {
        let one = explain(name).unwrap();
        assert_eq!((one.selected, one.reason.as_str()), (false, why));
        let refused: Vec<&str> = one
            .filters
            .iter()
            .filter(|filter| !filter.passed)
            .map(|filter| &*filter.name)
            .collect();
        assert_eq!(refused, ["ClusterSets", "Predicate", "TaintToleration"]);
    }
    assert_eq!(explain("nobody"), None);
    // What comes back under its name is another cluster.
    world.put_cluster(&read(
        json!({ "metadata": { "name": "leaving" }, "spec": { "hubAcceptsClient": true } }),
    ));
    assert!(
        world
            .explain_cluster(&web, "leaving", at(0))
            .unwrap()
            .reason
            .contains("in none")
    );
}

/// One runs after the other, who runs away: there is no answer at which both stay, and that is said.
#[test]
fn placements_that_move_each_other_without_end_are_called_restless() {
    let mut world = world();
    let balance = |weight: i32| {
        json!({ "numberOfClusters": 1, "prioritizerPolicy": { "mode": "Exact", "configurations": [
            { "scoreCoordinate": { "builtIn": "Balance" }, "weight": weight },
        ] } })
    };
    placement(&mut world, "flees", balance(1), json!({}));
    let calm = world.clone().settled(at(0));
    assert!(!calm.is_restless());
    placement(&mut world, "follows", balance(-1), json!({}));
    let world = world.settled(at(0));
    assert!(world.is_restless());
    let losses = world.losses(&Topology::Label("region".to_owned()), at(0));
    let restless: Vec<(&str, bool)> = losses
        .iter()
        .map(|loss| (loss.value.as_str(), loss.restless))
        .collect();
    assert_eq!(
        restless,
        [("eu", false), ("us", true)],
        "where one cluster is left, nobody can run away"
    );
}

#[test]
fn a_wrong_annotation_is_a_mistake() {
    let mut world = world();
    for text in [
        "",
        "{}",
        "{\"requests\": {\"cpu\": \"lots\"}}",
        "{\"requests\": {\"cpu\": \"1\"}, \"weight\": 11}",
        "{\"requests\": {\"cpu\": \"1\"}, \"strategy\": \"Heap\"}",
    ] {
        let name = placement(
            &mut world,
            "p",
            json!({}),
            json!({ "koinon.dev/packing": text }),
        );
        match world.answer(&name, at(0)) {
            Some(Answer::Misconfigured(error)) => assert!(
                error
                    .to_string()
                    .starts_with("Packing:annotation koinon.dev/packing"),
                "{error}"
            ),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn the_loss_of_a_region_is_survived_or_not() {
    let mut world = world();
    let two = placement(
        &mut world,
        "two",
        json!({ "numberOfClusters": 2 }),
        json!({}),
    );
    let spread = json!({ "numberOfClusters": 1, "predicates": [{ "requiredClusterSelector": { "labelSelector": { "matchLabels": { "region": "us" } } } }] });
    placement(&mut world, "us-only", spread, json!({}));
    placement(&mut world, "any", json!({}), json!({}));
    let world = world.settled(at(0));
    let losses = world.losses(&Topology::Label("region".to_owned()), at(0));
    let broken: Vec<(&str, Vec<&str>)> = losses
        .iter()
        .map(|loss| {
            let broken = loss.placements.iter().filter(|one| one.breaks());
            (
                loss.value.as_str(),
                broken.map(|one| one.placement.as_str()).collect(),
            )
        })
        .collect();
    assert_eq!(broken, [("eu", vec!["two"]), ("us", vec!["us-only"])]);
    assert_eq!(losses[0].clusters, ["c1", "c2"]);
    assert_eq!(held(&world, &two).len(), 2, "nothing has happened");
}

#[test]
fn a_cordoned_cluster_keeps_what_it_has_and_a_drained_one_does_not() {
    let mut world = world();
    let one = placement(
        &mut world,
        "one",
        json!({ "numberOfClusters": 1 }),
        json!({}),
    );
    let world = world.settled(at(0));
    let cluster = held(&world, &one).remove(0);
    for (effect, stays) in [(Effect::NoSelectIfNew, true), (Effect::NoSelect, false)] {
        let mut after = world.clone();
        let taint = Taint {
            key: "k".into(),
            value: String::new(),
            effect,
            added: None,
        };
        assert!(after.taint(&cluster, taint));
        let after = after.settled(at(0));
        let differences = world.differences(&after, at(0));
        assert_eq!(differences.is_empty(), stays, "{effect:?}");
        if let [difference] = differences.as_slice() {
            assert_eq!(difference.impact, Impact::MovesAll);
            assert!(!difference.breaks());
            assert_eq!(difference.after.state, State::Satisfied);
            assert_eq!(difference.leaves().collect::<Vec<_>>(), [&cluster]);
        }
    }
}

/// Each by its name: the effect of a change on a placement that was satisfied, or was not there.
#[test]
fn a_change_is_called_by_what_it_does() {
    let mut world = world();
    let two = |more: Value| {
        let mut spec = json!({ "numberOfClusters": 2 });
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        spec
    };
    for name in ["same", "all", "more", "fewer", "wrong", "short", "still"] {
        placement(&mut world, name, two(json!({})), json!({}));
    }
    let mut after = world.clone().settled(at(0));
    let disabled = "cluster.open-cluster-management.io/experimental-scheduling-disable";
    let region = json!({ "predicates": [{ "requiredClusterSelector": { "labelSelector": { "matchLabels": { "region": "us" } } } }] });
    for (name, spec, annotations) in [
        ("all", json!({}), json!({})),
        ("more", json!({ "numberOfClusters": 3 }), json!({})),
        ("fewer", json!({ "numberOfClusters": 1 }), json!({})),
        ("wrong", json!({ "numberOfClusters": -2 }), json!({})),
        ("short", two(region), json!({})),
        (
            "still",
            json!({ "numberOfClusters": 9 }),
            json!({ disabled: "true" }),
        ),
        ("new", json!({ "numberOfClusters": 1 }), json!({})),
        ("new-wrong", json!({ "numberOfClusters": -1 }), json!({})),
        ("new-short", json!({ "numberOfClusters": 4 }), json!({})),
    ] {
        placement(&mut after, name, spec, annotations);
    }
    let (before, after) = (world.settled(at(0)), after.settled(at(0)));
    let differences = before.differences(&after, at(0));
    let found: Vec<(&str, Impact, bool)> = differences
        .iter()
        .map(|one| (one.placement.as_str(), one.impact, one.breaks()))
        .collect();
    assert_eq!(
        found,
        [
            ("all", Impact::Gains, false),
            ("fewer", Impact::Loses, false),
            ("more", Impact::Gains, false),
            ("new", Impact::Gains, false),
            ("new-short", Impact::Unsatisfied, true),
            ("new-wrong", Impact::Misconfigured, true),
            ("short", Impact::Breaks, true),
            ("still", Impact::LeftAlone, false),
            ("wrong", Impact::Breaks, true),
        ]
    );
    let told = serde_json::to_value(&differences[0]).unwrap();
    assert_eq!(told["effect"], "Gains", "{told:#}");
    // The mistake is mended, and all is as it was.
    let back = after.differences(&before, at(0));
    let wrong = back.iter().find(|one| one.placement == "wrong").unwrap();
    assert_eq!((wrong.impact, wrong.breaks()), (Impact::Recovers, false));
}

/// Whoever asks is told of what is decided and of what stays as it is.
#[test]
fn a_report_of_a_placement_that_is_left_alone_counts_what_it_has() {
    let mut world = world();
    let name = placement(
        &mut world,
        "one",
        json!({ "numberOfClusters": 1 }),
        json!({}),
    );
    let mut world = world.settled(at(0));
    let report = |world: &World, only| world.report(&name, only, at(0), &|_| true).unwrap();
    assert_eq!(report(&world, None)["selected"], 1);
    assert_eq!(report(&world, Some("c3"))["clusters"][0]["cluster"], "c3");
    assert_eq!(report(&world, Some("c9"))["reason"], "NotFound");
    let debug = world.debug_report(&name, at(0), &|_| true).unwrap();
    assert_eq!(debug["placement"]["spec"]["numberOfClusters"], 1);
    placement(
        &mut world,
        "one",
        json!({ "numberOfClusters": -1 }),
        json!({}),
    );
    let wrong = report(&world, None);
    assert_eq!(
        (&wrong["reason"], &wrong["selected"]),
        (&json!("Misconfigured"), &json!(1))
    );
    assert_eq!(wrong["clusters"], json!([]));
}
