//! Ways around the rules of `access`, each of which was open once.

use koinon_api::{names::TokenName, token::TokenText};
use serde_json::json;

use crate::{
    access::role,
    support::{CONFIG_MAPS, Hub, NAMESPACES, RBAC, SETS, TOKENS},
};

/// A namespace holds no namespaces, whatever rights one has in it.
#[tokio::test]
async fn rights_in_a_namespace_are_none_on_the_others() {
    let hub = Hub::start().await;
    for name in ["red", "blue"] {
        let namespace = json!({ "metadata": { "name": name } });
        hub.create(NAMESPACES, &namespace).await.ok();
    }
    hub.bind("vera", "view", "red").await;
    hub.bind("ann", "cluster-admin", "red").await;
    let inside = format!("{NAMESPACES}/red/namespaces");
    for user in ["vera", "ann"] {
        let caller = hub.user(user, "staff");
        for path in [
            inside.clone(),
            format!("{inside}?watch=1"),
            format!("{inside}?fieldSelector=metadata.name%3Dblue"),
        ] {
            let code = caller.get(&path).await.code;
            assert!(matches!(code, 403 | 404), "{user} {path}: {code}");
        }
        let new = json!({ "metadata": { "name": "new" } });
        let made = caller.create(&inside, &new).await;
        assert!(matches!(made.code, 403 | 404));
        assert!(matches!(caller.delete(&inside).await.code, 403 | 404));
        caller.get(&format!("{NAMESPACES}/red")).await.ok();
        let other = caller.get(&format!("{NAMESPACES}/blue")).await;
        other.refusal(403, "Forbidden");
    }
    hub.get(&format!("{NAMESPACES}/blue")).await.ok();
    let all = hub.delete(NAMESPACES).await;
    all.refusal(405, "MethodNotAllowed");
}

/// Changing what a set selects, and accepting by token, take the rights that doing it one by one takes.
#[tokio::test]
async fn there_is_no_way_round_join_and_accept() {
    let hub = Hub::start().await;
    let rules = json!([
        { "apiGroups": ["cluster.open-cluster-management.io"], "resources": ["managedclustersets"], "verbs": ["*"] },
        { "apiGroups": ["koinon.dev"], "resources": ["jointokens", "jointokens/status"], "verbs": ["*"] },
    ]);
    let roles = format!("{RBAC}/clusterroles");
    hub.create(&roles, &role("sets", rules)).await.ok();
    hub.bind("ann", "sets", "").await;
    let ann = hub.user("ann", "staff");
    let by_label = json!({ "metadata": { "name": "eu" } });
    ann.create(SETS, &by_label).await.ok();
    let mut all = json!({ "spec": { "clusterSelector": { "selectorType": "LabelSelector", "labelSelector": {} } } });
    let changed = ann.merge(&format!("{SETS}/eu"), &all).await;
    changed.refusal(403, "Forbidden");
    all["metadata"] = json!({ "name": "all" });
    ann.create(SETS, &all).await.refusal(403, "Forbidden");
    hub.create(SETS, &all).await.ok();
    let token = |name: &str, auto: bool| json!({ "metadata": { "name": name }, "spec": { "autoAccept": auto, "expiresAt": "2999-01-01T00:00:00Z" } });
    let auto = ann.create(TOKENS, &token("a", true)).await;
    auto.refusal(403, "Forbidden");
    ann.create(TOKENS, &token("b", false)).await.ok();
    hub.create(TOKENS, &token("c", true)).await.ok();
    // Nor does a token of somebody else's become one's own, or last longer than he said.
    let theirs = format!("{TOKENS}/c");
    let hash = TokenText::new(TokenName::parse("c").unwrap(), [1; 32], [7; 32]).secret_hash();
    let status = json!({ "status": { "tokenHash": hash, "usesLeft": 99 } });
    let taken = ann.merge(&format!("{theirs}/status"), &status).await;
    taken.refusal(403, "Forbidden");
    let longer = json!({ "spec": { "expiresAt": "2999-02-01T00:00:00Z" } });
    ann.merge(&theirs, &longer).await.refusal(403, "Forbidden");
    ann.merge(&format!("{TOKENS}/b"), &longer).await.ok();
    hub.merge(&theirs, &longer).await.ok();
    let described = json!({ "spec": { "description": "for the east" } });
    ann.merge(&theirs, &described).await.ok();
}

#[tokio::test]
async fn what_is_taken_back_is_gone_at_once() {
    let hub = Hub::start().await;
    hub.bind("ann", "view", "default").await;
    let ann = hub.user("ann", "staff");
    ann.get(CONFIG_MAPS).await.ok();
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    hub.delete(&bindings).await.ok();
    ann.get(CONFIG_MAPS).await.refusal(403, "Forbidden");
}
