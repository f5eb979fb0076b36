//! What the kinds ask beyond their schemas: OCM's webhooks, join tokens, secrets.

use koinon_api::token::TokenText;
use serde_json::{Value, json};

use crate::support::{BINDINGS, CLUSTERS, Hub, NAMESPACES, SETS, TOKENS, WORKS, cluster, work};

fn unreachable() -> Value {
    json!({ "key": "cluster.open-cluster-management.io/unreachable", "effect": "NoSelect" })
}

/// A controller would say so a moment later, and placements choose it until then.
#[tokio::test]
async fn a_cluster_is_unreachable_from_its_beginning() {
    let hub = Hub::start().await;
    let mut named = cluster("west");
    named["spec"]["taints"] = json!([unreachable()]);
    let mut bare = cluster("south");
    bare["spec"] = json!({});
    for object in [cluster("east"), named, bare] {
        let created = hub.create(CLUSTERS, &object).await.ok();
        let mut expected = unreachable();
        expected["timeAdded"] = created["metadata"]["creationTimestamp"].clone();
        assert_eq!(created["spec"]["taints"], json!([expected]));
    }
}

#[tokio::test]
async fn the_hub_says_when_a_taint_was_added() {
    let hub = Hub::start().await;
    let mut object = cluster("east");
    object["spec"]["taints"] =
        json!([{ "key": "a", "effect": "NoSelect", "timeAdded": "2001-01-01T00:00:00Z" }]);
    let created = hub.create(CLUSTERS, &object).await.ok();
    let added = created["spec"]["taints"][0]["timeAdded"].clone();
    assert_eq!(added, created["metadata"]["creationTimestamp"]);
    assert_eq!(
        created["metadata"]["labels"]["cluster.open-cluster-management.io/clusterset"],
        "default"
    );

    let path = format!("{CLUSTERS}/east");
    let taints = |taints: Value| json!({ "spec": { "taints": taints } });
    let same = hub
        .merge(
            &path,
            &taints(json!([{ "key": "a", "effect": "NoSelect" }, unreachable()])),
        )
        .await
        .ok();
    assert_eq!(
        same["spec"]["taints"][0]["timeAdded"], added,
        "an unchanged taint keeps its time"
    );
    assert_eq!(same["metadata"]["generation"], 1);
    let message = hub
        .merge(&path, &taints(json!([{ "key": "b", "effect": "NoSelect", "timeAdded": added }, { "key": "a", "effect": "NoSelectIfNew", "timeAdded": added }])))
        .await
        .refusal(400, "BadRequest");
    assert_eq!(
        message,
        "It is not allowed to set TimeAdded of Taint \"b,a\"."
    );
    let changed = hub
        .merge(
            &path,
            &taints(json!([{ "key": "a", "effect": "NoSelectIfNew" }])),
        )
        .await
        .ok();
    assert!(changed["spec"]["taints"][0]["timeAdded"].is_string());
}

