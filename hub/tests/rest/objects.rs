//! One object: create, read, replace, patch, and its status apart.

use std::convert::Infallible;

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::support::{
    BINDINGS, CLUSTERS, CONFIG_MAPS, Hub, NAMESPACES, SETS, TOKENS, WORKS, cluster, config_map,
    read, work,
};

#[tokio::test]
async fn a_created_object_gets_what_the_hub_says_and_reads_back() {
    let hub = Hub::start().await;
    let mut sent = cluster("east");
    sent["metadata"]["uid"] = "made-up".into();
    sent["metadata"]["generation"] = 7.into();
    sent["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z".into();
    sent["status"] = json!({ "conditions": [] });
    let answer = hub.create(CLUSTERS, &sent).await;
    assert_eq!(answer.code, 201);
    let created = answer.ok();
    let metadata = &created["metadata"];
    assert_eq!(metadata["generation"], 1);
    assert_ne!(metadata["uid"], "made-up");
    assert_ne!(metadata["creationTimestamp"], "2001-01-01T00:00:00Z");
    assert!(
        metadata["resourceVersion"]
            .as_str()
            .unwrap()
            .parse::<i64>()
            .unwrap()
            > 0
    );
    assert!(
        created.get("status").is_none(),
        "the status is not the creator's: {created}"
    );
    assert_eq!(created["spec"]["leaseDurationSeconds"], 60, "OCM's default");
    assert_eq!(hub.get(&format!("{CLUSTERS}/east")).await.ok(), created);
}

#[tokio::test]
async fn generated_names_are_free_and_as_kubernetes_makes_them() {
    let hub = Hub::start().await;
    let mut sent = config_map("x", &json!({}));
    sent["metadata"] = json!({ "generateName": "web-" });
    let mut names = Vec::new();
    for _ in 0..5 {
        let created = hub.create(CONFIG_MAPS, &sent).await.ok();
        let name = created["metadata"]["name"].as_str().unwrap().to_owned();
        assert_eq!((name.len(), &name[..4]), (9, "web-"));
        assert!(!names.contains(&name));
        names.push(name);
    }
}

#[tokio::test]
async fn an_update_needs_the_current_version_and_counts_generations() {
    let hub = Hub::start().await;
    let created = hub
        .create(SETS, &json!({ "metadata": { "name": "blue" } }))
        .await
        .ok();
    let path = format!("{SETS}/blue");

    let mut same = created.clone();
    same["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z".into();
    let unchanged = hub.replace(&path, &same).await.ok();
    assert_eq!(unchanged, created, "a change of nothing writes nothing");

    let mut labelled = created.clone();
    labelled["metadata"]["labels"] = json!({ "a": "b" });
    let labelled = hub.replace(&path, &labelled).await.ok();
    assert_eq!(
        labelled["metadata"]["generation"], 1,
        "labels are no new generation"
    );

    let mut stale = created.clone();
    stale["spec"] = json!({ "managedNamespaces": [{ "name": "n" }] });
    let message = hub.replace(&path, &stale).await.refusal(409, "Conflict");
    assert_eq!(
        message,
        "Operation cannot be fulfilled on managedclustersets.cluster.open-cluster-management.io \"blue\": the object has \
         been modified; please apply your changes to the latest version and try again"
    );

    stale["metadata"]["resourceVersion"] = labelled["metadata"]["resourceVersion"].clone();
    let changed = hub.replace(&path, &stale).await.ok();
    assert_eq!(changed["metadata"]["generation"], 2);
    assert!(
        changed["metadata"].get("labels").is_none(),
        "a replace replaces"
    );

    stale["metadata"]["resourceVersion"] = Value::Null;
    let message = hub.replace(&path, &stale).await.refusal(422, "Invalid");
    assert!(
        message.contains(
            "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        ),
        "{message}"
    );
}

#[tokio::test]
async fn core_kinds_may_be_overwritten_without_a_version() {
    let hub = Hub::start().await;
    hub.create(CONFIG_MAPS, &config_map("a", &json!({ "k": "1" })))
        .await
        .ok();
    let replaced = hub
        .replace(
            &format!("{CONFIG_MAPS}/a"),
            &config_map("a", &json!({ "k": "2" })),
        )
        .await
        .ok();
    assert_eq!(replaced["data"]["k"], "2");
    assert!(replaced["metadata"].get("generation").is_none());
}

#[tokio::test]
async fn status_and_spec_are_written_apart() {
    let hub = Hub::start().await;
    let created = hub.create(CLUSTERS, &cluster("east")).await.ok();
    let (path, status) = (
        format!("{CLUSTERS}/east"),
        format!("{CLUSTERS}/east/status"),
    );

    let mut both = created.clone();
    both["spec"]["leaseDurationSeconds"] = 30.into();
    both["metadata"]["labels"]["x"] = "y".into();
    both["status"] = json!({ "version": { "kubernetes": "v1.33.0" } });
    let updated = hub.replace(&status, &both).await.ok();
    assert_eq!(updated["status"]["version"]["kubernetes"], "v1.33.0");
    assert_eq!(updated["spec"], created["spec"]);
    assert_eq!(updated["metadata"]["generation"], 1);
    assert_eq!(updated["metadata"]["labels"], created["metadata"]["labels"]);

    both["metadata"]["resourceVersion"] = updated["metadata"]["resourceVersion"].clone();
    both["status"] = json!({});
    let updated = hub.replace(&path, &both).await.ok();
    assert_eq!(updated["status"]["version"]["kubernetes"], "v1.33.0");
    assert_eq!(updated["spec"]["leaseDurationSeconds"], 30);
    assert_eq!(updated["metadata"]["generation"], 2);

    let patched = hub
        .merge(
            &status,
            &json!({ "status": { "version": null }, "spec": { "leaseDurationSeconds": 9 } }),
        )
        .await
        .ok();
    assert_eq!(patched["spec"]["leaseDurationSeconds"], 30);
    assert!(patched["status"].get("version").is_none());
    assert_eq!(hub.get(&status).await.ok(), patched);
    hub.get(&format!("{CONFIG_MAPS}/a/status"))
        .await
        .refusal(404, "NotFound");
    hub.delete(&status).await.refusal(405, "MethodNotAllowed");
}

#[tokio::test]
async fn patches_of_each_kind_apply() {
    let hub = Hub::start().await;
    hub.create(CLUSTERS, &cluster("east")).await.ok();
    hub.create(
        CONFIG_MAPS,
        &config_map("a", &json!({ "k": "1", "l": "2" })),
    )
    .await
    .ok();
    let path = format!("{CLUSTERS}/east");
    let merged = hub.merge(&path, &json!({ "metadata": { "labels": { "env": "prod" } }, "spec": { "leaseDurationSeconds": 30 } })).await.ok();
    assert_eq!(merged["metadata"]["labels"]["env"], "prod");
    assert_eq!(merged["metadata"]["generation"], 2);

    let operations = json!([{ "op": "test", "path": "/spec/leaseDurationSeconds", "value": 30 }, { "op": "replace", "path": "/spec/leaseDurationSeconds", "value": 15 }]);
    let patched = hub
        .send(
            "PATCH",
            &path,
            "application/json-patch+json",
            operations.to_string(),
        )
        .await
        .ok();
    assert_eq!(patched["spec"]["leaseDurationSeconds"], 15);
    hub.send(
        "PATCH",
        &path,
        "application/json-patch+json",
        operations.to_string(),
    )
    .await
    .refusal(422, "Invalid");

    let strategic = json!({ "data": { "k": null, "m": "3" } });
    let config = hub
        .send(
            "PATCH",
            &format!("{CONFIG_MAPS}/a"),
            "application/strategic-merge-patch+json",
            strategic.to_string(),
        )
        .await
        .ok();
    assert_eq!(config["data"], json!({ "l": "2", "m": "3" }));
    for refused in ["application/strategic-merge-patch+json", "text/plain", ""] {
        hub.send("PATCH", &path, refused, "{}")
            .await
            .refusal(415, "UnsupportedMediaType");
    }
    hub.merge(&path, &json!({ "metadata": { "name": "west" } }))
        .await
        .refusal(400, "BadRequest");
    hub.merge(&path, &json!({ "metadata": { "resourceVersion": "1" } }))
        .await
        .refusal(409, "Conflict");
    hub.merge(&format!("{CLUSTERS}/west"), &json!({}))
        .await
        .refusal(404, "NotFound");
}

#[tokio::test]
async fn yaml_bodies_are_read() {
    let hub = Hub::start().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: from-yaml\ndata:\n  k: v\n";
    let created = hub
        .send("POST", CONFIG_MAPS, "application/yaml", yaml)
        .await
        .ok();
    assert_eq!(created["data"]["k"], "v");
}

#[tokio::test]
async fn a_dry_run_answers_and_changes_nothing() {
    let hub = Hub::start().await;
    let before = hub.registry.store().revision();
    let created = hub
        .create(&format!("{CLUSTERS}?dryRun=All"), &cluster("east"))
        .await;
    assert_eq!(
        (created.code, created.body["metadata"]["name"].as_str()),
        (201, Some("east"))
    );
    hub.get(&format!("{CLUSTERS}/east"))
        .await
        .refusal(404, "NotFound");
    hub.create(CLUSTERS, &cluster("east")).await.ok();
    hub.create(&format!("{CLUSTERS}?dryRun=All"), &cluster("east"))
        .await
        .refusal(409, "AlreadyExists");
    let path = format!("{CLUSTERS}/east?dryRun=All");
    let patched = hub
        .merge(&path, &json!({ "spec": { "leaseDurationSeconds": 5 } }))
        .await
        .ok();
    assert_eq!(patched["spec"]["leaseDurationSeconds"], 5);
    hub.delete(&path).await.ok();
    let kept = hub.get(&format!("{CLUSTERS}/east")).await.ok();
    assert_eq!(kept["spec"]["leaseDurationSeconds"], 60);
    assert_eq!(
        hub.registry.store().revision().0,
        before.0 + 1,
        "only the real create was written"
    );
}

#[tokio::test]
async fn names_are_taken_once() {
    let hub = Hub::start().await;
    hub.create(CLUSTERS, &cluster("east")).await.ok();
    let message = hub
        .create(CLUSTERS, &cluster("east"))
        .await
        .refusal(409, "AlreadyExists");
    assert_eq!(
        message,
        "managedclusters.cluster.open-cluster-management.io \"east\" already exists"
    );
}

#[tokio::test]
async fn every_kind_lives_its_life() {
    let hub = Hub::start().await;
    let expires = "2999-01-01T00:00:00Z";
    let placements =
        "/apis/cluster.open-cluster-management.io/v1beta1/namespaces/default/placements";
    let sets =
        "/apis/work.open-cluster-management.io/v1alpha1/namespaces/default/manifestworkreplicasets";
    let spec = |path: &str| match path {
        CLUSTERS => json!({ "spec": {} }),
        BINDINGS => json!({ "spec": { "clusterSet": "x" } }),
        WORKS => json!({ "spec": work("x")["spec"] }),
        TOKENS => json!({ "spec": { "expiresAt": expires } }),
        path if path == placements => json!({ "spec": { "numberOfClusters": 2 } }),
        path if path == sets => {
            json!({ "spec": { "placementRefs": [{ "name": "p" }], "manifestWorkTemplate": work("x")["spec"] } })
        }
        "/api/v1/namespaces/default/events" => json!({ "involvedObject": {}, "reason": "Because" }),
        _ => json!({}),
    };
    for path in [
        CLUSTERS,
        SETS,
        BINDINGS,
        WORKS,
        TOKENS,
        placements,
        sets,
        NAMESPACES,
        CONFIG_MAPS,
        "/api/v1/namespaces/default/secrets",
        "/api/v1/namespaces/default/events",
        "/apis/cluster.open-cluster-management.io/v1beta1/namespaces/default/placementdecisions",
        "/apis/cluster.open-cluster-management.io/v1alpha1/namespaces/default/addonplacementscores",
    ] {
        let mut object = spec(path);
        object["metadata"] = json!({ "name": "x" });
        hub.create(path, &object).await.ok();
        let one = format!("{path}/x");
        let read = hub.get(&one).await.ok();
        assert_eq!(hub.replace(&one, &read).await.ok(), read, "{path}");
        let table = hub
            .accept(path, "application/json;as=Table;v=v1;g=meta.k8s.io")
            .await
            .ok();
        assert_eq!(table["kind"], "Table", "{path}");
        hub.merge(
            &one,
            &json!({ "metadata": { "annotations": { "a": "b" } } }),
        )
        .await
        .ok();
        hub.delete(&one).await.ok();
    }
}

/// Each request is small enough, and what they add up to is not.
#[tokio::test]
async fn an_object_does_not_grow_without_end() {
    let hub = Hub::start().await;
    hub.create(WORKS, &work("big")).await.ok();
    let path = format!("{WORKS}/big");
    let more = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": "n" },
            "data": { "a": "x".repeat(400 << 10) },
        })
    };
    let add = async |name: &str| {
        let patch =
            json!([{ "op": "add", "path": "/spec/workload/manifests/-", "value": more(name) }]);
        hub.send(
            "PATCH",
            &path,
            "application/json-patch+json",
            patch.to_string(),
        )
        .await
    };
    add("one").await.ok();
    add("two").await.ok();
    let before = hub.get(&path).await.ok();
    let message = add("three").await.refusal(413, "RequestEntityTooLarge");
    assert_eq!(message, "Request entity too large: limit is 1048576");
    assert_eq!(hub.get(&path).await.ok(), before);
    // It can still be changed, and reported on.
    hub.merge(&path, &json!({ "metadata": { "labels": { "a": "b" } } }))
        .await
        .ok();
    let remove = json!([{ "op": "remove", "path": "/spec/workload/manifests/1" }]);
    hub.send(
        "PATCH",
        &path,
        "application/json-patch+json",
        remove.to_string(),
    )
    .await
    .ok();
    add("three").await.ok();
}

/// `kubectl --request-timeout` and client-go's `Timeout` come as a parameter.
#[tokio::test]
async fn a_request_says_how_long_it_may_take() {
    let hub = Hub::start().await;
    let object = config_map("a", &json!({}));
    for (timeout, code) in [("5s", 201), ("0", 409), ("1h", 409), ("-1s", 409)] {
        let path = format!("{CONFIG_MAPS}?timeout={timeout}");
        assert_eq!(hub.create(&path, &object).await.code, code, "{timeout}");
    }
    let path = format!("{CONFIG_MAPS}?timeout=soon");
    let message = hub.create(&path, &object).await.refusal(400, "BadRequest");
    assert!(
        message.starts_with("invalid timeout specified in the request URL"),
        "{message}"
    );
    // A body that never comes, of a client that does not wait for ever.
    let never = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, Infallible>>());
    let request = Request::post(format!("{CONFIG_MAPS}?timeout=200ms")).body(never);
    let late = read(hub.admin().raw(request.unwrap()).await).await;
    assert!(
        !late.headers.contains_key("retry-after"),
        "nobody repeats it unasked"
    );
    late.refusal(504, "Timeout");
}
