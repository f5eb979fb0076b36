//! Placements that look at each other's decisions, while sets are bound and unbound, scores end, and time goes by: what
//! one of them gets depends on when it is decided, and then it is what one gets from scratch.

use super::*;
use crate::placement::{Explanation, groups};

#[derive(Clone, Debug)]
enum Event {
    Change(Change),
    Placement(u8, u8),
    Gone(u8),
    Bind(&'static str, bool),
    Later(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => change().prop_filter("placements are made here", |change| !matches!(change, Change::Placement(..)))
            .prop_map(Event::Change),
        3 => (0..6u8, 0..SHARED).prop_map(|(n, kind)| Event::Placement(n, kind)),
        1 => (0..6u8).prop_map(Event::Gone),
        1 => (prop_oneof![Just("prod"), Just("other")], any::<bool>()).prop_map(|(set, bound)| Event::Bind(set, bound)),
        1 => (100..900i64).prop_map(Event::Later),
    ]
}

const SHARED: u8 = KINDS + 8;

/// Those that look at nobody else, and those that do.
fn shared(kind: u8) -> (Value, Value) {
    let packs = |cpu: &str, strategy: &str, weight: u8| {
        let text = json!({ "requests": { "cpu": cpu }, "strategy": strategy, "weight": weight })
            .to_string();
        json!({ "koinon.dev/packing": text })
    };
    let Some(kind) = kind.checked_sub(KINDS) else {
        return (spec(kind), json!({}));
    };
    let weight = |name: &str, weight: i8| json!({ "scoreCoordinate": { "builtIn": name }, "weight": weight });
    let add_on = json!({ "scoreCoordinate": { "type": "AddOn", "addOn": { "resourceName": "demo", "scoreName": "demo" } }, "weight": -1 });
    match kind {
        0 => (json!({ "numberOfClusters": 3 }), json!({})),
        1 => (
            json!({ "numberOfClusters": 2, "sortBy": "Score", "prioritizerPolicy": { "configurations": [add_on] } }),
            json!({}),
        ),
        2 => (
            json!({ "numberOfClusters": 3, "prioritizerPolicy": { "configurations": [
                weight("Balance", -2), weight("ResourceAllocatableCPU", 1), weight("ResourceAllocatableMemory", -1),
            ] } }),
            json!({}),
        ),
        3 => (
            json!({ "numberOfClusters": 3, "prioritizerPolicy": { "configurations": [weight("Balance", 0)] } }),
            packs("1500m", "Fit", 0),
        ),
        4 => (json!({ "numberOfClusters": 2 }), packs("0.7", "Pack", 2)),
        5 => (json!({}), packs("1", "Spread", 1)),
        6 => (
            json!({ "clusterSets": ["other"], "numberOfClusters": 1 }),
            json!({}),
        ),
        _ => (
            json!({
                "numberOfClusters": 5,
                "decisionStrategy": { "groupStrategy": {
                    "clustersPerDecisionGroup": "40%",
                    "decisionGroups": [{ "groupName": "canary", "groupClusterSelector": { "labelSelector": { "matchLabels": { "region": "1" } } } }],
                } },
                "spreadPolicy": { "spreadConstraints": [{
                    "topologyKey": "region", "topologyKeyType": "Label", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule",
                }] },
            }),
            json!({}),
        ),
    }
}

/// Whether what it gets depends on nothing but clusters, scores and sets.
fn alone(both: &Both, placement: &Name) -> bool {
    match both.world.policy(placement) {
        Some(Ok(policy)) => !policy.balances() && policy.packing.is_none(),
        _ => true,
    }
}

fn happen(both: &mut Both, event: &Event) {
    match event {
        Event::Change(change) => apply(both, change),
        Event::Placement(n, kind) => {
            let (spec, annotations) = shared(*kind);
            both.placement(&format!("p{n}"), spec, annotations);
        }
        Event::Gone(n) => {
            let placement = name(&format!("p{n}"));
            both.carry_out(&placement, &BTreeSet::new());
            both.engine.remove_placement(&placement);
            both.world.remove_placement(&placement);
            both.due.remove(&placement);
        }
        Event::Bind(set, true) => both.bind(set),
        Event::Bind(set, false) => both.unbind(set),
        Event::Later(seconds) => both.later += seconds,
    }
}

fn start(threads: usize) -> Both {
    let mut both = Both::new();
    both.threads = threads;
    let other = json!({ "metadata": { "name": "other" }, "spec": {} });
    let other = typed(
        "cluster.open-cluster-management.io/v1beta2",
        "ManagedClusterSet",
        other,
    );
    both.engine.put_set("other", Membership::of(&other));
    both.world.put_set(&other);
    both.bind("other");
    both
}

/// Decides what is marked until nothing is, or the placements move each other for ever; `each` looks at every decision
/// before it is carried out.
fn rest(both: &mut Both, mut each: impl FnMut(&Both, &Name, &Decided)) {
    for _ in 0..12 {
        let marked = both.wanted();
        if marked.is_empty() {
            return;
        }
        let mut ahead = both.ahead(&marked);
        for placement in marked {
            let decided = both.decide_with(&placement, &mut ahead);
            each(both, &placement, &decided);
            if let Some(chosen) = chosen(&decided) {
                both.carry_out(&placement, &chosen);
            }
        }
    }
}

/// What must hold for whatever is chosen, by the objects themselves.
fn lawful(both: &Both, placement: &Name, choice: &Choice) {
    let chosen: BTreeSet<&str> = choice
        .groups
        .iter()
        .flat_map(|group| group.clusters.iter().map(String::as_str))
        .collect();
    let policy = both.world.policy(placement).unwrap().as_ref().unwrap();
    let explanation: Explanation = both.world.explain(placement, both.now()).unwrap();
    let of = |cluster: &str| {
        both.world
            .clusters()
            .find(|one| one.name == cluster)
            .unwrap()
    };
    for one in &explanation.clusters {
        assert_eq!(
            one.selected,
            chosen.contains(one.cluster.as_str()),
            "{one:?}"
        );
        if one.selected {
            assert!(one.filters.iter().all(|filter| filter.passed), "{one:?}");
            let cluster = of(&one.cluster);
            let selects = policy.predicates.iter().any(|one| one.selects(cluster));
            assert!(policy.predicates.is_empty() || selects);
        }
    }
    for spread in policy.spread.iter().filter(|spread| spread.must()) {
        let mut domains: BTreeMap<&str, usize> = BTreeMap::new();
        for one in explanation.clusters.iter().filter(|one| one.rank.is_some()) {
            if let Some(domain) = spread.domain(of(&one.cluster)) {
                *domains.entry(domain).or_default() += usize::from(one.selected);
            } else {
                assert!(!one.selected, "who has no domain is not chosen");
            }
        }
        let (least, most) = (domains.values().min(), domains.values().max());
        if let (Some(least), Some(most)) = (least, most) {
            assert!(most - least <= spread.max_skew, "{domains:?}");
        }
    }
    let evaluation = match both.world.answer(placement, both.now()) {
        Some(Answer::Evaluated(evaluation)) => evaluation,
        other => panic!("{other:?}"),
    };
    let scratch = groups(&policy.groups, policy.order, evaluation.selection());
    if policy.order == crate::placement::Order::Name {
        assert_eq!(choice.groups, scratch);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever was decided before, by whom, and on how many threads it was looked at ahead.
    #[test]
    fn every_decision_is_what_one_gets_from_scratch_when_it_is_taken(
        history in vec(vec(event(), 1..4), 1..20), threads in 1..4usize,
    ) {
        let mut both = start(threads);
        for step in &history {
            for event in step {
                happen(&mut both, event);
            }
            rest(&mut both, |both, placement, decided| {
                let (scratch, unscheduled, recheck_at) = both.scratch_of(placement).unwrap();
                let held: BTreeSet<String> = both.world.held(placement).map(str::to_owned).collect();
                match decided {
                    Decided::Same if alone(both, placement) => assert_eq!(held, scratch, "{placement:?} {step:?}"),
                    Decided::Chosen(choice) => {
                        assert_eq!(chosen(decided).unwrap(), scratch, "{placement:?} {step:?}");
                        assert_eq!(choice.unscheduled, unscheduled);
                        assert_eq!(choice.recheck_at, recheck_at);
                        assert_eq!(choice.changed, held != scratch);
                        lawful(both, placement, choice);
                    }
                    Decided::NoClusters(_) => assert!(scratch.is_empty()),
                    _ => {}
                }
            });
            for placement in both.world.placements().cloned().collect::<Vec<_>>() {
                if alone(&both, &placement) {
                    let (scratch, ..) = both.scratch_of(&placement).unwrap();
                    let held: BTreeSet<String> = both.world.held(&placement).map(str::to_owned).collect();
                    prop_assert_eq!(held, scratch, "{:?} after {:?}", placement, step);
                }
            }
        }
    }

    #[test]
    fn any_number_of_threads_takes_the_same_decisions(history in vec(vec(event(), 1..6), 1..12)) {
        let (mut one, mut three) = (start(1), start(3));
        for step in &history {
            let mut taken = [Vec::new(), Vec::new()];
            for (both, taken) in [&mut one, &mut three].into_iter().zip(&mut taken) {
                for event in step {
                    happen(both, event);
                }
                rest(both, |_, placement, decided| taken.push((placement.clone(), format!("{decided:?}"))));
            }
            let [alone, ahead] = taken;
            prop_assert_eq!(alone, ahead, "after {:?}", step);
        }
    }
}

/// What others reserve is no more than there is, whoever came first: amounts are exact.
#[test]
fn tenths_of_a_core_fill_a_core() {
    let mut both = start(1);
    both.cluster(cluster("a", Some(1), None, 0, 1));
    for n in 0..11 {
        let text = json!({ "requests": { "cpu": "0.1" } }).to_string();
        both.placement(
            &format!("p{n:02}"),
            json!({ "numberOfClusters": 1 }),
            json!({ "koinon.dev/packing": text }),
        );
    }
    both.rest();
    let holding = |n: usize| both.world.held(&name(&format!("p{n:02}"))).count();
    assert_eq!((0..11).map(holding).sum::<usize>(), 10, "ten and not nine");
}
