//! P12: objects with very many faults.

use serde_json::{Value, json};

use crate::support::{CONFIG_MAPS, Hub, WORKS, config_map};

const JSON: &str = "application/json";

#[tokio::test(flavor = "multi_thread")]
async fn objects_full_of_faults_get_an_answer_of_bearable_size() {
    let hub = Hub::start().await;
    const MANY: usize = 5_000;
    let keys = |key: fn(usize) -> String, value: Value| -> Value {
        (0..MANY)
            .map(|n| (key(n), value.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let list = |item: fn(usize) -> Value| Value::Array((0..MANY).map(item).collect());
    let bad = |field: &str, value: Value| {
        let mut object = config_map("faulty", &json!({}));
        match field {
            "data" => object["data"] = value,
            field => object["metadata"][field] = value,
        }
        (CONFIG_MAPS, object)
    };
    let mut work = json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork", "metadata": { "name": "faulty" },
        "spec": {
            "workload": { "manifests": [{ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" } }] },
            "manifestConfigs": [{ "resourceIdentifier": { "group": "", "resource": "configmaps", "name": "a", "namespace": "b" } }],
        },
    });
    // As many as a body holds here.
    let same = json!({ "type": "WellKnownConditions", "condition": "c" });
    work["spec"]["manifestConfigs"][0]["conditionRules"] = vec![same; 2_000].into();
    let long = "k".repeat(20_000);
    let long_keys: serde_json::Map<_, _> = (0..100)
        .map(|n| (format!("!{n}{long}"), json!("")))
        .collect();
    for (path, object) in [
        bad("data", keys(|n| format!("!{n}"), json!(""))),
        bad("data", long_keys.into()),
        bad("labels", keys(|n| format!("!{n}"), json!(""))),
        bad("annotations", keys(|n| format!("!{n}"), json!(""))),
        bad("finalizers", list(|n| json!(format!("!{n}")))),
        bad("ownerReferences", list(|_| json!({ "name": "" }))),
        (WORKS, work),
    ] {
        let told = hub.send("POST", path, JSON, object.to_string()).await;
        assert_eq!(told.code, 422);
        let causes = told.body["details"]["causes"].as_array().unwrap().len();
        assert!((100..=101).contains(&causes), "{causes}");
        let size = told.body.to_string().len();
        assert!(size < 1_000_000, "{size}");
    }
}
