//! What holds for every snapshot: determinism, independence of order, nothing chosen that may not be.

use proptest::{collection::vec, prelude::*, sample::subsequence};

use super::{
    super::{Cluster, Effect, Order, Policy, Predicate, Taint, Verdict, groups, shards},
    fixtures::{World, at, chosen, labelled, run, tolerating, units, wanting},
};

fn clusters() -> impl Strategy<Value = Vec<Cluster>> {
    let one = (
        0..4u8,
        prop::option::of(0..3u8),
        prop::option::of(0..100i64),
    );
    vec(one, 0..40).prop_map(|all| {
        let build =
            |(index, (cloud, taint, memory)): (usize, (u8, Option<u8>, Option<i64>))| Cluster {
                name: format!("c{index:02}"),
                labels: [("cloud".to_owned(), cloud.to_string())].into(),
                taints: taint
                    .map(|taint| Taint {
                        key: "k".to_owned(),
                        value: taint.to_string(),
                        effect: if taint == 2 {
                            Effect::NoSelectIfNew
                        } else {
                            Effect::NoSelect
                        },
                        added: Some(at(0)),
                    })
                    .into_iter()
                    .collect(),
                memory: memory.map(units),
                ..Cluster::default()
            };
        all.into_iter().enumerate().map(build).collect()
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let predicates = vec(subsequence(vec!["0", "1", "2", "3"], 1..=2), 0..3);
    (predicates, prop::option::of(0..50usize), any::<bool>()).prop_map(
        |(predicates, clusters, tolerant)| Policy {
            predicates: predicates
                .iter()
                .map(|values| labelled("cloud", values))
                .collect(),
            tolerations: tolerant.then(|| tolerating("k", "0")).into_iter().collect(),
            clusters,
            ..wanting(0)
        },
    )
}

fn world(held: &[usize], others: &[usize]) -> World {
    let mut world = World {
        own: held.iter().map(|index| format!("c{index:02}")).collect(),
        ..World::default()
    };
    let others: Vec<String> = others.iter().map(|index| format!("c{index:02}")).collect();
    world.load.add(others.iter().map(String::as_str));
    world
}

proptest! {
    #[test]
    fn order_of_candidates_does_not_matter(
        clusters in clusters(), policy in policy(), held in vec(0..40usize, 0..5), others in vec(0..40usize, 0..40),
        seed in any::<u64>(),
    ) {
        let world = world(&held, &others);
        let mut shuffled = clusters.clone();
        let len = shuffled.len().max(1) as u64;
        for index in 0..shuffled.len() {
            shuffled.swap(index, (seed.rotate_left(index as u32) % len) as usize);
        }
        let first = run(&policy, &clusters, &world, 1);
        let second = run(&policy, &shuffled, &world, 1);
        prop_assert_eq!(chosen(&first), chosen(&second));
        prop_assert_eq!(&first.verdicts, &second.verdicts);
    }

    #[test]
    fn whatever_is_chosen_is_admitted_and_tolerated(
        clusters in clusters(), policy in policy(), held in vec(0..40usize, 0..5), others in vec(0..40usize, 0..40),
    ) {
        let world = world(&held, &others);
        let evaluation = run(&policy, &clusters, &world, 1);
        for cluster in evaluation.selection() {
            prop_assert!(policy.predicates.is_empty() || policy.predicates.iter().any(|p: &Predicate| p.selects(cluster)));
            for taint in &cluster.taints {
                let held = taint.effect == Effect::NoSelectIfNew && world.own.contains(&cluster.name);
                prop_assert!(held || (taint.value == "0" && !policy.tolerations.is_empty()));
            }
        }
        let feasible = evaluation.verdicts.iter().filter(|v| matches!(v, Verdict::Selected { .. } | Verdict::NotNeeded { .. })).count();
        let wanted = policy.clusters.unwrap_or(feasible);
        prop_assert_eq!(evaluation.selected, wanted.min(feasible));
        prop_assert_eq!(evaluation.unscheduled, wanted - evaluation.selected);
    }

    #[test]
    fn a_decision_that_is_carried_out_is_kept(clusters in clusters(), policy in policy()) {
        let first = chosen(&run(&policy, &clusters, &World::default(), 1));
        let world = World {
            own: first.iter().cloned().collect(),
            ..World::default()
        };
        let mut second = chosen(&run(&policy, &clusters, &world, 1));
        let mut first = first;
        first.sort();
        second.sort();
        prop_assert_eq!(first, second);
    }

    /// What lets the index pass over a placement when a cluster changes.
    #[test]
    fn a_cluster_that_is_not_held_and_may_not_be_chosen_changes_nothing(
        clusters in clusters(), policy in policy(), cloud in 0..5u8, taint in prop::option::of(0..3u8), at_ in 0..40usize,
        others in vec(0..40usize, 0..20),
    ) {
        let before = world(&[], &others);
        let held = chosen(&run(&policy, &clusters, &before, 1));
        let world = World { own: held.iter().cloned().collect(), ..before };
        let mut changed = clusters.clone();
        let Some(one) = changed.get_mut(at_) else { return Ok(()) };
        if held.contains(&one.name) {
            return Ok(());
        }
        one.labels.insert("cloud".to_owned(), cloud.to_string());
        one.taints.clear();
        if let Some(taint) = taint {
            *one = one.clone().tainted("k", &taint.to_string(), if taint == 2 { Effect::NoSelectIfNew } else { Effect::NoSelect });
        }
        prop_assume!(!policy.may_choose(one));
        let before = run(&policy, &clusters, &world, 1);
        let after = run(&policy, &changed, &world, 1);
        prop_assert_eq!(chosen(&before), chosen(&after));
        prop_assert_eq!(before.unscheduled, after.unscheduled);
    }

    #[test]
    fn groups_partition_the_selection(clusters in clusters(), policy in policy(), limit in 0..12i64) {
        let world = World::default();
        let evaluation = run(&policy, &clusters, &world, 1);
        let grouping = super::super::GroupPolicy {
            size: super::super::GroupSize::Clusters(limit),
            named: vec![("g".into(), labelled("cloud", &["1"]))],
        };
        let groups = groups(&grouping, Order::Name, evaluation.selection());
        let mut grouped: Vec<String> = shards(&groups).into_iter().flat_map(|shard| shard.clusters).collect();
        let mut selected = chosen(&evaluation);
        grouped.sort();
        selected.sort();
        prop_assert_eq!(grouped, selected);
    }

    #[test]
    fn load_counts_what_was_added(added in vec(0..6u8, 0..60), removed in 0..60usize) {
        let names: Vec<String> = added.iter().map(|n| format!("c{n}")).collect();
        let mut load = super::super::Load::default();
        load.add(names.iter().map(String::as_str));
        let removed = removed.min(names.len());
        load.remove(names[..removed].iter().map(String::as_str));
        let mut counts = std::collections::BTreeMap::new();
        for name in &names[removed..] {
            *counts.entry(name.as_str()).or_insert(0u32) += 1;
        }
        prop_assert_eq!(load.max(), counts.values().copied().max().unwrap_or(0));
        for (name, count) in counts {
            prop_assert_eq!(load.count(name), count);
        }
    }
}
