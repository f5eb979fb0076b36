//! Leases: those of controllers, and the heartbeat that each cluster's namespace shows as one.

use serde_json::{Value, json};

use crate::{
    support::{CLUSTERS, Hub, NAMESPACES, RBAC, cluster},
    watches::Events,
};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/east/leases";

#[tokio::test]
async fn a_lease_shows_an_accepted_clusters_heartbeat() {
    let hub = Hub::start().await;
    hub.create(CLUSTERS, &cluster("east")).await.ok();
    hub.create(
        CLUSTERS,
        &json!({ "metadata": { "name": "west" }, "spec": {} }),
    )
    .await
    .ok();
    let beat = koinon_store::Beat {
        cluster: "east".to_owned(),
        session: uuid::Uuid::new_v4(),
    };
    hub.registry
        .store()
        .heartbeats()
        .beat_many(&[beat])
        .await
        .unwrap();
    let leases = hub.get("/apis/coordination.k8s.io/v1/leases").await.ok();
    assert_eq!(leases["items"].as_array().unwrap().len(), 1);
    let path = "/apis/coordination.k8s.io/v1/namespaces/east/leases/managed-cluster-lease";
    let lease = hub.get(path).await.ok();
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 60);
    assert!(lease["spec"]["renewTime"].as_str().unwrap().ends_with('Z'));
    hub.delete(path).await.refusal(405, "MethodNotAllowed");
    hub.merge(path, &json!({}))
        .await
        .refusal(405, "MethodNotAllowed");
    hub.get("/apis/coordination.k8s.io/v1/namespaces/west/leases/managed-cluster-lease")
        .await
        .refusal(404, "NotFound");
}

fn lease(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "holderIdentity": "one", "strategy": "OldestEmulationVersion" } })
}

/// Controllers elect their leaders with leases of their own, beside the heartbeat: which is shown, and not stored.
#[tokio::test]
async fn leases_are_objects_beside_the_heartbeat() {
    let hub = Hub::start().await;
    hub.create(CLUSTERS, &cluster("east")).await.ok();
    hub.create(NAMESPACES, &json!({ "metadata": { "name": "east" } }))
        .await
        .ok();
    for name in ["a-lock", "z-lock"] {
        hub.create(LEASES, &lease(name)).await.ok();
    }
    let reserved = hub.create(LEASES, &lease("managed-cluster-lease")).await;
    let message = reserved.refusal(422, "Invalid");
    assert!(message.contains("shows the heartbeat"), "{message}");
    let path = format!("{LEASES}/managed-cluster-lease");
    hub.replace(&path, &lease("managed-cluster-lease"))
        .await
        .refusal(405, "MethodNotAllowed");

    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = ["a-lock", "managed-cluster-lease", "z-lock"];
    assert_eq!(names(&hub.get(LEASES).await.ok()), all);
    // The same in pages, of each size.
    for limit in 1..=3 {
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let query = format!("{LEASES}?limit={limit}&continue={token}");
            let page = hub.get(&query).await.ok();
            assert!(names(&page).len() <= limit);
            seen.extend(names(&page));
            match page["metadata"]["continue"].as_str() {
                Some(next) => next.clone_into(&mut token),
                None => break,
            }
        }
        assert_eq!(seen, all, "by {limit}");
    }
    // A watch that begins with what there is begins with the same.
    let watch = format!(
        "{LEASES}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut events = Events::of(&hub, &watch, "application/json").await;
    for name in all {
        assert_eq!(events.brief().await, ("ADDED".to_owned(), name.to_owned()));
    }
    assert_eq!(events.brief().await.0, "BOOKMARK");
    let one = hub
        .get(&format!(
            "{LEASES}?fieldSelector=metadata.name%3Dmanaged-cluster-lease"
        ))
        .await
        .ok();
    assert_eq!(names(&one), ["managed-cluster-lease"]);

    // Whoever updates what is not there makes it, if he may create.
    hub.bind("ann", "edit", "east").await;
    let ann = hub.user("ann", "people");
    let created = ann
        .send(
            "PUT",
            &format!("{LEASES}/new"),
            "application/json",
            lease("new").to_string(),
        )
        .await;
    assert_eq!(created.code, 201);
    let spec = created.ok()["spec"].clone();
    assert_eq!(
        spec,
        json!({ "holderIdentity": "one" }),
        "nobody coordinates"
    );
    hub.create(
        &format!("{RBAC}/namespaces/east/roles"),
        &json!({ "metadata": { "name": "renews" }, "rules": [{ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["update"] }] }),
    )
    .await
    .ok();
    hub.create(
        &format!("{RBAC}/namespaces/east/rolebindings"),
        &json!({
            "metadata": { "name": "renews" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "renews" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob" }],
        }),
    )
    .await
    .ok();
    let bob = hub.user("bob", "people");
    for (name, code) in [("new", 200), ("newer", 403)] {
        let mut body = lease(name);
        if code == 200 {
            let now = hub.get(&format!("{LEASES}/new")).await.ok();
            body["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
        }
        let answer = bob
            .send(
                "PUT",
                &format!("{LEASES}/{name}"),
                "application/json",
                body.to_string(),
            )
            .await;
        assert_eq!(answer.code, code, "{:?}", answer.body);
    }

    // Of many only the stored ones go.
    hub.delete(LEASES).await.ok();
    assert_eq!(
        names(&hub.get(LEASES).await.ok()),
        ["managed-cluster-lease"]
    );
}
