//! OCM's worked examples for prioritizers.

use super::{
    super::{Cluster, Policy, Prioritizer, Resource},
    fixtures::{World, at, cluster, run, scoring},
};

fn raw(policy: &Policy, clusters: &[Cluster], world: &World) -> Vec<Option<i64>> {
    run(policy, clusters, world, 0).scored[0]
        .scores
        .iter()
        .map(|(_, score)| *score)
        .collect()
}

fn three() -> [Cluster; 3] {
    ["c1", "c2", "c3"].map(cluster)
}

#[test]
fn balance_prefers_clusters_that_other_placements_do_not_use() {
    let balance = scoring(Prioritizer::Balance);
    let cases: [(World, [i64; 3]); 5] = [
        (World::default(), [100, 100, 100]),
        (World::holding(&["c1"]), [100, 100, 100]),
        (World::default().others(&["c1"]), [-100, 100, 100]),
        (
            World::default().others(&["c1", "c2"]).others(&["c1", "c3"]),
            [-100, 0, 0],
        ),
        (World::default().others(&["c1", "c2"]), [-100, -100, 100]),
    ];
    for (world, expected) in cases {
        assert_eq!(
            raw(&balance, &three(), &world),
            expected.map(Some),
            "{world:?}"
        );
    }
}

#[test]
fn the_busiest_cluster_of_all_is_the_measure_of_balance_even_if_it_is_no_candidate() {
    let world = World::default()
        .others(&["c1"])
        .others(&["elsewhere"])
        .others(&["elsewhere"]);
    assert_eq!(
        raw(&scoring(Prioritizer::Balance), &three(), &world),
        [Some(0), Some(100), Some(100)]
    );
}

#[test]
fn steady_prefers_clusters_that_are_held() {
    let world = World::holding(&["c1", "c2"]);
    assert_eq!(
        raw(&scoring(Prioritizer::Steady), &three(), &world),
        [Some(100), Some(100), Some(0)]
    );
}

#[test]
fn allocatable_scores_are_relative_to_the_candidates() {
    let memory = scoring(Prioritizer::Allocatable(Resource::Memory));
    let [a, b, c] = three();
    let clusters = [a.with_memory(20), b.with_memory(60), c.with_memory(100)];
    assert_eq!(
        raw(&memory, &clusters, &World::default()),
        [Some(-100), Some(0), Some(100)]
    );

    let cpu = scoring(Prioritizer::Allocatable(Resource::Cpu));
    let [a, b, c] = three();
    let clusters = [a.with_cpu(10), b.with_cpu(6), c.with_cpu(2)];
    assert_eq!(
        raw(&cpu, &clusters, &World::default()),
        [Some(100), Some(0), Some(-100)]
    );
}

#[test]
fn equal_allocatables_are_all_the_best_and_missing_ones_have_no_score() {
    let cpu = scoring(Prioritizer::Allocatable(Resource::Cpu));
    let [a, b, c] = three();
    let clusters = [a.with_cpu(0), b.with_cpu(0), c];
    assert_eq!(
        raw(&cpu, &clusters, &World::default()),
        [Some(100), Some(100), None]
    );
    assert_eq!(raw(&cpu, &three(), &World::default()), [None, None, None]);
}

#[test]
fn an_expired_add_on_score_counts_nothing_and_is_reported() {
    let add_on = scoring(Prioritizer::AddOn {
        resource: "demo".into(),
        score: "demo".into(),
    });
    let world = World::default()
        .score("c1", 30, None)
        .score("c2", 40, Some(at(-1)));
    let clusters = three();
    let evaluation = run(&add_on, &clusters, &world, 0);
    let scores: Vec<_> = evaluation.scored[0]
        .scores
        .iter()
        .map(|(_, score)| *score)
        .collect();
    assert_eq!(scores, [Some(30), Some(0), None]);
    let expired: Vec<_> = evaluation
        .expired()
        .map(|(_, cluster)| cluster.name.as_str())
        .collect();
    assert_eq!(expired, ["c2"]);
}
