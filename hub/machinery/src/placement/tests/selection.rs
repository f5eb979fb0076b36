//! OCM's worked examples for the choice, and the taint filter.

use super::{
    super::{Effect, Policy, Prioritizer, Refusal, Resource, Toleration, Verdict},
    fixtures::{World, at, chosen, cluster, labelled, run, tolerating, wanting, weighted},
};

#[test]
fn clusters_that_are_held_stay() {
    let clusters = ["c1", "c2", "c3"].map(cluster);
    let world = World::holding(&["c1", "c2"]);
    assert_eq!(
        chosen(&run(&wanting(2), &clusters, &world, 0)),
        ["c1", "c2"]
    );
}

#[test]
fn only_tolerated_taints_let_a_cluster_through() {
    let clusters = [
        cluster("c1").tainted("key1", "value1", Effect::NoSelect),
        cluster("c2").tainted("key2", "value2", Effect::NoSelect),
        cluster("c3"),
    ];
    let policy = Policy {
        tolerations: vec![tolerating("key1", "value1")],
        ..wanting(3)
    };
    let world = World::default();
    let evaluation = run(&policy, &clusters, &world, 0);
    assert_eq!(chosen(&evaluation), ["c1", "c3"]);
    assert_eq!(evaluation.unscheduled, 1);
    assert_eq!(
        evaluation.verdicts[1],
        Verdict::TaintNotTolerated {
            taint: 0,
            why: Refusal::NotTolerated
        }
    );
}

#[test]
fn weights_add_up() {
    let clusters = [
        cluster("c1").with_memory(100),
        cluster("c2").with_memory(50),
        cluster("c3").with_memory(0),
    ];
    let world = World::holding(&["c1", "c2", "c3"])
        .score("c1", 30, None)
        .score("c2", 40, None)
        .score("c3", 50, None);
    let exact = Policy {
        prioritizers: vec![
            weighted(Prioritizer::Balance, 3),
            weighted(Prioritizer::Allocatable(Resource::Memory), 1),
        ],
        ..wanting(2)
    };
    let evaluation = run(&exact, &clusters, &world, 0);
    assert_eq!(
        evaluation
            .ranking
            .iter()
            .map(|ranked| ranked.score)
            .collect::<Vec<_>>(),
        [400, 300, 200]
    );
    assert_eq!(chosen(&evaluation), ["c1", "c2"]);

    let mut additive = exact;
    additive.prioritizers.push(weighted(
        Prioritizer::AddOn {
            resource: "demo".into(),
            score: "demo".into(),
        },
        1,
    ));
    let evaluation = run(&additive, &clusters, &world, 0);
    assert_eq!(
        evaluation
            .ranking
            .iter()
            .map(|ranked| ranked.score)
            .collect::<Vec<_>>(),
        [430, 340, 250]
    );
}

#[test]
fn what_is_missing_is_counted() {
    let clusters = ["c1", "c2"].map(cluster);
    let world = World::holding(&["c1"]);
    let evaluation = run(&wanting(4), &clusters, &world, 0);
    assert_eq!(
        (chosen(&evaluation), evaluation.unscheduled),
        (vec!["c1".into(), "c2".into()], 2)
    );
    let world = World::default();
    let evaluation = run(&wanting(0), &clusters, &world, 0);
    assert_eq!((evaluation.selected, evaluation.unscheduled), (0, 0));
}

#[test]
fn balance_moves_a_new_placement_away_and_steady_keeps_an_old_one() {
    let clusters = ["c1", "c2", "c3"].map(cluster);
    let world = World::default().others(&["c1", "c2"]);
    assert_eq!(chosen(&run(&wanting(1), &clusters, &world, 0)), ["c3"]);
    let world = World::holding(&["c3"])
        .others(&["c2", "c3"])
        .others(&["c1", "c2"]);
    assert_eq!(chosen(&run(&wanting(1), &clusters, &world, 0)), ["c3"]);
}

#[test]
fn ties_go_to_the_first_name() {
    let clusters = ["c3", "c1", "c2"].map(cluster);
    let world = World::default();
    assert_eq!(
        chosen(&run(&wanting(2), &clusters, &world, 0)),
        ["c1", "c2"]
    );
}

#[test]
fn predicates_are_alternatives() {
    let clusters = [
        cluster("a").labelled("cloud", "Amazon"),
        cluster("b").labelled("cloud", "Azure"),
        cluster("c").labelled("cloud", "Google"),
    ];
    let policy = Policy {
        predicates: vec![
            labelled("cloud", &["Azure"]),
            labelled("cloud", &["Google"]),
        ],
        clusters: None,
        ..wanting(0)
    };
    let world = World::default();
    assert_eq!(chosen(&run(&policy, &clusters, &world, 0)), ["b", "c"]);
}

#[test]
fn no_select_if_new_keeps_what_is_held_and_takes_nothing_more() {
    let clusters =
        ["c1", "c2"].map(|name| cluster(name).tainted("draining", "", Effect::NoSelectIfNew));
    let world = World::holding(&["c2"]);
    assert_eq!(chosen(&run(&wanting(2), &clusters, &world, 0)), ["c2"]);
}

#[test]
fn prefer_no_select_refuses_nobody() {
    let clusters = [cluster("c1").tainted("slow", "", Effect::PreferNoSelect)];
    let world = World::default();
    assert_eq!(chosen(&run(&wanting(1), &clusters, &world, 0)), ["c1"]);
}

