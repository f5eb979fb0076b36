//! Roles, bindings, and what they open.

use serde_json::{Value, json};

use crate::support::{
    BINDINGS, CLUSTERS, CONFIG_MAPS, Hub, NAMESPACES, RBAC, WORKS, cluster, config_map, work,
};

const SET: &str = "cluster.open-cluster-management.io/clusterset";

pub(crate) fn role(name: &str, rules: Value) -> Value {
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": name }, "rules": rules })
}

fn binding(role: &str, user: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "generateName": "b-" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user }],
    })
}

/// Namespaces are the tenants.
#[tokio::test]
async fn a_tenant_sees_and_changes_its_own_namespace_only() {
    let hub = Hub::start().await;
    for name in ["red", "blue"] {
        let namespace = json!({ "metadata": { "name": name } });
        hub.create(NAMESPACES, &namespace).await.ok();
        let maps = format!("/api/v1/namespaces/{name}/configmaps");
        hub.create(&maps, &config_map("m", &json!({ "a": "1" })))
            .await
            .ok();
    }
    hub.bind("ann", "edit", "red").await;
    hub.bind("vera", "view", "red").await;
    let (ann, vera) = (hub.user("ann", "tenants"), hub.user("vera", "tenants"));
    let (red, blue) = (
        "/api/v1/namespaces/red/configmaps",
        "/api/v1/namespaces/blue/configmaps",
    );
    ann.get(red).await.ok();
    vera.get(red).await.ok();
    ann.create(red, &config_map("n", &json!({}))).await.ok();
    let refused = vera.create(red, &config_map("o", &json!({}))).await;
    assert_eq!(
        refused.refusal(403, "Forbidden"),
        r#"configmaps is forbidden: User "vera" cannot create resource "configmaps" in API group "" in the namespace "red""#
    );
    ann.get(blue).await.refusal(403, "Forbidden");
    ann.get("/api/v1/configmaps")
        .await
        .refusal(403, "Forbidden");
    ann.get(CLUSTERS).await.refusal(403, "Forbidden");
    ann.get("/api/v1/namespaces/red/secrets").await.ok();
    vera.get("/api/v1/namespaces/red/secrets")
        .await
        .refusal(403, "Forbidden");
    // An editor does not share what is not his to share.
    let bindings = format!("{RBAC}/namespaces/red/rolebindings");
    ann.create(&bindings, &binding("view", "eve"))
        .await
        .refusal(403, "Forbidden");
}

