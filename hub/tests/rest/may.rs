//! What somebody is told that he may do.

use serde_json::json;

use crate::support::{CLUSTERS, Caller, Hub, NAMESPACES, PATIENCE, RBAC, cluster};

/// `kubectl auth can-i --list`: every rule that is shown holds, and what rights on a set mean is among them.
#[tokio::test]
async fn what_is_shown_is_what_is_allowed() {
    let hub = Hub::start().await;
    for name in ["east", "west"] {
        let namespace = json!({ "metadata": { "name": name } });
        hub.create(NAMESPACES, &namespace).await.ok();
    }
    let mut east = cluster("east");
    east["metadata"]["labels"] = json!({ "cluster.open-cluster-management.io/clusterset": "eu" });
    hub.create(CLUSTERS, &east).await.ok();
    hub.create(CLUSTERS, &cluster("west")).await.ok();
    let role = json!({
        "metadata": { "name": "eu-works" },
        "rules": [{
            "apiGroups": ["work.open-cluster-management.io"], "resources": ["managedclustersets/works"],
            "resourceNames": ["eu"], "verbs": ["get", "list", "create"],
        }],
    });
    hub.create(&format!("{RBAC}/clusterroles"), &role)
        .await
        .ok();
    hub.bind("ann", "eu-works", "").await;
    let shown = |caller: Caller, namespace: &'static str| async move {
        let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
        let asked = json!({ "spec": { "namespace": namespace } });
        let answer = caller.create(path, &asked).await.ok();
        assert_eq!(answer["status"]["incomplete"], false, "{answer}");
        let rules = answer["status"]["resourceRules"]
            .as_array()
            .unwrap()
            .clone();
        let works = rules
            .into_iter()
            .find(|rule| rule["resources"][0] == "manifestworks");
        works.map(|rule| rule["verbs"].to_string())
    };
    let ann = || hub.user("ann", "staff");
    assert_eq!(
        shown(ann(), "east").await.as_deref(),
        Some(r#"["get","list","create"]"#)
    );
    assert_eq!(shown(ann(), "west").await, None);
    let works = |name: &str| {
        format!("/apis/work.open-cluster-management.io/v1/namespaces/{name}/manifestworks")
    };
    ann().get(&works("east")).await.ok();
    ann().get(&works("west")).await.refusal(403, "Forbidden");

    // An agent sees what its certificate opens.
    let agent = || hub.agent("east");
    assert_eq!(
        shown(agent(), "east").await.as_deref(),
        Some(r#"["get","list","watch"]"#)
    );
    assert_eq!(shown(agent(), "west").await, None);

    // A watch that rests on the set ends when the cluster leaves it.
    let request = http::Request::get(format!("{}?watch=1", works("east")));
    let watch = ann()
        .raw(request.body(axum::body::Body::empty()).unwrap())
        .await;
    assert_eq!(watch.status(), 403, "watching was not granted");
    let all = json!({ "rules": [{
        "apiGroups": ["work.open-cluster-management.io"], "resources": ["managedclustersets/works"],
        "resourceNames": ["eu"], "verbs": ["get", "list", "watch"],
    }] });
    hub.merge(&format!("{RBAC}/clusterroles/eu-works"), &all)
        .await
        .ok();
    let request = http::Request::get(format!("{}?watch=1", works("east")));
    let watch = ann()
        .raw(request.body(axum::body::Body::empty()).unwrap())
        .await;
    assert_eq!(watch.status(), 200);
    let moved = json!({ "metadata": { "labels": { "cluster.open-cluster-management.io/clusterset": "us" } } });
    hub.merge(&format!("{CLUSTERS}/east"), &moved).await.ok();
    let rest = axum::body::to_bytes(watch.into_body(), 1 << 20);
    let rest = tokio::time::timeout(PATIENCE, rest)
        .await
        .expect("it ends")
        .unwrap();
    assert!(
        String::from_utf8_lossy(&rest).contains("cannot watch"),
        "{rest:?}"
    );
}
