//! Deletion: finalizers, preconditions, namespaces.

use koinon_hub::resources::NAMESPACE_CLEANUP;
use serde_json::json;

use crate::support::{CLUSTERS, CONFIG_MAPS, Hub, NAMESPACES, WORKS, cluster, config_map, work};

#[tokio::test]
async fn an_object_without_finalizers_is_gone_at_once() {
    let hub = Hub::start().await;
    let created = hub.create(CLUSTERS, &cluster("east")).await.ok();
    let status = hub.delete(&format!("{CLUSTERS}/east")).await.ok();
    assert_eq!(
        status,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {
                "name": "east", "group": "cluster.open-cluster-management.io", "kind": "managedclusters",
                "uid": created["metadata"]["uid"],
            },
        })
    );
    hub.delete(&format!("{CLUSTERS}/east"))
        .await
        .refusal(404, "NotFound");
}

/// P3: a work stays as its own tombstone until its finalizer is taken off.
#[tokio::test]
async fn a_work_waits_for_its_finalizer() {
    let hub = Hub::start().await;
    let created = hub.create(WORKS, &work("w")).await.ok();
    let path = format!("{WORKS}/w");
    let finalizer = "cluster.open-cluster-management.io/manifest-work-cleanup";
    assert_eq!(created["metadata"]["finalizers"], json!([finalizer]));
    let kept = hub
        .merge(&path, &json!({ "metadata": { "finalizers": null } }))
        .await
        .ok();
    assert_eq!(
        kept["metadata"]["finalizers"],
        json!([finalizer]),
        "nobody makes a living work forgettable"
    );

    let deleting = hub.delete(&path).await.ok();
    assert_eq!(deleting["kind"], "ManifestWork");
    assert!(deleting["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(deleting["metadata"]["deletionGracePeriodSeconds"], 0);
    assert_eq!(deleting["metadata"]["generation"], 2);
    assert_eq!(
        hub.delete(&path).await.ok(),
        deleting,
        "deleting again changes nothing"
    );

    let message = hub
        .merge(
            &path,
            &json!({ "metadata": { "finalizers": [finalizer, "a.example/b"] } }),
        )
        .await
        .refusal(422, "Invalid");
    assert!(
        message.contains("no new finalizers can be added if the object is being deleted"),
        "{message}"
    );
    let undone = hub
        .merge(&path, &json!({ "metadata": { "deletionTimestamp": null } }))
        .await
        .ok();
    assert_eq!(
        undone["metadata"]["deletionTimestamp"],
        deleting["metadata"]["deletionTimestamp"]
    );

    hub.merge(&path, &json!({ "metadata": { "finalizers": [] } }))
        .await
        .ok();
    hub.get(&path).await.refusal(404, "NotFound");
}

#[tokio::test]
async fn nobody_marks_an_object_as_deleted_by_an_update() {
    let hub = Hub::start().await;
    let mut created = hub.create(CLUSTERS, &cluster("east")).await.ok();
    created["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    let message = hub
        .replace(&format!("{CLUSTERS}/east"), &created)
        .await
        .refusal(422, "Invalid");
    assert!(message.contains("metadata.deletionTimestamp"), "{message}");
}

#[tokio::test]
async fn preconditions_must_hold() {
    let hub = Hub::start().await;
    let created = hub.create(CLUSTERS, &cluster("east")).await.ok();
    let path = format!("{CLUSTERS}/east");
    let delete = async |options: serde_json::Value| {
        hub.send("DELETE", &path, "application/json", options.to_string())
            .await
    };
    let message = delete(json!({ "preconditions": { "uid": "other" } }))
        .await
        .refusal(409, "Conflict");
    assert!(
        message.contains("Precondition failed: UID in precondition: other"),
        "{message}"
    );
    delete(json!({ "preconditions": { "resourceVersion": "1" } }))
        .await
        .refusal(409, "Conflict");
    delete(json!({ "propagationPolicy": "Sideways" }))
        .await
        .refusal(422, "Invalid");
    delete(json!({ "kind": "ConfigMap" }))
        .await
        .refusal(400, "BadRequest");
    delete(json!({ "preconditions": { "uid": created["metadata"]["uid"] }, "propagationPolicy": "Background" })).await.ok();
}

#[tokio::test]
async fn propagation_sets_the_collectors_finalizers() {
    let hub = Hub::start().await;
    for (name, policy, finalizer) in [
        ("a", "Foreground", "foregroundDeletion"),
        ("b", "Orphan", "orphan"),
    ] {
        hub.create(CONFIG_MAPS, &config_map(name, &json!({})))
            .await
            .ok();
        let deleting = hub
            .delete(&format!("{CONFIG_MAPS}/{name}?propagationPolicy={policy}"))
            .await
            .ok();
        assert_eq!(deleting["metadata"]["finalizers"], json!([finalizer]));
    }
}

#[tokio::test]
async fn a_namespace_terminates_before_it_ends() {
    let hub = Hub::start().await;
    let created = hub
        .create(NAMESPACES, &json!({ "metadata": { "name": "team" } }))
        .await
        .ok();
    assert_eq!(created["status"]["phase"], "Active");
    assert_eq!(
        created["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "team"
    );
    let path = format!("{NAMESPACES}/team");
    let deleting = hub.delete(&path).await.ok();
    assert_eq!(deleting["status"]["phase"], "Terminating");
    assert_eq!(
        deleting["metadata"]["finalizers"],
        json!([NAMESPACE_CLEANUP])
    );

    let answer = hub
        .create(
            "/api/v1/namespaces/team/configmaps",
            &config_map("a", &json!({})),
        )
        .await;
    assert_eq!(
        answer.body["details"]["causes"][0]["field"],
        "metadata.namespace"
    );
    let message = answer.refusal(403, "Forbidden");
    assert_eq!(
        message,
        "configmaps \"a\" is forbidden: unable to create new content in namespace team because it is being terminated"
    );
    hub.merge(&path, &json!({ "metadata": { "finalizers": null } }))
        .await
        .ok();
    hub.get(&path).await.refusal(404, "NotFound");
    let message = hub
        .create(
            "/api/v1/namespaces/team/configmaps",
            &config_map("a", &json!({})),
        )
        .await
        .refusal(404, "NotFound");
    assert_eq!(message, "namespaces \"team\" not found");
    hub.delete(&format!("{NAMESPACES}/default"))
        .await
        .refusal(403, "Forbidden");
}

#[tokio::test]
async fn a_collection_is_deleted_by_its_selection() {
    let hub = Hub::start().await;
    for name in ["a", "b", "c"] {
        hub.create(CONFIG_MAPS, &config_map(name, &json!({})))
            .await
            .ok();
    }
    let deleted = hub
        .delete(&format!("{CONFIG_MAPS}?labelSelector=app+in+(a,b)"))
        .await
        .ok();
    assert_eq!(deleted["items"].as_array().unwrap().len(), 2);
    let left = hub.get(CONFIG_MAPS).await.ok();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert_eq!(left["items"][0]["metadata"]["name"], "c");
    hub.delete("/api/v1/configmaps")
        .await
        .refusal(405, "MethodNotAllowed");
}

/// A deletion relies on no state, so that no number of other writes can refuse it.
#[tokio::test]
async fn a_storm_of_statuses_does_not_keep_an_object_alive() {
    let hub = Hub::start().await;
    hub.create(WORKS, &work("w")).await.ok();
    let (path, status) = (format!("{WORKS}/w"), format!("{WORKS}/w/status"));
    let writer = async |writer: usize| {
        for count in 0.. {
            let condition = json!({
                "type": "Applied", "status": "True", "reason": format!("By{writer}"), "message": count.to_string(),
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            // Some of these lose their own races, which is theirs to mind.
            hub.merge(&status, &json!({ "status": { "conditions": [condition] } }))
                .await;
        }
    };
    let storm = futures::future::join_all((0..16).map(writer));
    let deleted = async {
        let deleting = hub.delete(&path).await.ok();
        assert!(deleting["metadata"]["deletionTimestamp"].is_string());
    };
    tokio::select! {
        _ = storm => unreachable!("it goes on for ever"),
        () = deleted => {}
    }
}