#[tokio::test]
async fn nobody_grants_what_he_does_not_have() {
    let hub = Hub::start().await;
    hub.create(NAMESPACES, &json!({ "metadata": { "name": "red" } }))
        .await
        .ok();
    hub.bind("ann", "admin", "red").await;
    let ann = hub.user("ann", "tenants");
    let bindings = format!("{RBAC}/namespaces/red/rolebindings");
    ann.create(&bindings, &binding("edit", "bob")).await.ok();
    hub.user("bob", "tenants")
        .get("/api/v1/namespaces/red/configmaps")
        .await
        .ok();
    let words = ann
        .create(&bindings, &binding("cluster-admin", "ann"))
        .await
        .refusal(403, "Forbidden");
    assert!(
        words.ends_with(
            "user \"ann\" (groups=[\"tenants\" \"system:authenticated\"]) is attempting to grant RBAC permissions not \
             currently held:\n{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}\n{NonResourceURLs:[\"*\"], Verbs:[\"*\"]}"
        ),
        "{words}"
    );
    let words = ann
        .create(&bindings, &binding("none", "ann"))
        .await
        .refusal(404, "NotFound");
    assert_eq!(
        words,
        r#"clusterroles.rbac.authorization.k8s.io "none" not found"#
    );
    // A role of his own gives no more either, and neither does changing one that is bound to him.
    let roles = format!("{RBAC}/namespaces/red/roles");
    let mut own = role(
        "own",
        json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] }]),
    );
    own["kind"] = "Role".into();
    ann.create(&roles, &own).await.ok();
    let more = json!({ "rules": [{ "apiGroups": ["koinon.dev"], "resources": ["jointokens"], "verbs": ["create"] }] });
    ann.merge(&format!("{roles}/own"), &more)
        .await
        .refusal(403, "Forbidden");
    // The verbs that allow it, each for its thing.
    hub.create(&format!("{RBAC}/clusterroles"), &role("binder", json!([
        { "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["bind"], "resourceNames": ["cluster-admin"] },
        { "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["escalate"] },
    ])))
    .await
    .ok();
    hub.bind("ann", "binder", "red").await;
    ann.create(&bindings, &binding("cluster-admin", "ann"))
        .await
        .ok();
    ann.merge(&format!("{roles}/own"), &more).await.ok();
    // In one namespace, that is: all of it there, and nothing elsewhere.
    ann.get("/api/v1/namespaces/red/secrets").await.ok();
    ann.get("/api/v1/namespaces/default/secrets")
        .await
        .refusal(403, "Forbidden");
}

#[tokio::test]
async fn roles_and_bindings_are_judged_in_kubernetes_words() {
    let hub = Hub::start().await;
    let (roles, bindings) = (
        format!("{RBAC}/clusterroles"),
        format!("{RBAC}/namespaces/default/rolebindings"),
    );
    for (rules, words) in [
        (
            json!([{ "verbs": [] }]),
            "rules[0].verbs: Required value: verbs must contain at least one value",
        ),
        (
            json!([{ "verbs": ["get"], "resources": ["a"] }]),
            "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
        ),
        (
            json!([{ "verbs": ["get"], "apiGroups": [""] }]),
            "rules[0].resources: Required value: resource rules must supply at least one resource",
        ),
        (
            json!([{ "verbs": ["get"], "apiGroups": [""], "nonResourceURLs": ["/x"] }]),
            "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: rules cannot apply to both regular resources and non-resource URLs",
        ),
    ] {
        let said = hub
            .create(&roles, &role("r", rules))
            .await
            .refusal(422, "Invalid");
        assert!(said.contains(words), "{said}");
    }
    let mut wrong = binding("view", "ann");
    wrong["roleRef"]["kind"] = "User".into();
    wrong["subjects"][0]["kind"] = "Person".into();
    let said = hub.create(&bindings, &wrong).await.refusal(422, "Invalid");
    for words in [
        r#"roleRef.kind: Unsupported value: "User": supported values: "Role", "ClusterRole""#,
        r#"subjects[0].kind: Unsupported value: "Person": supported values: "ServiceAccount", "User", "Group""#,
    ] {
        assert!(said.contains(words), "{said}");
    }
    let made = hub.create(&bindings, &binding("view", "ann")).await.ok();
    let path = format!("{bindings}/{}", made["metadata"]["name"].as_str().unwrap());
    let said = hub
        .merge(&path, &json!({ "roleRef": { "name": "edit" } }))
        .await
        .refusal(422, "Invalid");
    assert!(said.ends_with("cannot change roleRef"), "{said}");
    // What is left out is filled in.
    let mut short = binding("view", "ann");
    for part in ["/roleRef", "/subjects/0"] {
        let part = short.pointer_mut(part).unwrap();
        part.as_object_mut().unwrap().remove("apiGroup");
    }
    let made = hub.create(&bindings, &short).await.ok();
    for group in ["/roleRef/apiGroup", "/subjects/0/apiGroup"] {
        assert_eq!(made.pointer(group).unwrap(), "rbac.authorization.k8s.io");
    }
}

/// OCM's webhooks: joining a set, binding it, accepting a cluster, acting as an executor.
#[tokio::test]
async fn the_rights_that_open_cluster_management_adds_are_asked_for() {
    let hub = Hub::start().await;
    hub.create(NAMESPACES, &json!({ "metadata": { "name": "east" } }))
        .await
        .ok();
    let mut east = cluster("east");
    east["spec"]["hubAcceptsClient"] = false.into();
    hub.create(CLUSTERS, &east).await.ok();
    let all = |groups: &[&str], resources: &[&str]| json!({ "apiGroups": groups, "resources": resources, "verbs": ["create", "patch"] });
    let kinds = [
        all(
            &["cluster.open-cluster-management.io"],
            &["managedclusters", "managedclustersetbindings"],
        ),
        all(
            &["work.open-cluster-management.io"],
            &["manifestworks", "manifestworkreplicasets"],
        ),
    ];
    hub.create(
        &format!("{RBAC}/clusterroles"),
        &role("kinds", json!(kinds)),
    )
    .await
    .ok();
    hub.bind("ann", "kinds", "").await;
    let ann = hub.user("ann", "staff");
    let path = format!("{CLUSTERS}/east");

    let to = |set: &str| json!({ "metadata": { "labels": { SET: set } } });
    let accept = json!({ "spec": { "hubAcceptsClient": true } });
    let bind = json!({ "metadata": { "name": "eu" }, "spec": { "clusterSet": "eu" } });
    let mut acting = work("acting");
    acting["spec"]["executor"] = json!({ "subject": { "type": "ServiceAccount", "serviceAccount": { "namespace": "n", "name": "robot" } } });
    let said = ann.merge(&path, &to("eu")).await.refusal(403, "Forbidden");
    assert_eq!(
        said,
        r#"managedclustersets/join.cluster.open-cluster-management.io "default" is forbidden: user "ann" cannot add/remove a ManagedCluster to/from ManagedClusterSet "default""#
    );
    let said = ann.merge(&path, &accept).await.refusal(403, "Forbidden");
    assert_eq!(
        said,
        r#"managedclusters/accept.cluster.open-cluster-management.io "east" is forbidden: user "ann" cannot update the HubAcceptsClient field"#
    );
    let said = ann.create(BINDINGS, &bind).await.refusal(403, "Forbidden");
    assert!(
        said.ends_with(r#"user "ann" is not allowed to bind cluster set "eu""#),
        "{said}"
    );
    let said = ann.create(WORKS, &acting).await.refusal(400, "BadRequest");
    assert_eq!(
        said,
        "user ann cannot manipulate the Manifestwork with executor n/robot in namespace default"
    );
    ann.merge(
        &path,
        &json!({ "metadata": { "labels": { "env": "prod" } } }),
    )
    .await
    .ok();

    let more = json!([
        { "apiGroups": ["cluster.open-cluster-management.io"], "resources": ["managedclustersets/join", "managedclustersets/bind"],
          "verbs": ["create"], "resourceNames": ["default", "eu"] },
        { "apiGroups": ["register.open-cluster-management.io"], "resources": ["managedclusters/accept"], "verbs": ["update"] },
        { "apiGroups": ["work.open-cluster-management.io"], "resources": ["manifestworks"], "verbs": ["execute-as"],
          "resourceNames": ["system:serviceaccount:n:robot"] },
    ]);
    hub.create(&format!("{RBAC}/clusterroles"), &role("more", more))
        .await
        .ok();
    hub.bind("ann", "more", "").await;
    ann.merge(&path, &to("eu")).await.ok();
    ann.merge(&path, &to("us")).await.refusal(403, "Forbidden");
    ann.merge(&path, &accept).await.ok();
    ann.create(BINDINGS, &bind).await.ok();
    ann.create(WORKS, &acting).await.ok();
    // What does not change is not asked for again, and who takes a right away needs none.
    hub.delete(&format!("{RBAC}/clusterroles/more")).await.ok();
    let notes = json!({ "metadata": { "annotations": { "a": "b" } } });
    ann.merge(&path, &notes).await.ok();
    ann.merge(&format!("{WORKS}/acting"), &notes).await.ok();
    ann.merge(&path, &json!({ "spec": { "hubAcceptsClient": false } }))
        .await
        .ok();
}

#[tokio::test]
async fn rights_on_a_set_are_rights_on_its_clusters() {
    let hub = Hub::start().await;
    for (name, set) in [("east", "eu"), ("west", "us")] {
        hub.create(NAMESPACES, &json!({ "metadata": { "name": name } }))
            .await
            .ok();
        let mut cluster = cluster(name);
        cluster["metadata"]["labels"] = json!({ SET: set });
        hub.create(CLUSTERS, &cluster).await.ok();
    }
    let rules = json!([{
        "apiGroups": ["cluster.open-cluster-management.io", "work.open-cluster-management.io"], "resourceNames": ["eu"], "verbs": ["get", "list", "create"],
        "resources": ["managedclustersets/clusters", "managedclustersets/works"],
    }]);
    hub.create(&format!("{RBAC}/clusterroles"), &role("eu", rules))
        .await
        .ok();
    hub.bind("ann", "eu", "").await;
    let ann = hub.user("ann", "staff");
    ann.get(&format!("{CLUSTERS}/east")).await.ok();
    ann.get(&format!("{CLUSTERS}/west"))
        .await
        .refusal(403, "Forbidden");
    ann.get(CLUSTERS).await.refusal(403, "Forbidden");
    ann.get(&format!("{CLUSTERS}?labelSelector={SET}!%3Dus"))
        .await
        .refusal(403, "Forbidden");
    let list = ann
        .get(&format!("{CLUSTERS}?labelSelector={SET}%3Deu"))
        .await
        .ok();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let works = |cluster: &str| {
        format!("/apis/work.open-cluster-management.io/v1/namespaces/{cluster}/manifestworks")
    };
    ann.create(&works("east"), &work("w")).await.ok();
    ann.create(&works("west"), &work("w"))
        .await
        .refusal(403, "Forbidden");
    ann.delete(&format!("{CLUSTERS}/east"))
        .await
        .refusal(403, "Forbidden");
    // A cluster that leaves the set leaves her sight.
    hub.merge(
        &format!("{CLUSTERS}/east"),
        &json!({ "metadata": { "labels": { SET: "us" } } }),
    )
    .await
    .ok();
    ann.get(&format!("{CLUSTERS}/east"))
        .await
        .refusal(403, "Forbidden");
}

#[tokio::test]
async fn reviews_say_what_the_authoriser_does() {
    let hub = Hub::start().await;
    hub.bind("ann", "view", "default").await;
    let ann = hub.user("ann", "staff");
    let reviews = "/apis/authorization.k8s.io/v1";
    let attributes = json!({ "verb": "get", "resource": "configmaps", "namespace": "default" });
    let own = json!({ "spec": { "resourceAttributes": attributes } });
    let status = ann
        .create(&format!("{reviews}/selfsubjectaccessreviews"), &own)
        .await
        .ok()["status"]
        .clone();
    assert_eq!(status["allowed"], true);
    let reason = status["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("RBAC: allowed by RoleBinding \"test-")
            && reason.ends_with("/default\" of ClusterRole \"view\" to User \"ann\""),
        "{reason}"
    );
    let rules = ann
        .create(
            &format!("{reviews}/selfsubjectrulesreviews"),
            &json!({ "spec": { "namespace": "default" } }),
        )
        .await
        .ok();
    let rules = rules["status"]["resourceRules"].as_array().unwrap();
    assert!(rules.iter().any(|rule| {
        rule["resources"]
            .as_array()
            .unwrap()
            .contains(&"configmaps".into())
    }));
    // About others only those may ask who were told so.
    let other =
        json!({ "spec": { "user": "ann", "groups": ["staff"], "resourceAttributes": attributes } });
    let path = format!("{reviews}/subjectaccessreviews");
    ann.create(&path, &other).await.refusal(403, "Forbidden");
    assert_eq!(
        hub.create(&path, &other).await.ok()["status"]["allowed"],
        true
    );
    let nobody = json!({ "spec": { "resourceAttributes": attributes } });
    let said = hub.create(&path, &nobody).await.refusal(422, "Invalid");
    assert!(
        said.contains("at least one of user or group must be specified"),
        "{said}"
    );
    let local =
        |namespace: &str| format!("{reviews}/namespaces/{namespace}/localsubjectaccessreviews");
    assert_eq!(
        hub.create(&local("default"), &other).await.ok()["status"]["allowed"],
        true
    );
    hub.create(&local("red"), &other)
        .await
        .refusal(422, "Invalid");
    // Nobody becomes an agent by being called like one.
    let agent = json!({ "spec": {
        "user": "system:open-cluster-management:east:a1", "groups": ["system:open-cluster-management:managed-clusters"],
        "resourceAttributes": { "verb": "get", "group": "cluster.open-cluster-management.io", "resource": "managedclusters", "name": "east" },
    } });
    assert_eq!(
        hub.create(&path, &agent).await.ok()["status"]["allowed"],
        false
    );
}

#[tokio::test]
async fn default_roles_come_back_and_what_was_added_stays() {
    let hub = Hub::start().await;
    let path = format!("{RBAC}/clusterroles/system:discovery");
    hub.get(&path).await.ok();
    hub.merge(
        &path,
        &json!({ "rules": [{ "nonResourceURLs": ["/extra"], "verbs": ["get"] }] }),
    )
    .await
    .ok();
    hub.delete(&format!("{RBAC}/clusterrolebindings/system:discovery"))
        .await
        .ok();
    let ann = hub.user("ann", "staff");
    ann.get("/apis").await.refusal(403, "Forbidden");
    hub.registry.seed().await.unwrap();
    ann.get("/apis").await.ok();
    let rules = hub.get(&path).await.ok()["rules"].clone();
    assert_eq!(rules[0]["nonResourceURLs"][0], "/extra");
    assert_eq!(rules.as_array().unwrap().len(), 2);
    let before = hub.registry.store().revision();
    hub.registry.seed().await.unwrap();
    assert_eq!(hub.registry.store().revision(), before);
    hub.get(CONFIG_MAPS).await.ok();
}

/// The garbage collector deletes what has lost its owners: to name an owner that is not there is to delete.
#[tokio::test]
async fn who_may_not_delete_names_no_owners() {
    let hub = Hub::start().await;
    let patcher = role(
        "patcher",
        json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch", "update"] }]),
    );
    hub.create(&format!("{RBAC}/clusterroles"), &patcher)
        .await
        .ok();
    hub.bind("pat", "patcher", "default").await;
    hub.bind("ed", "edit", "default").await;
    let (pat, ed) = (hub.user("pat", "staff"), hub.user("ed", "staff"));
    hub.create(CONFIG_MAPS, &config_map("m", &json!({})))
        .await
        .ok();
    let one = format!("{CONFIG_MAPS}/m");
    let owned = |uid: &str, name: &str| {
        let owner = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid });
        json!({ "metadata": { "ownerReferences": [owner] } })
    };
    let words = pat
        .merge(&one, &owned("u1", "gone"))
        .await
        .refusal(403, "Forbidden");
    assert!(
        words.contains("cannot set an ownerRef on a resource you can't delete"),
        "{words}"
    );
    ed.merge(&one, &owned("u1", "gone")).await.ok();
    // Neither may he turn a living owner into a dead one; all else is his to change, and so is to let go.
    pat.merge(&one, &owned("u1", "other"))
        .await
        .refusal(403, "Forbidden");
    pat.merge(&one, &json!({ "data": { "a": "1" } })).await.ok();
    pat.merge(&one, &json!({ "metadata": { "ownerReferences": null } }))
        .await
        .ok();
}
