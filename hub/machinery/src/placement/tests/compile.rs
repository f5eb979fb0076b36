//! Specs as users write them, and OCM's words for the wrong ones.

use koinon_api::{ManagedCluster, placement::PlacementSpec};
use serde_json::{Value, json};

use super::{
    super::{Amount, Cluster, GroupSize, Policy, Prioritizer},
    fixtures::{World, chosen, run},
};

fn compile(spec: Value) -> Result<Policy, String> {
    let spec: PlacementSpec = serde_json::from_value(spec).unwrap();
    Policy::compile(&spec).map_err(|error| error.to_string())
}

fn weights(spec: Value) -> Vec<(String, i64)> {
    let policy = compile(spec).unwrap();
    policy
        .prioritizers
        .iter()
        .map(|weighted| (weighted.prioritizer.name(), weighted.weight))
        .collect()
}

#[test]
fn mistakes_are_reported_in_ocms_words() {
    let selector =
        |selector: Value| json!({ "predicates": [{ "requiredClusterSelector": selector }] });
    let cases = [
        (
            json!({ "tolerations": [{ "operator": "Equal" }] }),
            "TaintToleration:If the key is empty, operator must be Exists.",
        ),
        (
            json!({ "tolerations": [{ "key": "k", "operator": "Exists", "value": "v" }] }),
            "TaintToleration:If the operator is Exists, the value should be empty.",
        ),
        (
            json!({ "prioritizerPolicy": { "configurations": [{ "scoreCoordinate": { "builtIn": "Spread" } }] } }),
            ":incorrect builtin prioritizer: Spread",
        ),
        (
            json!({ "numberOfClusters": -1 }),
            ":numberOfClusters must not be negative: -1",
        ),
        (
            json!({ "prioritizerPolicy": { "mode": "Fancy" } }),
            ":incorrect prioritizer policy mode: Fancy",
        ),
        (
            json!({ "prioritizerPolicy": { "configurations": [{ "scoreCoordinate": { "type": "AddOn" } }] } }),
            ":addOn should not be empty",
        ),
        (
            selector(
                json!({ "labelSelector": { "matchExpressions": [{ "key": "k", "operator": "Near", "values": ["v"] }] } }),
            ),
            "Predicate:\"Near\" is not a valid label selector operator",
        ),
        (
            selector(
                json!({ "claimSelector": { "matchExpressions": [{ "key": "k", "operator": "In" }] } }),
            ),
            "Predicate:for 'in', 'notin' operators, values set can't be empty",
        ),
        (
            selector(
                json!({ "celSelector": { "celExpressions": ["managedCluster.metadata.name == nam"] } }),
            ),
            "Predicate:ERROR: <input>:1:33: undeclared reference to 'nam' (in container '')\n | managedCluster.metadata.name == nam\n | ................................^",
        ),
        (
            json!({ "scoreRateLimit": "often" }),
            ":incorrect scoreRateLimit: often",
        ),
        (
            json!({ "decisionStrategy": { "groupStrategy": { "clustersPerDecisionGroup": "ten" } } }),
            ":ten invalid type: string is not a percentage",
        ),
    ];
    for (spec, message) in cases {
        assert_eq!(compile(spec.clone()).unwrap_err(), message, "{spec}");
    }
}

#[test]
fn weights_are_overlaid_or_exact() {
    let memory =
        json!({ "scoreCoordinate": { "builtIn": "ResourceAllocatableMemory" }, "weight": 2 });
    let balance = json!({ "scoreCoordinate": { "builtIn": "Balance" }, "weight": 3 });
    let no_steady = json!({ "scoreCoordinate": { "builtIn": "Steady" }, "weight": 0 });
    let pair = |name: &str, weight| (name.to_owned(), weight);
    assert_eq!(weights(json!({})), [pair("Balance", 1), pair("Steady", 1)]);
    assert_eq!(
        weights(json!({ "prioritizerPolicy": { "configurations": [memory, balance, no_steady] } })),
        [pair("Balance", 3), pair("ResourceAllocatableMemory", 2)]
    );
    assert_eq!(
        weights(json!({ "prioritizerPolicy": { "mode": "Exact", "configurations": [memory] } })),
        [pair("ResourceAllocatableMemory", 2)]
    );
    let add_on =
        json!({ "type": "AddOn", "addOn": { "resourceName": "demo", "scoreName": "cpu" } });
    let policy = compile(json!({ "prioritizerPolicy": { "mode": "Exact", "configurations": [{ "scoreCoordinate": add_on }] } })).unwrap();
    assert_eq!(
        policy.prioritizers[0].prioritizer,
        Prioritizer::AddOn {
            resource: "demo".into(),
            score: "cpu".into()
        }
    );
}

