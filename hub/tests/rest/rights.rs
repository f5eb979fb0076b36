//! Who may do what, over every route and verb.

use serde_json::json;

use crate::support::{CLUSTERS, Caller, Hub, NAMESPACES, cluster, work};

const JSON: &str = "application/json";

/// P6: an agent's certificate opens its own cluster and its own works, read-only, and nothing else of any kind.
#[tokio::test]
async fn an_agent_is_confined_on_every_route() {
    let hub = Hub::start().await;
    for name in ["east", "west"] {
        hub.create(NAMESPACES, &json!({ "metadata": { "name": name } }))
            .await
            .ok();
        hub.create(CLUSTERS, &cluster(name)).await.ok();
        let works =
            format!("/apis/work.open-cluster-management.io/v1/namespaces/{name}/manifestworks");
        hub.create(&works, &work("w")).await.ok();
    }
    let east = hub.agent("east");
    let works = "/apis/work.open-cluster-management.io/v1/namespaces/east/manifestworks";
    let open = [
        format!("{CLUSTERS}/east"),
        format!("{CLUSTERS}/east/status"),
        format!("{CLUSTERS}?fieldSelector=metadata.name%3Deast"),
        works.to_owned(),
        format!("{works}/w"),
        format!("{works}/w/status"),
    ];
    for path in &open {
        let answer = east.send("GET", path, "", "").await;
        assert_eq!(answer.code, 200, "{path}: {}", answer.body);
    }
    let list = east.send("GET", &open[2], "", "").await.ok();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);

    let mut routes = Vec::new();
    for kind in hub.registry.kinds().iter() {
        let info = &kind.info;
        let root = if info.group.is_empty() {
            format!("/api/{}", info.version)
        } else {
            format!("/apis/{}/{}", info.group, info.version)
        };
        routes.push(format!("{root}/{}", info.plural));
        for namespace in ["east", "west"] {
            let inside = if info.namespaced {
                format!("{root}/namespaces/{namespace}")
            } else {
                root.clone()
            };
            routes.extend([
                format!("{inside}/{}", info.plural),
                format!("{inside}/{}/{namespace}", info.plural),
                format!("{inside}/{}/w/status", info.plural),
            ]);
        }
    }
    for path in routes {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let own = method == "GET" && (path.starts_with(&open[0]) || path.starts_with(works));
            if !own {
                let answer = east.send(method, &path, JSON, "{}").await;
                answer.refusal(403, "Forbidden");
            }
        }
    }
    let message = east
        .send("GET", CLUSTERS, "", "")
        .await
        .refusal(403, "Forbidden");
    assert_eq!(
        message,
        "managedclusters.cluster.open-cluster-management.io is forbidden: User \
         \"system:open-cluster-management:east:a1\" cannot list resource \"managedclusters\" in API group \
         \"cluster.open-cluster-management.io\" at the cluster scope"
    );
}

/// A certificate is of one cluster, not of a name.
#[tokio::test]
async fn a_former_clusters_certificate_opens_nothing_of_the_present_one() {
    let hub = Hub::start().await;
    let named = json!({ "metadata": { "name": "east" } });
    hub.create(NAMESPACES, &named).await.ok();
    let own = format!("{CLUSTERS}/east");
    let works = "/apis/work.open-cluster-management.io/v1/namespaces/east/manifestworks";
    hub.create(CLUSTERS, &cluster("east")).await.ok();
    let former = hub.agent("east");
    for path in [&own, works] {
        former.get(path).await.ok();
    }
    hub.send("DELETE", &own, "", "").await.ok();
    for path in [&own, works] {
        former.get(path).await.refusal(403, "Forbidden");
    }
    hub.create(CLUSTERS, &cluster("east")).await.ok();
    hub.create(works, &work("w")).await.ok();
    let single = format!("{works}/w");
    for path in [&own, works, &single] {
        former.get(path).await.refusal(403, "Forbidden");
        hub.agent("east").get(path).await.ok();
    }
    former.get("/version").await.ok();
}

#[tokio::test]
async fn nobody_gets_health_and_version() {
    let hub = Hub::start().await;
    let nobody = hub.nobody();
    for path in ["/livez", "/readyz", "/healthz", "/version"] {
        assert_eq!(nobody.get(path).await.code, 200, "{path}");
    }
    for path in ["/", "/api", "/apis", "/openapi/v3", CLUSTERS, "/nothing"] {
        nobody.get(path).await.refusal(403, "Forbidden");
    }
    let words = nobody.get("/apis").await.refusal(403, "Forbidden");
    assert_eq!(
        words,
        r#"forbidden: User "system:anonymous" cannot get path "/apis""#
    );
    nobody
        .create(CLUSTERS, &cluster("x"))
        .await
        .refusal(403, "Forbidden");
}

#[tokio::test]
async fn everybody_may_ask_about_himself() {
    let hub = Hub::start().await;
    // Of a cluster that is let in; another one's agent has no works to list.
    hub.create(CLUSTERS, &cluster("east")).await.ok();
    let review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let asked = |caller: Caller| async move { caller.send("POST", review, JSON, "{}").await.ok() };
    assert_eq!(
        asked(hub.admin()).await["status"]["userInfo"]["username"],
        "koinon-admin"
    );
    let agent = asked(hub.agent("east")).await;
    assert_eq!(
        agent["status"]["userInfo"]["groups"][1],
        "system:open-cluster-management:east"
    );

    let may = |caller: Caller, verb: &'static str| async move {
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let attributes = json!({ "verb": verb, "group": "work.open-cluster-management.io", "resource": "manifestworks", "namespace": "east" });
        let body = json!({ "spec": { "resourceAttributes": attributes } });
        caller.send("POST", path, JSON, body.to_string()).await.ok()["status"]["allowed"]
            .as_bool()
            .unwrap()
    };
    assert!(may(hub.admin(), "delete").await);
    assert!(may(hub.agent("east"), "list").await);
    assert!(!may(hub.agent("east"), "delete").await);
    assert!(!may(hub.agent("west"), "list").await);
}

/// Rights are looked up for each request: what is taken is gone for the very next one, and what is given is there.
#[tokio::test]
async fn a_right_ends_with_its_binding_and_begins_with_it() {
    const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/red/rolebindings";
    const PLACEMENTS: &str =
        "/apis/cluster.open-cluster-management.io/v1beta1/namespaces/red/placements";
    let hub = Hub::start().await;
    let namespace = json!({ "metadata": { "name": "red" } });
    hub.create(NAMESPACES, &namespace).await.ok();
    let ann = hub.user("ann", "staff");
    for round in 0..5 {
        assert_eq!(ann.get(PLACEMENTS).await.code, 403, "round {round}");
        hub.bind("ann", "view", "red").await;
        assert_eq!(ann.get(PLACEMENTS).await.code, 200, "round {round}");
        let all = hub.get(BINDINGS).await.ok();
        let name = all["items"][0]["metadata"]["name"].as_str().unwrap();
        hub.delete(&format!("{BINDINGS}/{name}")).await.ok();
    }
}