/// Else whoever administers one set labels his cluster into another, whose placements send it their works.
#[tokio::test]
async fn a_cluster_is_labelled_into_a_set_by_those_who_may_join_it() {
    let hub = Hub::start().await;
    let by_labels = |selector: Value| json!({ "clusterSelector": { "selectorType": "LabelSelector", "labelSelector": selector } });
    for (name, spec) in [
        ("eu", json!({})),
        (
            "prod",
            by_labels(json!({ "matchLabels": { "env": "prod" } })),
        ),
        (
            "not-test",
            by_labels(
                json!({ "matchExpressions": [{ "key": "env", "operator": "NotIn", "values": ["test"] }] }),
            ),
        ),
        ("everything", by_labels(json!({}))),
    ] {
        let set = json!({ "metadata": { "name": name }, "spec": spec });
        hub.create(SETS, &set).await.ok();
    }
    let mut east = cluster("east");
    let set = "cluster.open-cluster-management.io/clusterset";
    east["metadata"]["labels"] = json!({ set: "eu" });
    hub.create(CLUSTERS, &east).await.ok();
    let group = "cluster.open-cluster-management.io";
    let rules = |sets: &[&str]| {
        json!([
            { "apiGroups": [group], "resources": ["managedclusters"], "verbs": ["*"] },
            { "apiGroups": [group], "resources": ["managedclustersets/join"], "verbs": ["create"], "resourceNames": sets },
        ])
    };
    for (user, sets) in [("eve", &["eu"][..]), ("pat", &["eu", "prod"])] {
        let role = super::access::role(&format!("of-{user}"), rules(sets));
        let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
        hub.create(roles, &role).await.ok();
        hub.bind(user, &format!("of-{user}"), "").await;
    }
    let (eve, pat) = (hub.user("eve", "eu-team"), hub.user("pat", "eu-team"));
    let label = |env: &str| json!({ "metadata": { "labels": { "env": env } } });
    let path = format!("{CLUSTERS}/east");
    eve.merge(&path, &label("dev")).await.ok();
    let message = eve
        .merge(&path, &label("prod"))
        .await
        .refusal(403, "Forbidden");
    assert!(
        message.contains("to/from ManagedClusterSet \"prod\""),
        "{message}"
    );
    pat.merge(&path, &label("prod")).await.ok();
    let mut north = cluster("north");
    north["metadata"]["labels"] = json!({ set: "eu", "env": "prod" });
    north["spec"]["hubAcceptsClient"] = false.into();
    eve.create(CLUSTERS, &north).await.refusal(403, "Forbidden");
    pat.create(CLUSTERS, &north).await.ok();
    // Leaving is not entering; coming back is.
    eve.merge(&path, &label("test")).await.ok();
    eve.merge(&path, &label("dev"))
        .await
        .refusal(403, "Forbidden");
}

#[tokio::test]
async fn a_cluster_is_not_accepted_into_a_terminating_namespace() {
    let hub = Hub::start().await;
    hub.create(NAMESPACES, &json!({ "metadata": { "name": "east" } }))
        .await
        .ok();
    hub.delete(&format!("{NAMESPACES}/east")).await.ok();
    hub.create(CLUSTERS, &cluster("east"))
        .await
        .refusal(403, "Forbidden");
    hub.create(
        CLUSTERS,
        &json!({ "metadata": { "name": "east" }, "spec": {} }),
    )
    .await
    .ok();
    let accept = json!({ "spec": { "hubAcceptsClient": true } });
    hub.merge(&format!("{CLUSTERS}/east"), &accept)
        .await
        .refusal(403, "Forbidden");
}

#[tokio::test]
async fn a_binding_is_named_like_its_set() {
    let hub = Hub::start().await;
    let binding = |name: &str, set: &str| json!({ "metadata": { "name": name }, "spec": { "clusterSet": set } });
    let message = hub
        .create(BINDINGS, &binding("a", "b"))
        .await
        .refusal(400, "BadRequest");
    assert_eq!(
        message,
        "The ManagedClusterSetBinding must have the same name as the target ManagedClusterSet"
    );
    hub.create(BINDINGS, &binding("a", "a")).await.ok();
}

#[tokio::test]
async fn a_sets_selector_must_be_one() {
    let hub = Hub::start().await;
    let set = |selector: Value| json!({ "metadata": { "name": "s" }, "spec": { "clusterSelector": { "selectorType": "LabelSelector", "labelSelector": selector } } });
    let bad = set(json!({ "matchExpressions": [{ "key": "a", "operator": "Near" }] }));
    let message = hub.create(SETS, &bad).await.refusal(422, "Invalid");
    assert!(
        message.contains("spec.clusterSelector.labelSelector.matchExpressions[0].operator"),
        "{message}"
    );
    hub.create(SETS, &set(json!({}))).await.ok();
}

#[tokio::test]
async fn a_works_manifests_can_be_applied() {
    let hub = Hub::start().await;
    let with = |manifests: Value| {
        let mut object = work("w");
        object["spec"]["workload"]["manifests"] = manifests;
        object
    };
    let manifest = work("w")["spec"]["workload"]["manifests"][0].clone();
    let mut nameless = manifest.clone();
    nameless["metadata"] = json!({});
    let mut generated = manifest.clone();
    generated["metadata"] = json!({ "generateName": "x" });
    for (manifests, said) in [
        (json!([]), "manifests should not be empty"),
        (json!([nameless]), "name must be set in manifest"),
        (
            json!([generated]),
            "generateName must not be set in manifest",
        ),
        (
            json!([manifest, manifest]),
            "duplicate manifest for resource n/c with resource type v1.ConfigMap",
        ),
        (
            json!([{ "metadata": { "name": "x" } }]),
            "apiVersion must be set in manifest",
        ),
    ] {
        assert_eq!(
            hub.create(WORKS, &with(manifests))
                .await
                .refusal(400, "BadRequest"),
            said
        );
    }
    hub.create(WORKS, &work("w")).await.ok();
    let empty = json!({ "spec": { "workload": { "manifests": [] } } });
    hub.merge(&format!("{WORKS}/w"), &empty)
        .await
        .refusal(400, "BadRequest");
}