#[test]
fn prefer_no_select_goes_behind_all_others_whatever_the_scores() {
    let clusters = [
        cluster("c1").tainted("slow", "", Effect::PreferNoSelect),
        cluster("c2")
            .tainted("slow", "", Effect::PreferNoSelect)
            .tainted("old", "", Effect::PreferNoSelect),
        cluster("c3"),
        cluster("c4"),
    ];
    let world = World::holding(&["c1"]).others(&["c3", "c4"]);
    assert_eq!(
        chosen(&run(&wanting(2), &clusters, &world, 0)),
        ["c3", "c4"]
    );
    assert_eq!(
        chosen(&run(&wanting(4), &clusters, &world, 0)),
        ["c3", "c4", "c1", "c2"]
    );
    let tolerant = Policy {
        tolerations: vec![tolerating("slow", "")],
        ..wanting(1)
    };
    assert_eq!(chosen(&run(&tolerant, &clusters, &world, 0)), ["c1"]);
}

#[test]
fn an_add_on_score_ends_at_its_moment() {
    let clusters = ["c1", "c2"].map(cluster);
    let world = World::default()
        .score("c1", 10, None)
        .score("c2", 50, Some(at(100)));
    let mut policy = wanting(1);
    policy.prioritizers = vec![weighted(
        Prioritizer::AddOn {
            resource: "demo".into(),
            score: "demo".into(),
        },
        1,
    )];
    let before = run(&policy, &clusters, &world, 99);
    assert_eq!(
        (chosen(&before), before.recheck_at),
        (vec!["c2".to_owned()], Some(at(100)))
    );
    let after = run(&policy, &clusters, &world, 100);
    assert_eq!(
        (chosen(&after), after.recheck_at),
        (vec!["c1".to_owned()], None)
    );
}

#[test]
fn a_timed_toleration_ends_and_says_when() {
    let clusters = [cluster("c1").tainted("gone", "", Effect::NoSelect)];
    let toleration = Toleration {
        key: None,
        value: None,
        effect: None,
        seconds: Some(300),
    };
    let policy = Policy {
        tolerations: vec![toleration],
        ..wanting(1)
    };
    let world = World::holding(&["c1"]);
    let evaluation = run(&policy, &clusters, &world, 299);
    assert_eq!(
        (chosen(&evaluation), evaluation.recheck_at),
        (vec!["c1".to_owned()], Some(at(300)))
    );
    let evaluation = run(&policy, &clusters, &world, 300);
    assert_eq!((evaluation.selected, evaluation.recheck_at), (0, None));
    assert_eq!(
        evaluation.verdicts[0],
        Verdict::TaintNotTolerated {
            taint: 0,
            why: Refusal::Expired
        }
    );
}

#[test]
fn the_longest_of_several_tolerations_counts() {
    let clusters = [cluster("c1").tainted("gone", "", Effect::NoSelect)];
    let timed = |seconds| Toleration {
        key: None,
        value: None,
        effect: None,
        seconds,
    };
    let world = World::holding(&["c1"]);
    let policy = Policy {
        tolerations: vec![timed(Some(10)), timed(Some(20))],
        ..wanting(1)
    };
    assert_eq!(run(&policy, &clusters, &world, 15).recheck_at, Some(at(20)));
    let policy = Policy {
        tolerations: vec![timed(Some(10)), timed(None)],
        ..wanting(1)
    };
    assert_eq!(run(&policy, &clusters, &world, 15).recheck_at, None);
}

#[test]
fn every_candidate_is_explained() {
    let clusters = [
        cluster("a").labelled("cloud", "Amazon"),
        cluster("b").labelled("cloud", "Azure"),
        cluster("c")
            .labelled("cloud", "Amazon")
            .tainted("key", "value", Effect::NoSelect),
        cluster("d").labelled("cloud", "Amazon"),
    ];
    let policy = Policy {
        predicates: vec![labelled("cloud", &["Amazon"])],
        ..wanting(1)
    };
    let world = World::holding(&["d"]);
    let explanation = run(&policy, &clusters, &world, 0).explain(&policy, &world);
    let reasons: Vec<_> = explanation
        .clusters
        .iter()
        .map(|c| c.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "ranked 2 of 2, 1 wanted",
            "no predicate matches: label cloud in (Amazon)",
            "taint key=value:NoSelect is not tolerated",
            "ranked 1 of 2",
        ]
    );
    let winner = &explanation.clusters[3];
    assert_eq!(
        (winner.selected, winner.total, winner.rank),
        (true, Some(200), Some(1))
    );
    assert_eq!(
        winner.scores.iter().map(|s| s.weighted).collect::<Vec<_>>(),
        [100, 100]
    );
}

/// Who reads a rank and a score finds in the reason why they do not agree.
#[test]
fn what_outweighs_a_score_is_in_the_reason() {
    let clusters = [
        cluster("a").tainted("old", "", Effect::PreferNoSelect),
        cluster("b"),
        cluster("c").tainted("gpu", "", Effect::NoSelect),
        cluster("d").tainted("new", "", Effect::NoSelect),
    ];
    let policy = Policy {
        tolerations: vec![Toleration {
            seconds: Some(60),
            ..tolerating("gpu", "")
        }],
        ..wanting(2)
    };
    let world = World::holding(&["a"]);
    let explanation = run(&policy, &clusters, &world, 30).explain(&policy, &world);
    let [a, b, c, d] = explanation.clusters.as_slice() else {
        panic!("{explanation:?}");
    };
    assert!(a.total > b.total && a.rank > b.rank);
    assert!(
        a.reason
            .starts_with("ranked 3 of 3, 2 wanted; PreferNoSelect"),
        "{}",
        a.reason
    );
    assert_eq!(b.reason, "ranked 1 of 3");
    assert_eq!(d.reason, "taint new:NoSelect is not tolerated");
    let tolerated = &c.filters[2];
    assert_eq!(
        (tolerated.name.as_ref(), tolerated.passed),
        ("TaintToleration", true)
    );
    assert_eq!(tolerated.reason, format!("tolerated until {}", at(60)));
}
