//! Spread: the bound on the skew, and that as many as possible are chosen within it.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::{
    super::{Cluster, Policy, Spread, Topology, Unsatisfiable, Verdict},
    fixtures::{World, chosen, cluster, run, wanting},
};

fn over(key: &str, max_skew: usize, unsatisfiable: Unsatisfiable) -> Spread {
    Spread {
        topology: Topology::Label(key.to_owned()),
        max_skew,
        unsatisfiable,
    }
}

fn fleet(regions: &[&str]) -> Vec<Cluster> {
    let each = regions.iter().enumerate();
    each.map(|(n, region)| cluster(&format!("c{n}")).labelled("region", region))
        .collect()
}

fn spread(wanted: usize, spreads: Vec<Spread>) -> Policy {
    Policy {
        spread: spreads,
        ..wanting(wanted)
    }
}

#[test]
fn one_of_each_region_comes_before_a_second() {
    let clusters = fleet(&["eu", "eu", "eu", "us", "ap"]);
    for how in [Unsatisfiable::DoNotSchedule, Unsatisfiable::ScheduleAnyway] {
        let policy = spread(3, vec![over("region", 1, how)]);
        assert_eq!(
            chosen(&run(&policy, &clusters, &World::default(), 0)),
            ["c0", "c3", "c4"]
        );
    }
}

#[test]
fn a_skew_that_cannot_be_kept_stops_the_choice_or_not() {
    let clusters = fleet(&["eu", "eu", "eu", "us"]);
    let world = World::default();
    let strict = spread(4, vec![over("region", 1, Unsatisfiable::DoNotSchedule)]);
    let evaluation = run(&strict, &clusters, &world, 0);
    assert_eq!(chosen(&evaluation), ["c0", "c3", "c1"]);
    assert_eq!(evaluation.unscheduled, 1);
    assert_eq!(evaluation.verdicts[2], Verdict::Spread { rank: 2 });
    let explanation = evaluation.explain(&strict, &world);
    assert!(explanation.clusters[2].reason.contains("maxSkew"));
    let lenient = spread(4, vec![over("region", 1, Unsatisfiable::ScheduleAnyway)]);
    assert_eq!(run(&lenient, &clusters, &world, 0).selected, 4);
    let all = Policy {
        clusters: None,
        ..strict
    };
    let evaluation = run(&all, &clusters, &world, 0);
    assert_eq!((evaluation.selected, evaluation.unscheduled), (3, 0));
}

#[test]
fn a_cluster_without_the_key_is_chosen_last_or_never() {
    let mut clusters = fleet(&["eu", "us"]);
    clusters.insert(0, cluster("b"));
    let world = World::default();
    let lenient = spread(2, vec![over("region", 1, Unsatisfiable::ScheduleAnyway)]);
    let evaluation = run(&lenient, &clusters, &world, 0);
    assert_eq!(chosen(&evaluation), ["c0", "c1"]);
    assert_eq!(evaluation.verdicts[0], Verdict::PassedOver { rank: 0 });
    let why = &evaluation.explain(&lenient, &world).clusters[0].reason;
    assert_eq!(
        why,
        "ranked 1 of 3, 2 wanted; others keep better to the spread"
    );
    for wanted in 1..=3 {
        let strict = spread(
            wanted,
            vec![over("region", 1, Unsatisfiable::DoNotSchedule)],
        );
        let evaluation = run(&strict, &clusters, &world, 0);
        assert_eq!(chosen(&evaluation), ["c0", "c1"][..wanted.min(2)]);
        let explained = evaluation.explain(&strict, &world);
        assert_eq!(
            explained.clusters[0].reason,
            "it has no label region, to be spread over"
        );
        assert!(explained.clusters[0].filters.iter().any(|one| !one.passed));
    }
}

#[test]
fn claims_are_domains_too_and_the_first_constraint_matters_most() {
    let clusters = [
        cluster("c1").claiming("zone", "a").labelled("cloud", "x"),
        cluster("c2").claiming("zone", "a").labelled("cloud", "y"),
        cluster("c3").claiming("zone", "b").labelled("cloud", "x"),
    ];
    let zone = Spread {
        topology: Topology::Claim("zone".to_owned()),
        max_skew: 1,
        unsatisfiable: Unsatisfiable::ScheduleAnyway,
    };
    let cloud = over("cloud", 1, Unsatisfiable::ScheduleAnyway);
    let world = World::default();
    let zone_first = spread(2, vec![zone.clone(), cloud.clone()]);
    assert_eq!(
        chosen(&run(&zone_first, &clusters, &world, 0)),
        ["c1", "c3"]
    );
    let cloud_first = spread(2, vec![cloud, zone]);
    assert_eq!(
        chosen(&run(&cloud_first, &clusters, &world, 0)),
        ["c1", "c2"]
    );
}

fn counts(clusters: &[Cluster], selected: &[String]) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<String, usize> = clusters
        .iter()
        .filter_map(|one| Some((one.labels.get("region")?.clone(), 0)))
        .collect();
    for cluster in clusters.iter().filter(|one| selected.contains(&one.name)) {
        *counts.entry(cluster.labels["region"].clone()).or_default() += 1;
    }
    counts
}

proptest! {
    /// The bound holds, and no choice within it is larger.
    #[test]
    fn the_skew_is_bounded_and_the_choice_is_maximal(
        regions in vec(prop::option::of(0..4u8), 0..30), wanted in prop::option::of(0..30usize), skew in 1..4usize,
        held in vec(0..30usize, 0..6),
    ) {
        let clusters: Vec<Cluster> = regions.iter().enumerate().map(|(n, region)| {
            let one = cluster(&format!("c{n:02}"));
            match region {
                Some(region) => one.labelled("region", &region.to_string()),
                None => one,
            }
        }).collect();
        let policy = Policy {
            clusters: wanted,
            ..spread(0, vec![over("region", skew, Unsatisfiable::DoNotSchedule)])
        };
        let world = World { own: held.iter().map(|n| format!("c{n:02}")).collect(), ..World::default() };
        let evaluation = run(&policy, &clusters, &world, 0);
        let selected = chosen(&evaluation);
        let counts = counts(&clusters, &selected);
        let least = counts.values().min().copied().unwrap_or(0);
        prop_assert!(counts.values().all(|count| count - least <= skew), "{counts:?}");
        let mut capacity: BTreeMap<u8, usize> = BTreeMap::new();
        for region in regions.iter().flatten() {
            *capacity.entry(*region).or_default() += 1;
        }
        let smallest = capacity.values().min().copied().unwrap_or(0);
        let most: usize = capacity.values().map(|have| (*have).min(smallest + skew)).sum();
        prop_assert_eq!(selected.len(), wanted.unwrap_or(usize::MAX).min(most));
    }

    /// Constraints that should hold never cost a cluster.
    #[test]
    fn a_lenient_constraint_only_reorders(regions in vec(0..4u8, 0..30), wanted in 0..30usize, skew in 1..3usize) {
        let clusters: Vec<Cluster> = regions.iter().enumerate()
            .map(|(n, region)| cluster(&format!("c{n:02}")).labelled("region", &region.to_string())).collect();
        let policy = spread(wanted, vec![over("region", skew, Unsatisfiable::ScheduleAnyway)]);
        prop_assert_eq!(run(&policy, &clusters, &World::default(), 0).selected, wanted.min(clusters.len()));
    }
}
