use koinon_machinery::placement::Amount;

use super::*;

const GROUP: &str = "cluster.open-cluster-management.io";

fn put(object: Value) -> Result<World> {
    let mut world = World::default();
    add(
        &mut world,
        Path::new("fleet.yaml"),
        object,
        &mut Added::default(),
    )?;
    Ok(world)
}

fn placement(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1beta1"), "kind": "Placement", "metadata": { "name": name }, "spec": spec,
    })
}

/// What a review lets pass must not be refused after the merge.
#[test]
fn what_a_hub_refuses_is_an_error() {
    let by = |coordinate: Value, weight: i64| {
        let one = json!({ "scoreCoordinate": coordinate, "weight": weight });
        json!({ "prioritizerPolicy": { "configurations": [one] } })
    };
    let steady = json!({ "type": "BuiltIn", "builtIn": "Steady" });
    let spread = json!([{ "topologyKey": "zone", "topologyKeyType": "Label", "maxSkew": 0 }]);
    let refused = [
        (placement("web", &by(steady, 50)), "weight"),
        (
            placement(
                "web",
                &json!({ "spreadPolicy": { "spreadConstraints": spread } }),
            ),
            "maxSkew",
        ),
        (
            placement(
                "web",
                &json!({ "decisionStrategy": { "groupStrategy": { "clustersPerDecisionGroup": "0%" } } }),
            ),
            "clustersPerDecisionGroup",
        ),
        (
            placement("web", &json!({ "numberOfCluster": 1 })),
            "unknown field",
        ),
        (placement(&"x".repeat(64), &json!({})), "metadata.name"),
        (
            json!({ "apiVersion": format!("{GROUP}/v1beta1"), "kind": "ManagedCluster", "metadata": { "name": "c1" } }),
            "no matches for kind",
        ),
        (
            json!({
                "apiVersion": format!("{GROUP}/v1beta2"), "kind": "ManagedClusterSetBinding",
                "metadata": { "name": "a" }, "spec": { "clusterSet": "b" },
            }),
            "must have the same name",
        ),
        (
            json!({
                "apiVersion": format!("{GROUP}/v1beta2"), "kind": "ManagedClusterSet", "metadata": { "name": "a" },
                "spec": { "clusterSelector": { "selectorType": "LabelSelector",
                    "labelSelector": { "matchLabels": { "a b": "" } } } },
            }),
            "labelSelector",
        ),
    ];
    for (object, why) in refused {
        let error = put(object.clone()).expect_err(&object.to_string());
        assert!(error.report().contains(why), "{}", error.report());
        assert_eq!(error.exit_code(), 1);
    }
}

#[test]
fn what_a_hub_takes_is_taken_with_its_defaults() {
    let world = put(placement("web", &json!({ "numberOfClusters": 1 }))).unwrap();
    let names: Vec<_> = world.placements().cloned().collect();
    assert_eq!(names, [("default".to_owned(), "web".to_owned())]);
    let cluster = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ManagedCluster", "metadata": { "name": "c1" },
        "status": { "allocatable": { "cpu": "4" }, "capacity": { "cpu": "4" } },
    });
    let world = put(cluster).unwrap();
    let cluster = world.clusters().next().unwrap();
    assert_eq!(cluster.labels[label::CLUSTER_SET], DEFAULT_SET);
    assert_eq!(cluster.cpu.map(Amount::units), Some(4.0));
    let other = put(json!({ "kind": "Deployment" })).unwrap();
    assert_eq!(other.clusters().count(), 0);
}

#[test]
fn a_file_may_hold_a_whole_fleet() {
    let cluster = |number: usize| {
        let labels: Vec<String> = (0..20)
            .map(|label| format!("l{label}: v{number}"))
            .collect();
        format!(
            "{{apiVersion: {GROUP}/v1, kind: ManagedCluster, metadata: {{name: c{number}, labels: {{{}}}}}}}\n",
            labels.join(", ")
        )
    };
    let clusters: Vec<String> = (0..6_000).map(cluster).collect();
    for text in [
        clusters.join("---\n"),
        format!("kind: List\nitems:\n- {}", clusters.join("- ")),
    ] {
        let read = documents(&text).unwrap();
        let items = read[0].get("items").and_then(Value::as_array);
        assert_eq!(items.unwrap_or(&read).len(), 6_000);
    }
    // A few bytes that would become a billion.
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(documents(&bomb).is_err());
}
