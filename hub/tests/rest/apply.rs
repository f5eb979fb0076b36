//! Server-side apply through the API. What it means for fields is tested where it is decided, in the machinery.

use axum::body::Body;
use http::{Request, header};
use serde_json::{Value, json};

use crate::support::{Answer, BINDINGS, CLUSTERS, CONFIG_MAPS, Hub, NAMESPACES, read};

const APPLY: &str = "application/apply-patch+yaml";

async fn apply(hub: &Hub, path: &str, config: &Value) -> Answer {
    hub.admin()
        .send("PATCH", path, APPLY, config.to_string())
        .await
}

fn config_map(name: &str, data: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data })
}

fn managers(answer: &Answer) -> Vec<(String, String, Value)> {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let entries = answer.body["metadata"]["managedFields"].as_array();
    entries
        .into_iter()
        .flatten()
        .map(|entry| {
            (
                text(entry, "manager"),
                text(entry, "operation"),
                entry["fieldsV1"].clone(),
            )
        })
        .collect()
}

#[tokio::test]
async fn an_object_is_created_shared_taken_and_left() {
    let hub = Hub::start().await;
    let path = format!("{CONFIG_MAPS}/shared");
    let by = |manager: &str| format!("{path}?fieldManager={manager}");

    let created = apply(
        &hub,
        &by("ann"),
        &config_map("shared", json!({ "a": "1", "b": "1" })),
    )
    .await;
    assert_eq!(created.code, 201, "{created:?}");
    assert_eq!(
        managers(&created),
        [(
            "ann".to_owned(),
            "Apply".to_owned(),
            json!({ "f:data": { "f:a": {}, "f:b": {} } })
        )]
    );
    let again = apply(
        &hub,
        &by("ann"),
        &config_map("shared", json!({ "a": "1", "b": "1" })),
    )
    .await;
    assert_eq!(
        (again.code, &again.body["metadata"]),
        (200, &created.body["metadata"]),
        "nothing changed, so nothing was written"
    );

    let refused = apply(&hub, &by("bob"), &config_map("shared", json!({ "a": "2" }))).await;
    assert_eq!(refused.code, 409);
    assert_eq!(
        refused.body["message"],
        "Apply failed with 1 conflict: conflict with \"ann\": .data.a"
    );
    let forced = apply(
        &hub,
        &format!("{}&force=true", by("bob")),
        &config_map("shared", json!({ "a": "2" })),
    )
    .await;
    assert_eq!(forced.body["data"], json!({ "a": "2", "b": "1" }));
    let left = apply(&hub, &by("bob"), &config_map("shared", json!({}))).await;
    assert_eq!(left.body["data"], json!({ "b": "1" }));
}

#[tokio::test]
async fn every_write_is_recorded_under_the_name_of_its_client() {
    let hub = Hub::start().await;
    let path = format!("{CONFIG_MAPS}?fieldManager=maker");
    let created = hub
        .create(&path, &config_map("noted", json!({ "a": "1" })))
        .await;
    let fields = json!({ "f:data": { ".": {}, "f:a": {} } });
    assert_eq!(
        managers(&created),
        [("maker".to_owned(), "Update".to_owned(), fields)]
    );
    let patch = Request::patch(format!("{CONFIG_MAPS}/noted"))
        .header(header::CONTENT_TYPE, "application/merge-patch+json")
        .header(header::USER_AGENT, "patcher/v1 (linux)")
        .body(Body::from(json!({ "data": { "b": "2" } }).to_string()))
        .unwrap();
    let patched = read(hub.admin().raw(patch).await).await;
    let entry = patched.body["metadata"]["managedFields"]
        .as_array()
        .and_then(|entries| entries.iter().find(|entry| entry["manager"] == "patcher"));
    assert_eq!(
        entry.map(|entry| &entry["fieldsV1"]),
        Some(&json!({ "f:data": { "f:b": {} } }))
    );
    let mut object = patched.body;
    object["data"] = json!({ "b": "3" });
    let replaced = hub
        .replace(&format!("{CONFIG_MAPS}/noted?fieldManager=maker"), &object)
        .await;
    assert_eq!(
        managers(&replaced),
        [(
            "maker".to_owned(),
            "Update".to_owned(),
            json!({ "f:data": { ".": {}, "f:b": {} } })
        )]
    );
}

