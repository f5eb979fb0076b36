//! What one user may take of what all share.

use http::Request;
use koinon_hub::rest::Limits;
use serde_json::json;

use axum::body::Body;

use crate::support::{CONFIG_MAPS, Hub, config_map, read};

/// Names to act as can be made up: they all come out of the share of who made them up.
#[tokio::test]
async fn a_storm_under_many_names_is_one_users_storm() {
    let limits = Limits {
        watches_per_user: 3,
        watches: 8,
        ..Limits::default()
    };
    let hub = Hub::start().await.with_limits(limits);
    let role = super::access::role(
        "impersonator",
        json!([{ "apiGroups": [""], "resources": ["users", "serviceaccounts"], "verbs": ["impersonate"] }]),
    );
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    hub.create(roles, &role).await.ok();
    hub.bind("mallory", "impersonator", "").await;
    let accounts: Vec<String> = (0..8)
        .map(|n| format!("system:serviceaccount:default:made-up-{n}"))
        .collect();
    for name in accounts.iter().map(String::as_str).chain(["ann"]) {
        hub.bind(name, "view", "default").await;
    }
    let mallory = hub.user("mallory", "team");
    let watch = |name: &str| {
        let request =
            Request::get(format!("{CONFIG_MAPS}?watch=1")).header("Impersonate-User", name);
        mallory.raw(request.body(Body::empty()).unwrap())
    };
    let mut open = Vec::new();
    for name in &accounts[..3] {
        let answer = watch(name).await;
        assert_eq!(answer.status(), 200);
        open.push(answer);
    }
    for name in &accounts[3..] {
        let refused = read(watch(name).await).await;
        refused.refusal(429, "TooManyRequests");
    }
    let ann = hub.user("ann", "team");
    let request = Request::get(format!("{CONFIG_MAPS}?watch=1"));
    let answer = ann.raw(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status(), 200);
    open.pop();
    assert_eq!(watch(&accounts[7]).await.status(), 200);
}

/// Who begins many lists loses the oldest of his own; nobody else's token goes with them.
#[tokio::test]
async fn lists_that_one_user_begins_do_not_expire_anothers() {
    let hub = Hub::start().await;
    for user in ["mallory", "ann"] {
        hub.bind(user, "view", "default").await;
    }
    for name in ["a", "b", "c"] {
        let map = config_map(name, &json!({ "k": "0" }));
        hub.create(CONFIG_MAPS, &map).await.ok();
    }
    let (mallory, ann) = (hub.user("mallory", "team"), hub.user("ann", "team"));
    let page = format!("{CONFIG_MAPS}?limit=1");
    let token = |list: serde_json::Value| list["metadata"]["continue"].as_str().unwrap().to_owned();
    let hers = token(ann.get(&page).await.ok());
    let mut his = Vec::new();
    for n in 0..100 {
        let change = json!({ "data": { "k": n.to_string() } });
        hub.merge(&format!("{CONFIG_MAPS}/a"), &change).await.ok();
        his.push(token(mallory.get(&page).await.ok()));
    }
    let next = |token: &str| format!("{page}&continue={token}");
    let list = ann.get(&next(&hers)).await.ok();
    assert_eq!(list["items"][0]["metadata"]["name"], "b");
    mallory.get(&next(&his[1])).await.refusal(410, "Expired");
    mallory.get(&next(his.last().unwrap())).await.ok();
}
