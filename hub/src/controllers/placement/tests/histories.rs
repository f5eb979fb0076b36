//! What is kept up to date change by change is what one would get from scratch: for random histories, the decisions of
//! placements that no change was found to concern are still those that would be taken now.

use jiff::Timestamp;
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::{
    super::{
        fixtures::{gone, put, stored},
        resource,
    },
    index::{Index, Name},
};

const NS: &str = "apps";

#[derive(Clone, Debug)]
enum Change {
    /// Cluster, region, taint, annotation, CPU.
    Cluster(u8, Option<u8>, Option<u8>, u8, u8),
    Gone(u8),
    Score(u8, i32),
    Placement(u8, u8),
    Set(bool),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0..12u8, prop::option::of(0..3u8), prop::option::of(0..3u8), 0..2u8, 1..4u8)
            .prop_map(|(n, region, taint, note, cpu)| Change::Cluster(n, region, taint, note, cpu)),
        1 => (0..12u8).prop_map(Change::Gone),
        2 => (0..12u8, -100..100i32).prop_map(|(n, value)| Change::Score(n, value)),
        2 => (0..6u8, 0..8u8).prop_map(|(n, kind)| Change::Placement(n, kind)),
        1 => any::<bool>().prop_map(Change::Set),
    ]
}

/// Specs without `Balance`, whose answer depends on when it is asked for.
fn spec(kind: u8) -> Value {
    let selector = |selector: Value| json!([{ "requiredClusterSelector": selector }]);
    let exact =
        |configurations: Value| json!({ "mode": "Exact", "configurations": configurations });
    let steady = json!({ "scoreCoordinate": { "builtIn": "Steady" }, "weight": 1 });
    let built_in = |name: &str| json!({ "scoreCoordinate": { "builtIn": name }, "weight": 2 });
    let add_on = json!({ "scoreCoordinate": { "type": "AddOn", "addOn": { "resourceName": "demo", "scoreName": "demo" } }, "weight": 2 });
    let mut spec = json!({ "prioritizerPolicy": exact(json!([steady])) });
    match kind {
        0 => {}
        1 => spec["numberOfClusters"] = json!(3),
        2 => {
            spec["predicates"] =
                selector(json!({ "labelSelector": { "matchLabels": { "region": "1" } } }))
        }
        3 => {
            spec["numberOfClusters"] = json!(2);
            spec["tolerations"] = json!([{ "key": "k", "operator": "Equal", "value": "1" }]);
        }
        4 => {
            spec["predicates"] = selector(
                json!({ "celSelector": { "celExpressions": ["managedCluster.metadata.annotations.note == '1'"] } }),
            )
        }
        5 => {
            spec["numberOfClusters"] = json!(2);
            spec["prioritizerPolicy"] = exact(json!([built_in("ResourceAllocatableCPU")]));
        }
        6 => {
            spec["numberOfClusters"] = json!(2);
            spec["prioritizerPolicy"] = exact(json!([add_on]));
        }
        _ => {
            spec["numberOfClusters"] = json!(4);
            spec["spreadPolicy"] = json!({ "spreadConstraints": [{
                "topologyKey": "region", "topologyKeyType": "Label", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
            }] });
        }
    }
    spec
}

fn apply(index: &mut Index, change: &Change, generation: i64) {
    let event = match change {
        Change::Cluster(n, region, taint, note, cpu) => {
            let mut labels = json!({ "cluster.open-cluster-management.io/clusterset": if *n == 11 { "other" } else { "prod" } });
            if let Some(region) = region {
                labels["region"] = json!(region.to_string());
            }
            let effect = |taint: u8| ["NoSelect", "NoSelect", "NoSelectIfNew"][usize::from(taint)];
            let taints: Vec<Value> = taint
                .iter()
                .map(|taint| json!({ "key": "k", "value": taint.to_string(), "effect": effect(*taint) }))
                .collect();
            put(stored(
                resource::CLUSTERS,
                "",
                &format!("c{n:02}"),
                json!({ "labels": labels, "annotations": { "note": note.to_string() } }),
                json!({ "spec": { "hubAcceptsClient": true, "taints": taints } }),
                json!({ "conditions": [], "capacity": { "cpu": "8" }, "allocatable": { "cpu": cpu.to_string() } }),
            ))
        }
        Change::Gone(n) => gone(stored(
            resource::CLUSTERS,
            "",
            &format!("c{n:02}"),
            json!({}),
            json!({ "spec": {} }),
            Value::Null,
        )),
        Change::Score(n, value) => put(stored(
            resource::SCORES,
            &format!("c{n:02}"),
            "demo",
            json!({}),
            json!({}),
            json!({ "scores": [{ "name": "demo", "value": value }] }),
        )),
        Change::Placement(n, kind) => put(stored(
            resource::PLACEMENTS,
            NS,
            &format!("p{n}"),
            json!({ "generation": generation }),
            json!({ "spec": spec(*kind) }),
            Value::Null,
        )),
        Change::Set(exists) => {
            let set = stored(
                resource::SETS,
                "",
                "prod",
                json!({}),
                json!({ "spec": {} }),
                Value::Null,
            );
            if *exists { put(set) } else { gone(set) }
        }
    };
    index.observe(&event);
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000).unwrap()
}

/// Decides what is marked until nothing is.
fn run(index: &mut Index) {
    for _ in 0..10 {
        let marked: Vec<Name> = index.queue.take(Instant::now());
        if marked.is_empty() {
            return;
        }
        for name in marked {
            if let Some(plan) = index.decide(&name, now()) {
                index.assume(&plan);
            }
        }
    }
    panic!("it does not come to rest");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nothing_is_left_to_be_done_for_placements_that_were_not_marked(history in vec(vec(change(), 1..4), 1..25)) {
        let mut index = Index::default();
        apply(&mut index, &Change::Set(true), 0);
        index.observe(&put(stored(
            resource::BINDINGS,
            NS,
            "prod",
            json!({}),
            json!({ "spec": { "clusterSet": "prod" } }),
            Value::Null,
        )));
        for n in 0..6 {
            apply(&mut index, &Change::Placement(n, n), 1);
        }
        let mut generation = 1;
        for step in &history {
            for change in step {
                generation += 1;
                apply(&mut index, change, generation);
            }
            run(&mut index);
            let names: Vec<Name> = index.placements.keys().cloned().collect();
            for name in names {
                let plan = index.decide(&name, now());
                let idle = plan.as_ref().is_none_or(|plan| plan.actions.is_empty());
                prop_assert!(idle, "{name:?} after {step:?}: {plan:?}");
            }
        }
    }
}
