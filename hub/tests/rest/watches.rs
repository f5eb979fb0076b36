//! Watches: what happens, in order, once each, to what is selected.

use axum::body::{Body, BodyDataStream};
use futures::StreamExt;
use http::{Request, header};
use serde_json::{Value, json};

use crate::support::{
    CLUSTERS, CONFIG_MAPS, Caller, Hub, NAMESPACES, PATIENCE, RBAC, cluster, config_map, work,
};

/// A watch that is being read.
pub(crate) struct Events {
    stream: BodyDataStream,
    buffer: Vec<u8>,
}

impl Events {
    pub(crate) async fn of(hub: &Hub, path: &str, accept: &str) -> Self {
        Self::seen_by(&hub.admin(), path, accept).await
    }

    async fn seen_by(caller: &Caller, path: &str, accept: &str) -> Self {
        let request = Request::get(path)
            .header(header::ACCEPT, accept)
            .body(Body::empty())
            .unwrap();
        let response = caller.raw(request).await;
        assert_eq!(response.status(), 200);
        Self {
            stream: response.into_body().into_data_stream(),
            buffer: Vec::new(),
        }
    }

    /// The next event, `None` at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("every line is an event"));
            }
            let piece = tokio::time::timeout(PATIENCE, self.stream.next())
                .await
                .expect("something happens")?;
            self.buffer.extend_from_slice(&piece.unwrap());
        }
    }

    /// The next event as type and name.
    pub(crate) async fn brief(&mut self) -> (String, String) {
        let event = self.next().await.expect("the watch goes on");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&event["type"]),
            text(&event["object"]["metadata"]["name"]),
        )
    }
}

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

async fn watch(hub: &Hub, query: &str) -> Events {
    Events::of(
        hub,
        &format!("{CONFIG_MAPS}?watch=1&{query}"),
        "application/json",
    )
    .await
}

#[tokio::test]
async fn a_watch_resumes_where_a_list_ended() {
    let hub = Hub::start().await;
    hub.create(CONFIG_MAPS, &config_map("a", &json!({})))
        .await
        .ok();
    let list = hub.get(CONFIG_MAPS).await.ok();
    let from = list["metadata"]["resourceVersion"].as_str().unwrap();
    hub.create(CONFIG_MAPS, &config_map("b", &json!({})))
        .await
        .ok();
    hub.merge(
        &format!("{CONFIG_MAPS}/a"),
        &json!({ "data": { "k": "v" } }),
    )
    .await
    .ok();
    let mut events = watch(&hub, &format!("resourceVersion={from}")).await;
    assert_eq!(events.brief().await, pair("ADDED", "b"));
    assert_eq!(events.brief().await, pair("MODIFIED", "a"));
    hub.delete(&format!("{CONFIG_MAPS}/b")).await.ok();
    let deleted = events.next().await.unwrap();
    assert_eq!(deleted["type"], "DELETED");
    let version = |text: &Value| text.as_str().unwrap().parse::<i64>().unwrap();
    let at = version(&deleted["object"]["metadata"]["resourceVersion"]);
    assert!(
        at > version(&list["metadata"]["resourceVersion"]),
        "a deletion has a revision of its own"
    );
    hub.create(CONFIG_MAPS, &config_map("c", &json!({})))
        .await
        .ok();
    assert_eq!(events.brief().await, pair("ADDED", "c"));
    let mut again = watch(&hub, &format!("resourceVersion={at}")).await;
    assert_eq!(
        again.brief().await,
        pair("ADDED", "c"),
        "nothing is missed and nothing repeated"
    );
}