#[test]
fn group_sizes_are_numbers_or_percentages() {
    let size = |size: Value| {
        compile(json!({ "decisionStrategy": { "groupStrategy": { "clustersPerDecisionGroup": size } } })).unwrap().groups.size
    };
    assert_eq!(size(json!(3)), GroupSize::Clusters(3));
    assert_eq!(size(json!("25%")), GroupSize::Percent(25.0));
    assert_eq!(compile(json!({})).unwrap().groups.size, GroupSize::All);
}

#[test]
fn an_unknown_operator_tolerates_nothing() {
    let policy =
        compile(json!({ "tolerations": [{ "key": "k", "operator": "Sometimes" }] })).unwrap();
    assert!(policy.tolerations.is_empty());
}

#[test]
fn labels_claims_taints_and_resources_of_a_cluster_are_read() {
    let cluster: ManagedCluster = serde_json::from_value(json!({
        "apiVersion": "cluster.open-cluster-management.io/v1",
        "kind": "ManagedCluster",
        "metadata": { "name": "east", "labels": { "tier": "gold" } },
        "spec": { "hubAcceptsClient": true, "taints": [{ "key": "k", "value": "v", "effect": "NoSelect", "timeAdded": "2026-01-01T00:00:00Z" }] },
        "status": {
            "clusterClaims": [{ "name": "region", "value": "eu" }],
            "capacity": { "cpu": "8", "memory": "16Gi" },
            "allocatable": { "cpu": "7500m" },
        },
    }))
    .unwrap();
    let prepared = Cluster::prepare(&cluster);
    assert_eq!(
        (prepared.cpu, prepared.memory),
        (Some(Amount::thousandths(7_500)), None)
    );

    let spec = json!({
        "predicates": [{ "requiredClusterSelector": {
            "labelSelector": { "matchLabels": { "tier": "gold" } },
            "claimSelector": { "matchExpressions": [{ "key": "region", "operator": "In", "values": ["eu"] }] },
        }}],
        "tolerations": [{ "key": "k", "operator": "Exists" }],
    });
    let clusters = [prepared];
    assert_eq!(
        chosen(&run(
            &compile(spec).unwrap(),
            &clusters,
            &World::default(),
            0
        )),
        ["east"]
    );
}

/// One placement that goes on for megabytes must not hold up all others.
#[test]
fn a_spec_is_bounded() {
    let selector = |selector: Value| json!({ "requiredClusterSelector": selector });
    let region = selector(json!({ "labelSelector": { "matchLabels": { "region": "eu" } } }));
    let values: Vec<String> = (0..10_000).map(|n| format!("v{n}")).collect();
    let one_of = |values: &[String]| {
        let requirement = json!({ "key": "k", "operator": "In", "values": values });
        json!({ "predicates": [selector(json!({ "labelSelector": { "matchExpressions": [requirement] } }))] })
    };
    let add_on = |n: usize| {
        let coordinate = json!({ "type": "AddOn", "addOn": { "resourceName": "r", "scoreName": format!("s{n}") } });
        json!({ "scoreCoordinate": coordinate, "weight": 1 })
    };
    let scores = |count: usize| {
        let all: Vec<Value> = (0..count).map(add_on).collect();
        json!({ "prioritizerPolicy": { "configurations": all } })
    };
    let tolerations =
        |count: usize| json!({ "tolerations": vec![json!({ "operator": "Exists" }); count] });
    for (sound, too_long, why) in [
        (
            json!({ "predicates": vec![region.clone(); 1_000] }),
            json!({ "predicates": vec![region; 1_001] }),
            ":too many predicates: 1001, at most 1000",
        ),
        (
            one_of(&values[1..]),
            one_of(&values),
            ":too many terms in all selectors: 10001, at most 10000",
        ),
        (
            scores(100),
            scores(101),
            ":too many prioritizers: 101, at most 100",
        ),
        (
            tolerations(1_000),
            tolerations(1_001),
            ":too many tolerations: 1001, at most 1000",
        ),
    ] {
        assert!(compile(sound).is_ok(), "{why}");
        assert_eq!(compile(too_long).unwrap_err(), why);
    }
}