#[tokio::test]
async fn what_the_hub_makes_is_not_tracked_until_it_is_applied_to() {
    let hub = Hub::start().await;
    let untouched = hub.get(&format!("{NAMESPACES}/default")).await;
    assert_eq!(untouched.body["metadata"].get("managedFields"), None);
    let labelled = hub
        .merge(
            &format!("{NAMESPACES}/default"),
            &json!({ "metadata": { "labels": { "a": "1" } } }),
        )
        .await;
    assert_eq!(labelled.body["metadata"].get("managedFields"), None);
    let config = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "default", "labels": { "a": "2" } } });
    let path = format!("{NAMESPACES}/default?fieldManager=ann");
    let refused = apply(&hub, &path, &config).await;
    assert_eq!(
        refused.body["message"],
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .metadata.labels.a"
    );
}

#[tokio::test]
async fn the_status_has_managers_of_its_own() {
    let hub = Hub::start().await;
    let (api, kind) = ("cluster.open-cluster-management.io/v1", "ManagedCluster");
    let config = json!({ "apiVersion": api, "kind": kind, "metadata": { "name": "east" }, "spec": { "hubAcceptsClient": false } });
    let path = format!("{CLUSTERS}/east");
    assert_eq!(
        apply(&hub, &format!("{path}/status?fieldManager=ann"), &config)
            .await
            .code,
        404,
        "a status alone creates nothing"
    );
    assert_eq!(
        apply(&hub, &format!("{path}?fieldManager=ann"), &config)
            .await
            .code,
        201
    );
    let status = json!({ "apiVersion": api, "kind": kind, "metadata": { "name": "east" },
        "status": { "conditions": [{ "type": "Seen", "status": "True", "reason": "Looked", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" }] } });
    let answer = apply(&hub, &format!("{path}/status?fieldManager=bob"), &status).await;
    assert_eq!(answer.code, 200, "{answer:?}");
    let entries = answer.body["metadata"]["managedFields"].clone();
    let of_bob = entries
        .as_array()
        .and_then(|entries| entries.iter().find(|entry| entry["manager"] == "bob"))
        .cloned()
        .unwrap_or_default();
    assert_eq!(of_bob["subresource"], "status");
    assert_eq!(
        of_bob["fieldsV1"].as_object().map(|fields| fields.len()),
        Some(1)
    );
}

#[tokio::test]
async fn what_is_no_apply_is_refused() {
    let hub = Hub::start().await;
    let path = format!("{CONFIG_MAPS}/x");
    let good = config_map("x", json!({}));
    for (query, config, code, words) in [
        (
            "",
            good.clone(),
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ),
        (
            "?fieldManager=a%07b",
            good.clone(),
            422,
            "invalid character",
        ),
        ("?fieldManager=ann", json!([]), 400, ""),
        (
            "?fieldManager=ann",
            json!({ "apiVersion": "v2", "kind": "ConfigMap" }),
            400,
            "Incorrect version specified in apply patch",
        ),
        (
            "?fieldManager=ann",
            config_map("y", json!({})),
            400,
            "does not match the name on the URL",
        ),
        (
            "?fieldManager=ann",
            config_map("x", json!({ "a": 1 })),
            400,
            ".data.a: expected string",
        ),
    ] {
        let answer = apply(&hub, &format!("{path}{query}"), &config).await;
        let message = answer.body["message"].as_str().unwrap_or_default();
        assert_eq!(answer.code, code, "{query} {config} {message}");
        assert!(message.contains(words), "{message}");
    }
    let forced = hub.merge(&format!("{path}?force=true"), &json!({})).await;
    assert_eq!(forced.code, 422);
    let dry = apply(&hub, &format!("{path}?fieldManager=ann&dryRun=All"), &good).await;
    assert_eq!(dry.code, 201);
    assert_eq!(hub.get(&path).await.code, 404);
    let agent = hub.agent("east");
    let denied = agent
        .send(
            "PATCH",
            &format!("{BINDINGS}/x?fieldManager=a"),
            APPLY,
            "{}".to_owned(),
        )
        .await;
    assert_eq!(denied.code, 403);
}
