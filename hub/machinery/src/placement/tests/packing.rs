//! Packing: a workload goes only where it fits, and to the fuller or emptier clusters.

use proptest::{collection::vec, prelude::*};

use super::{
    super::{Amounts, Cluster, Effect, Packing, Policy, Prioritizer, Strategy as Packs, Verdict},
    fixtures::{World, chosen, cluster, labelled, run, units, wanting, weighted},
};

fn packing(wanted: usize, cpu: i64, strategy: Packs) -> Policy {
    let mut policy = Policy {
        packing: Some(Packing {
            requests: Amounts::from([("cpu".to_owned(), units(cpu))]),
            strategy,
        }),
        ..wanting(wanted)
    };
    policy.prioritizers = vec![weighted(Prioritizer::Packing, 1)];
    policy
}

fn reserving(mut world: World, cluster: &str, cpu: i64) -> World {
    world.reserved.insert(
        cluster.to_owned(),
        Amounts::from([("cpu".to_owned(), units(cpu))]),
    );
    world
}

#[test]
fn a_cluster_that_cannot_hold_the_workload_is_not_chosen() {
    let clusters = [
        cluster("full").allocating("cpu", 8),
        cluster("roomy").allocating("cpu", 8),
        cluster("silent"),
        cluster("small").allocating("cpu", 2),
    ];
    let world = reserving(World::default(), "full", 6);
    let policy = packing(4, 4, Packs::Fit);
    let evaluation = run(&policy, &clusters, &world, 0);
    assert_eq!(chosen(&evaluation), ["roomy"]);
    assert_eq!(evaluation.unscheduled, 3);
    assert!(matches!(evaluation.verdicts[0], Verdict::DoesNotFit(_)));
    let reasons: Vec<String> = evaluation
        .explain(&policy, &world)
        .clusters
        .into_iter()
        .map(|one| one.reason)
        .collect();
    assert_eq!(reasons[0], "4 cpu requested, 2 free");
    assert_eq!(reasons[2], "4 cpu requested, nothing reported free");
}

/// Else one obstacle after the other is found.
#[test]
fn all_that_speaks_against_a_cluster_is_said_at_once() {
    let clusters = [
        cluster("a")
            .tainted("k", "", Effect::NoSelect)
            .allocating("cpu", 1),
        cluster("b").labelled("tier", "prod").allocating("cpu", 8),
    ];
    let policy = Policy {
        predicates: vec![labelled("tier", &["prod"])],
        ..packing(1, 4, Packs::Fit)
    };
    let world = World::default();
    let explained = run(&policy, &clusters, &world, 0).explain(&policy, &world);
    let filters = |at: usize| {
        let filters = explained.clusters[at].filters.iter();
        filters
            .map(|one| (&*one.name, one.passed, one.reason.as_str()))
            .collect::<Vec<_>>()
    };
    let predicate = "no predicate matches: label tier in (prod)";
    assert_eq!(
        filters(0),
        [
            ("ClusterSets", true, ""),
            ("Predicate", false, predicate),
            (
                "TaintToleration",
                false,
                "taint k:NoSelect is not tolerated"
            ),
            ("Packing", false, "4 cpu requested, 1 free"),
        ]
    );
    assert_eq!(explained.clusters[0].reason, predicate);
    assert!(
        filters(1)
            .iter()
            .all(|(_, passed, why)| *passed && why.is_empty())
    );
}

#[test]
fn the_fuller_or_the_emptier_goes_first() {
    let clusters = [
        cluster("a").allocating("cpu", 10),
        cluster("b").allocating("cpu", 10),
    ];
    let world = reserving(World::default(), "b", 5);
    assert_eq!(
        chosen(&run(&packing(1, 1, Packs::Pack), &clusters, &world, 0)),
        ["b"]
    );
    assert_eq!(
        chosen(&run(&packing(1, 1, Packs::Spread), &clusters, &world, 0)),
        ["a"]
    );
}

proptest! {
    #[test]
    fn nothing_is_chosen_that_cannot_hold_the_workload(
        fleet in vec((prop::option::of(0..16i64), 0..16i64), 0..20), cpu in 0..8i64, wanted in 0..20usize,
        pack in any::<bool>(),
    ) {
        let mut world = World::default();
        let mut clusters: Vec<Cluster> = Vec::new();
        for (n, (all, taken)) in fleet.iter().enumerate() {
            let one = cluster(&format!("c{n:02}"));
            world = reserving(world, &one.name, *taken);
            clusters.push(match all { Some(all) => one.allocating("cpu", *all), None => one });
        }
        let strategy = if pack { Packs::Pack } else { Packs::Spread };
        let evaluation = run(&packing(wanted, cpu, strategy), &clusters, &world, 0);
        let fits = |n: usize| fleet[n].0.is_some_and(|all| all - fleet[n].1 >= cpu);
        for one in chosen(&evaluation) {
            prop_assert!(fits(one[1..].parse().unwrap()));
        }
        let feasible = (0..fleet.len()).filter(|n| fits(*n)).count();
        prop_assert_eq!(evaluation.selected, wanted.min(feasible));
    }
}
