//! Explanations of placements: in turn, and for those whom the hub knows.

use axum::body::Body;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, stream};
use http::{Request, header};
use koinon_hub::rest::Limits;
use tokio::{sync::oneshot, time::timeout};

use crate::support::{CONFIG_MAPS, Caller, Hub, PATIENCE, config_map};

const PLACEMENT: &str =
    "/apis/cluster.open-cluster-management.io/v1beta1/namespaces/default/placements/p/explain";
/// Explanations of one user that wait while another is being made.
const WAITING: usize = 8;

/// A request whose body never comes, and word that somebody waits for it.
fn endless(path: &str) -> (Request<Body>, oneshot::Receiver<()>) {
    let (sender, asked) = oneshot::channel();
    let body = stream::once(async move {
        // The test may have ended.
        let _ = sender.send(());
        Ok::<_, std::io::Error>(Bytes::from_static(b"{"))
    });
    let body = Body::from_stream(body.chain(stream::pending()));
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    (request.body(body).unwrap(), asked)
}

/// P12: a body that is on its way holds no place, and nobody unknown is listened to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_takes_no_place_before_its_body_has_come() {
    let limits = Limits {
        changes: 1,
        queue: 0,
        ..Limits::default()
    };
    let hub = Hub::start().await.with_limits(limits);
    hub.bind("ann", "edit", "default").await;
    let ann = hub.user("ann", "staff");
    for path in [
        "/debug/placements",
        "/debug/placements/",
        "/debug/placements/default/p",
    ] {
        let (request, _) = endless(path);
        let refused = timeout(PATIENCE, hub.nobody().raw(request)).await;
        assert_eq!(refused.expect("nothing is waited for").status(), 403);

        let (request, asked) = endless(path);
        let caller = hub.user("ann", "staff");
        let slow = tokio::spawn(async move { caller.raw(request).await });
        timeout(PATIENCE, asked).await.unwrap().unwrap();
        let object = config_map("one", &serde_json::json!({}));
        let dry = format!("{CONFIG_MAPS}?dryRun=All");
        ann.create(&dry, &object).await.ok();
        slow.abort();
    }
}

/// Nobody tries out what cannot be created afterwards.
#[tokio::test]
async fn a_dry_run_refuses_what_a_create_refuses() {
    let hub = Hub::start().await;
    let body = |spec: serde_json::Value| serde_json::json!({ "metadata": { "namespace": "default", "name": "p" }, "spec": spec });
    let steady = |weight: i32| serde_json::json!({ "prioritizerPolicy": { "configurations": [{ "scoreCoordinate": { "builtIn": "Steady" }, "weight": weight }] } });
    let path = "/debug/placements/";
    let message = hub
        .create(path, &body(steady(50)))
        .await
        .refusal(422, "Invalid");
    assert!(
        message.ends_with("should be less than or equal to 10"),
        "{message}"
    );
    hub.create(path, &serde_json::json!([]))
        .await
        .refusal(400, "BadRequest");
    let answer = hub.create(path, &body(steady(5))).await;
    assert_eq!(answer.code, 200, "{answer:?}");
    assert_eq!(
        answer.body["placement"]["spec"]["sortBy"], "ClusterName",
        "{answer:?}"
    );
}

/// P12: whoever asks and leaves, again and again, has one explanation made at a time, and the next one waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explanation_keeps_its_turn_when_its_client_has_gone() {
    let hub = Hub::start().await;
    hub.bind("ann", "view", "default").await;
    let path = format!("{PLACEMENT}?revision={}", hub.registry.store().revision());
    let ask = |name: &str| {
        let (caller, path): (Caller, _) = (hub.user(name, "staff"), path.clone());
        async move { caller.get(&path).await.code }
    };
    let mut lock = hub.postgres.connect().await;
    lock.execute("begin; lock table changes in access exclusive mode")
        .await;
    let mut look = hub.postgres.connect().await;
    let first = tokio::spawn(ask("ann"));
    timeout(PATIENCE, async {
        let reading =
            "pg_stat_activity where wait_event_type = 'Lock' and query like 'select distinct on%'";
        while look.count(reading).await == 0 {}
    })
    .await
    .expect("the explanation has begun");
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());

    let mut more: Vec<_> = (0..=WAITING).map(|_| Box::pin(ask("ann"))).collect();
    let refused = timeout(PATIENCE, async {
        loop {
            for (at, one) in more.iter_mut().enumerate() {
                if let Some(code) = one.as_mut().now_or_never() {
                    return (at, code);
                }
            }
            tokio::task::yield_now().await;
        }
    });
    let (at, code) = refused.await.expect("there are too many");
    assert_eq!(code, 429);
    drop(more.remove(at));
    lock.execute("rollback").await;
    for one in more {
        assert_eq!(one.await, 404, "there is no such placement");
    }
}
