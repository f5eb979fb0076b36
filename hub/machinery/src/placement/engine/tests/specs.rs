//! Placements of many kinds.

use serde_json::{Value, json};

pub(super) const KINDS: u8 = 12;

/// Specs without `Balance` and without packing: what those answer depends on when they are asked.
pub(super) fn spec(kind: u8) -> Value {
    let selector = |selector: Value| json!([{ "requiredClusterSelector": selector }]);
    let exact =
        |configurations: Value| json!({ "mode": "Exact", "configurations": configurations });
    let steady = json!({ "scoreCoordinate": { "builtIn": "Steady" }, "weight": 1 });
    let built_in = |name: &str| json!({ "scoreCoordinate": { "builtIn": name }, "weight": 2 });
    let add_on = json!({ "scoreCoordinate": { "type": "AddOn", "addOn": { "resourceName": "demo", "scoreName": "demo" } }, "weight": 2 });
    let spread = |kind: &str, key: &str, when: &str| {
        json!({ "spreadConstraints": [{
        "topologyKey": key, "topologyKeyType": kind, "maxSkew": 1, "whenUnsatisfiable": when,
    }] })
    };
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
            spec["tolerations"] = json!([{ "key": "k", "operator": "Equal", "value": "0", "tolerationSeconds": 900 }]);
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
        7 => {
            spec["numberOfClusters"] = json!(4);
            spec["spreadPolicy"] = spread("Label", "region", "DoNotSchedule");
        }
        8 => {
            spec["numberOfClusters"] = json!(3);
            spec["spreadPolicy"] = spread("Claim", "zone", "ScheduleAnyway");
        }
        9 => {
            spec["predicates"] = json!([
                { "requiredClusterSelector": { "claimSelector": { "matchExpressions": [{ "key": "zone", "operator": "NotIn", "values": ["z0"] }] } } },
                { "requiredClusterSelector": { "labelSelector": { "matchExpressions": [{ "key": "region", "operator": "DoesNotExist" }] } } },
            ]);
            spec["numberOfClusters"] = json!(3);
        }
        10 => {
            spec["numberOfClusters"] = json!(2);
            spec["predicates"] = selector(
                json!({ "celSelector": { "celExpressions": ["managedCluster.scores('demo').exists(s, s.value > 0)"] } }),
            );
        }
        _ => {
            spec["numberOfClusters"] = json!(2);
            spec["predicates"] = selector(
                json!({ "labelSelector": { "matchExpressions": [{ "key": "region", "operator": "Exists" }] } }),
            );
            spec["prioritizerPolicy"] =
                exact(json!([steady, add_on, built_in("ResourceAllocatableCPU")]));
        }
    }
    spec
}