#[tokio::test]
async fn a_token_shows_its_text_once_and_is_stored_hashed() {
    let hub = Hub::start().await;
    let token = json!({ "metadata": { "generateName": "east-" }, "spec": { "expiresAt": "2999-01-01T00:00:00Z", "uses": 3 } });
    let created = hub.create(TOKENS, &token).await.ok();
    let name = created["metadata"]["name"].as_str().unwrap();
    let text: TokenText = created["status"]["token"]
        .as_str()
        .unwrap()
        .parse()
        .expect("the text is a token");
    assert_eq!((text.name.as_str(), text.ca_sha256), (name, [7; 32]));
    let path = format!("{TOKENS}/{name}");
    let read = hub.get(&path).await.ok();
    assert!(read["status"].get("token").is_none());
    assert_eq!(read["status"]["tokenHash"], text.secret_hash());
    assert_eq!(read["status"]["usesLeft"], 3);
    assert!(
        !hub.get(TOKENS)
            .await
            .ok()
            .to_string()
            .contains(&text.expose())
    );
    let stored = hub
        .merge(
            &format!("{path}/status"),
            &json!({ "status": { "token": "x" } }),
        )
        .await;
    stored.refusal(403, "Forbidden");
    hub.merge(&path, &json!({ "spec": { "autoAccept": true } }))
        .await
        .refusal(422, "Invalid");
    hub.merge(
        &path,
        &json!({ "spec": { "expiresAt": "2998-01-01T00:00:00Z" } }),
    )
    .await
    .ok();
}

#[tokio::test]
async fn secrets_take_text_and_keep_their_type() {
    let hub = Hub::start().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let created = hub
        .create(
            secrets,
            &json!({ "metadata": { "name": "s" }, "stringData": { "k": "v" } }),
        )
        .await
        .ok();
    assert_eq!(
        (&created["data"]["k"], &created["type"]),
        (&json!("dg=="), &json!("Opaque"))
    );
    assert!(created.get("stringData").is_none());
    let path = format!("{secrets}/s");
    hub.merge(&path, &json!({ "type": "other" }))
        .await
        .refusal(422, "Invalid");
    hub.merge(&path, &json!({ "data": { "k": "not base64!" } }))
        .await
        .refusal(422, "Invalid");
    hub.merge(&path, &json!({ "immutable": true })).await.ok();
    hub.merge(&path, &json!({ "stringData": { "k": "w" } }))
        .await
        .refusal(422, "Invalid");
}

/// The CEL rule of OCM's own schema.
#[tokio::test]
async fn rules_in_schemas_are_judged() {
    let hub = Hub::start().await;
    let mut work = work("ruled");
    let config = |condition: &str| {
        json!([{
            "resourceIdentifier": { "group": "", "resource": "configmaps", "name": "a", "namespace": "default" },
            "conditionRules": [{ "type": "CEL", "condition": condition, "celExpressions": ["true"] }],
        }])
    };
    work["spec"]["manifestConfigs"] = config("");
    let message = hub.create(WORKS, &work).await.refusal(422, "Invalid");
    assert!(
        message.contains(
            "spec.manifestConfigs[0].conditionRules[0]: Invalid value: \"object\": Condition is required for CEL rules"
        ),
        "{message}"
    );
    work["spec"]["manifestConfigs"] = config("Ready");
    hub.create(WORKS, &work).await.ok();
    hub.merge(
        &format!("{WORKS}/ruled"),
        &json!({ "spec": { "manifestConfigs": config("") } }),
    )
    .await
    .refusal(422, "Invalid");
}