#[tokio::test]
async fn a_watch_without_a_version_begins_with_the_state() {
    let hub = Hub::start().await;
    for name in ["b", "a"] {
        hub.create(CONFIG_MAPS, &config_map(name, &json!({})))
            .await
            .ok();
    }
    for query in ["", "resourceVersion=0"] {
        let mut events = watch(&hub, query).await;
        assert_eq!(events.brief().await, pair("ADDED", "a"));
        assert_eq!(events.brief().await, pair("ADDED", "b"));
    }
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = watch(&hub, query).await;
    assert_eq!(events.brief().await.0, "ADDED");
    assert_eq!(events.brief().await.0, "ADDED");
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(
        bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
}

#[tokio::test]
async fn leaving_the_selection_is_a_deletion_and_entering_an_addition() {
    let hub = Hub::start().await;
    hub.create(CONFIG_MAPS, &config_map("a", &json!({})))
        .await
        .ok();
    let path = format!("{CONFIG_MAPS}/a");
    let mut events = watch(&hub, "labelSelector=tier%3Dgold").await;
    let label = |value: Value| json!({ "metadata": { "labels": { "tier": value } } });
    hub.merge(&path, &label("gold".into())).await.ok();
    assert_eq!(events.brief().await, pair("ADDED", "a"));
    hub.merge(&path, &json!({ "data": { "k": "v" } }))
        .await
        .ok();
    assert_eq!(events.brief().await, pair("MODIFIED", "a"));
    hub.merge(&path, &label("iron".into())).await.ok();
    let left = events.next().await.unwrap();
    assert_eq!(left["type"], "DELETED");
    assert_eq!(
        left["object"]["metadata"]["labels"]["tier"], "gold",
        "the last state that was selected"
    );
    hub.delete(&path).await.ok();
    hub.create(CONFIG_MAPS, &config_map("b", &json!({})))
        .await
        .ok();
    hub.merge(&format!("{CONFIG_MAPS}/b"), &label("gold".into()))
        .await
        .ok();
    assert_eq!(
        events.brief().await,
        pair("ADDED", "b"),
        "what happened outside of the selection is not told"
    );
}

#[tokio::test]
async fn other_namespaces_are_not_told() {
    let hub = Hub::start().await;
    hub.create(
        "/api/v1/namespaces",
        &json!({ "metadata": { "name": "other" } }),
    )
    .await
    .ok();
    let mut events = watch(&hub, "").await;
    hub.create(
        "/api/v1/namespaces/other/configmaps",
        &config_map("x", &json!({})),
    )
    .await
    .ok();
    hub.create(CONFIG_MAPS, &config_map("y", &json!({})))
        .await
        .ok();
    assert_eq!(events.brief().await, pair("ADDED", "y"));
}

#[tokio::test]
async fn tables_are_watched_row_by_row() {
    let hub = Hub::start().await;
    hub.create(CLUSTERS, &cluster("east")).await.ok();
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let mut events = Events::of(&hub, &format!("{CLUSTERS}?watch=true"), accept).await;
    let first = events.next().await.unwrap();
    assert_eq!(first["object"]["kind"], "Table");
    assert!(
        !first["object"]["columnDefinitions"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    hub.merge(
        &format!("{CLUSTERS}/east"),
        &json!({ "metadata": { "labels": { "a": "b" } } }),
    )
    .await
    .ok();
    let second = events.next().await.unwrap();
    assert_eq!(second["object"]["rows"][0]["cells"][0], "east");
    assert_eq!(second["object"]["columnDefinitions"], json!([]));
}

#[tokio::test]
async fn a_watch_ends_in_time_and_says_how_far_it_came() {
    let hub = Hub::start().await;
    let mut events = watch(&hub, "timeoutSeconds=1&allowWatchBookmarks=true").await;
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn watches_end_when_the_hub_does() {
    let hub = Hub::start().await;
    let mut events = watch(&hub, "").await;
    hub.stop.cancel();
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_version_that_nobody_remembers_is_gone() {
    let hub = Hub::start().await;
    hub.create(CONFIG_MAPS, &config_map("a", &json!({})))
        .await
        .ok();
    let next = hub.registry.store().revision().0 + 1000;
    hub.get(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={next}"))
        .await
        .refusal(504, "Timeout");
    hub.get(&format!("{CONFIG_MAPS}?watch=1&resourceVersion=x"))
        .await
        .refusal(422, "Invalid");
    // What is only asked has nothing that could be watched.
    let questions = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let unwatchable = hub.get(&format!("{questions}?watch=1")).await;
    unwatchable.refusal(405, "MethodNotAllowed");
}

/// P12: who does not read is not waited for.
#[tokio::test]
async fn a_watcher_that_fell_behind_is_told_to_list_again() {
    let hub = Hub::start_with(|config| config.ring_events = 16).await;
    hub.create(CONFIG_MAPS, &config_map("a", &json!({})))
        .await
        .ok();
    let mut events = watch(&hub, "").await;
    assert_eq!(events.brief().await, pair("ADDED", "a"));
    for round in 0..64 {
        hub.merge(
            &format!("{CONFIG_MAPS}/a"),
            &json!({ "data": { "k": round.to_string() } }),
        )
        .await
        .ok();
    }
    let error = loop {
        let event = events.next().await.expect("the watch says why it ends");
        if event["type"] == "ERROR" {
            break event;
        }
    };
    assert_eq!(
        (
            error["object"]["code"].as_i64(),
            error["object"]["reason"].as_str()
        ),
        (Some(410), Some("Expired"))
    );
    assert!(events.next().await.is_none());
    let late = watch(&hub, "resourceVersion=1").await.next().await.unwrap();
    assert_eq!(
        late["object"]["reason"], "Expired",
        "also at the start, as an event"
    );
}

/// A right that was taken ends the watch that rests on it, before anything more is shown.
#[tokio::test]
async fn a_watch_ends_when_what_allowed_it_is_gone() {
    let hub = Hub::start().await;
    hub.bind("ann", "view", "default").await;
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    let list = hub.get(&bindings).await.ok();
    let name = list["items"][0]["metadata"]["name"].as_str().unwrap();
    let ann = hub.user("ann", "staff");
    let path = format!("{CONFIG_MAPS}?watch=1");
    let mut events = Events::seen_by(&ann, &path, "application/json").await;
    hub.create(CONFIG_MAPS, &config_map("seen", &json!({})))
        .await
        .ok();
    assert_eq!(events.brief().await, pair("ADDED", "seen"));

    hub.delete(&format!("{bindings}/{name}")).await.ok();
    // At once, and no other request either.
    ann.get(CONFIG_MAPS).await.refusal(403, "Forbidden");
    hub.create(CONFIG_MAPS, &config_map("unseen", &json!({})))
        .await
        .ok();
    let last = events.next().await.expect("the end is told");
    assert_eq!(
        (&last["type"], &last["object"]["code"]),
        (&json!("ERROR"), &json!(403))
    );
    assert_eq!(events.next().await, None);
}

/// Nothing has to happen to what is watched: the change of rights is enough.
#[tokio::test]
async fn a_quiet_watch_ends_too_and_so_does_a_denied_clusters() {
    let hub = Hub::start().await;
    hub.create(NAMESPACES, &json!({ "metadata": { "name": "east" } }))
        .await
        .ok();
    hub.create(CLUSTERS, &cluster("east")).await.ok();
    let works = "/apis/work.open-cluster-management.io/v1/namespaces/east/manifestworks";
    let (east, path) = (hub.agent("east"), format!("{works}?watch=1"));
    let mut events = Events::seen_by(&east, &path, "application/json").await;
    hub.create(works, &work("w")).await.ok();
    assert_eq!(events.brief().await, pair("ADDED", "w"));
    let deny = json!({ "spec": { "hubAcceptsClient": false } });
    hub.merge(&format!("{CLUSTERS}/east"), &deny).await.ok();
    assert_eq!(events.next().await.unwrap()["object"]["code"], 403);
    assert_eq!(events.next().await, None);
}

/// P12: a piece holds one large object at most beside what is small.
#[tokio::test]
async fn large_objects_leave_one_at_a_time() {
    let hub = Hub::start().await;
    let from = hub.registry.store().revision();
    let large = |name: &str| config_map(name, &json!({ "k": "x".repeat(300 << 10) }));
    for name in ["a", "b", "c"] {
        hub.create(CONFIG_MAPS, &large(name)).await.ok();
    }
    for query in [format!("resourceVersion={from}"), String::new()] {
        let mut events = watch(&hub, &query).await;
        let mut seen = Vec::new();
        while seen.len() < 3 {
            seen.push(events.brief().await.1);
            assert!(
                events.buffer.is_empty(),
                "a second event came in the same piece: {query:?}"
            );
        }
        assert_eq!(seen, ["a", "b", "c"]);
    }
    // What is small travels together, and nothing is lost at the edges of pieces.
    for index in 0..600 {
        hub.create(
            CONFIG_MAPS,
            &config_map(&format!("s-{index:03}"), &json!({ "k": "x".repeat(700) })),
        )
        .await
        .ok();
    }
    let mut events = watch(&hub, &format!("resourceVersion={from}")).await;
    for expected in ["a", "b", "c"] {
        assert_eq!(events.brief().await.1, expected);
    }
    for index in 0..600 {
        assert_eq!(events.brief().await.1, format!("s-{index:03}"));
    }
}

#[tokio::test]
async fn a_watch_can_begin_now_without_the_state() {
    let hub = Hub::start().await;
    hub.create(CONFIG_MAPS, &config_map("before", &json!({})))
        .await
        .ok();
    let now = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
    let mut events = watch(&hub, now).await;
    hub.create(CONFIG_MAPS, &config_map("after", &json!({})))
        .await
        .ok();
    assert_eq!(events.brief().await, pair("ADDED", "after"));
}
