//! Two replicas of a hub: what one of them has not heard of yet is no reason to answer wrongly.

use std::time::Duration;

use http::header;
use koinon_store::testing::{Signal, impatient};
use serde_json::{Value, json};

use crate::support::{CONFIG_MAPS, Caller, Hub, NAMESPACES, config_map};

/// A hub, and another replica of it that hears of changes only when it asks.
async fn two() -> (Hub, Caller) {
    let hub = Hub::start().await;
    let other = hub
        .replica(|config| {
            config.listen = false;
            config.poll_interval = Duration::from_secs(3600);
        })
        .await;
    (hub, other)
}

/// A config map that both replicas know, and then only the first knows the newest state of.
async fn behind(hub: &Hub, other: &Caller, first: Value, then: Value) -> Value {
    let created = hub
        .create(CONFIG_MAPS, &config_map("shared", &first))
        .await
        .ok();
    let path = format!("{CONFIG_MAPS}/shared");
    assert_eq!(other.get(&path).await.ok(), created);
    hub.merge(&path, &json!({ "data": then })).await.ok();
    let cached = other.get(&format!("{path}?resourceVersion=0")).await.ok();
    assert_eq!(cached, created, "the other replica has not heard of it");
    created
}

async fn data(hub: &Hub) -> Value {
    hub.get(&format!("{CONFIG_MAPS}/shared")).await.ok()["data"].clone()
}

#[tokio::test]
async fn a_patch_that_would_change_nothing_in_an_old_state_is_not_lost() {
    let (hub, other) = two().await;
    behind(&hub, &other, json!({ "a": "1" }), json!({ "a": "2" })).await;
    let path = format!("{CONFIG_MAPS}/shared");
    let answer = other
        .merge(&path, &json!({ "data": { "a": "1" } }))
        .await
        .ok();
    assert_eq!(answer["data"], json!({ "a": "1" }));
    assert_eq!(data(&hub).await, json!({ "a": "1" }));
}

#[tokio::test]
async fn an_update_from_an_old_state_that_would_change_nothing_is_a_conflict() {
    let (hub, other) = two().await;
    let old = behind(&hub, &other, json!({ "a": "1" }), json!({ "a": "2" })).await;
    let path = format!("{CONFIG_MAPS}/shared");
    other
        .send("PUT", &path, "application/json", old.to_string())
        .await
        .refusal(409, "Conflict");
    assert_eq!(data(&hub).await, json!({ "a": "2" }));
}

#[tokio::test]
async fn what_an_old_state_would_refuse_is_decided_on_the_newest() {
    let (hub, other) = two().await;
    behind(&hub, &other, json!({ "a": "1" }), json!({ "b": "1" })).await;
    let path = format!("{CONFIG_MAPS}/shared");
    let patch = json!([
        { "op": "test", "path": "/data/b", "value": "1" },
        { "op": "remove", "path": "/data/b" },
    ]);
    other
        .send(
            "PATCH",
            &path,
            "application/json-patch+json",
            patch.to_string(),
        )
        .await
        .ok();
    assert_eq!(data(&hub).await, json!({ "a": "1" }));
}

#[tokio::test]
async fn an_apply_conflicts_with_managers_that_are_there_now() {
    let (hub, other) = two().await;
    let apply = async |caller: &Caller, manager: &str, data: Value| {
        let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "applied" }, "data": data });
        let path = format!("{CONFIG_MAPS}/applied?fieldManager={manager}");
        caller
            .send(
                "PATCH",
                &path,
                "application/apply-patch+yaml",
                config.to_string(),
            )
            .await
    };
    let first = hub.admin();
    apply(&first, "ann", json!({ "a": "1", "b": "1" }))
        .await
        .ok();
    other.get(&format!("{CONFIG_MAPS}/applied")).await.ok();
    apply(&first, "ann", json!({ "b": "1" })).await.ok();
    // In the other's cache `a` still is ann's.
    let taken = apply(&other, "bob", json!({ "a": "2" })).await.ok();
    assert_eq!(taken["data"], json!({ "a": "2", "b": "1" }));
    // And in the first's nobody has it.
    apply(&other, "bob", json!({ "a": "2", "c": "2" }))
        .await
        .ok();
    apply(&first, "ann", json!({ "b": "1", "c": "3" }))
        .await
        .refusal(409, "Conflict");
}

#[tokio::test]
async fn a_trial_is_answered_as_the_real_thing_would_be() {
    let (hub, other) = two().await;
    behind(&hub, &other, json!({ "a": "1" }), json!({ "a": "2" })).await;
    let (path, trial) = (
        format!("{CONFIG_MAPS}/shared?dryRun=All"),
        format!("{CONFIG_MAPS}?dryRun=All"),
    );
    let tried = other
        .merge(&path, &json!({ "data": { "b": "1" } }))
        .await
        .ok();
    assert_eq!(tried["data"], json!({ "a": "2", "b": "1" }));

    hub.delete(&format!("{CONFIG_MAPS}/shared")).await.ok();
    let cached = other
        .get(&format!("{CONFIG_MAPS}/shared?resourceVersion=0"))
        .await;
    assert_eq!(cached.code, 200, "the other replica still has it");
    let again = config_map("shared", &json!({}));
    assert_eq!(other.create(&trial, &again).await.code, 201);
    hub.create(CONFIG_MAPS, &config_map("late", &json!({})))
        .await
        .ok();
    other
        .create(&trial, &config_map("late", &json!({})))
        .await
        .refusal(409, "AlreadyExists");
    assert_eq!(other.delete(&path).await.code, 404);
}

#[tokio::test]
async fn a_namespace_that_came_back_takes_objects_again() {
    let (hub, other) = two().await;
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "apps" } });
    hub.create(NAMESPACES, &namespace).await.ok();
    let path = format!("{NAMESPACES}/apps");
    hub.delete(&path).await.ok();
    let state = other.get(&path).await.ok();
    assert_eq!(state["status"]["phase"], "Terminating");
    hub.merge(&path, &json!({ "metadata": { "finalizers": null } }))
        .await
        .ok();
    assert_eq!(hub.get(&path).await.code, 404);
    hub.create(NAMESPACES, &namespace).await.ok();
    other
        .create(
            &format!("{NAMESPACES}/apps/configmaps"),
            &json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" } }),
        )
        .await
        .ok();
}

/// Clients repeat every request that is answered with a time to try again: a write in doubt must not have one.
#[tokio::test]
async fn a_write_in_doubt_does_not_ask_to_be_repeated() {
    let hub = Hub::start_with(impatient).await;
    hub.create(CONFIG_MAPS, &config_map("a", &json!({})))
        .await
        .ok();
    // The server stands still with the lane's connection open: the answer is due and does not come.
    hub.postgres.signal(Signal::STOP);
    let generated =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "generateName": "a-" } });
    let doubtful = hub.create(CONFIG_MAPS, &generated).await;
    hub.postgres.signal(Signal::CONT);
    assert!(!doubtful.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(doubtful.body["details"]["retryAfterSeconds"], Value::Null);
    let message = doubtful.refusal(504, "Timeout");
    assert!(message.contains("may or may not"), "{message}");
}
