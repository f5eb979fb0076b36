//! The audit log at the door: what is recorded of a request, and what never is.

use std::time::Duration;

use axum::body::Body;
use http::{Request, header};
use koinon_hub::{
    audit::{Audit, Level, Policy, Sinks, WhenFull},
    rest,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{CONFIG_MAPS, Caller, Hub, NAMESPACES, PATIENCE, TOKENS, config_map, work};

/// Refusals at once: far above what is told in a second.
const MANY: usize = 2000;
const CANARY: &str = "canary-7f3a";

/// A hub that records everything that a level says.
struct Recorded {
    hub: Hub,
    caller: Caller,
    stop: CancellationToken,
}

impl Recorded {
    async fn at(level: Level) -> Self {
        let hub = Hub::start().await;
        let sinks = Sinks {
            table: Some((
                hub.registry.store().audit(),
                Duration::from_secs(90 * 86_400),
            )),
            lines: None,
        };
        let (audit, writer) = Audit::new(Policy::standard(level), WhenFull::Count, sinks);
        let stop = CancellationToken::new();
        tokio::spawn(writer.run(stop.clone()));
        let settings = rest::Settings {
            audit: Some(audit),
            ..rest::Settings::default()
        };
        let caller = hub.serving(settings).as_whom(&hub.admin());
        Self { hub, caller, stop }
    }

    /// All records, once one of them is as `last` says.
    async fn records(&self, last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let log = self.hub.registry.store().audit();
        let read = async {
            loop {
                let page = log.page(0, 10_000).await.unwrap();
                assert!(page.unreadable.is_empty());
                let events: Vec<Value> = page.records.iter().map(|one| one.tree()).collect();
                if events.iter().any(&last) {
                    return events;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("it is recorded")
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn whoever_hangs_up_is_recorded_all_the_same() {
    let recorded = Recorded::at(Level::Request).await;
    let body = config_map("hung-up", &json!({})).to_string();
    let request = Request::post(CONFIG_MAPS)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .unwrap();
    // As far as it goes at once, which is to the database, and not to the answer.
    let mut asked = Box::pin(recorded.caller.raw(request));
    assert!(futures::poll!(&mut asked).is_pending());
    drop(asked);
    let is_it = |event: &Value| event["annotations"]["koinon.dev/outcome"].is_string();
    let events = recorded.records(is_it).await;
    let event = events.iter().find(|event| is_it(event)).unwrap();
    assert_eq!(event["verb"], "create");
    assert!(event["responseStatus"].is_null(), "{event}");
}

#[tokio::test]
async fn no_secret_is_recorded_however_it_is_written() {
    let recorded = Recorded::at(Level::Request).await;
    let caller = &recorded.caller;
    let namespace = json!({ "metadata": { "name": "east" } });
    caller.create(NAMESPACES, &namespace).await.ok();
    let secrets = "/api/v1/namespaces/default/secrets";
    let works = "/apis/work.open-cluster-management.io/v1/namespaces/east/manifestworks";
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": { "p": CANARY },
    });
    caller.create(secrets, &secret).await.ok();
    caller
        .merge(
            &format!("{secrets}/s"),
            &json!({ "stringData": { "p": CANARY } }),
        )
        .await
        .ok();
    // In the wrong place, and refused there.
    assert!(caller.create(CONFIG_MAPS, &secret).await.code >= 400);
    let mut holding = work("w");
    holding["metadata"]["annotations"] =
        json!({ "kubectl.kubernetes.io/last-applied-configuration": CANARY });
    let odd = json!({
        "apiVersion": "acme.com/v1", "kind": "Vault", "metadata": { "name": "v" }, "spec": { "password": CANARY },
    });
    holding["spec"]["workload"]["manifests"] = json!([secret, odd]);
    caller.create(works, &holding).await.ok();
    let one = format!("{works}/w");
    let merge = json!({ "spec": { "workload": { "manifests": [odd] } } });
    caller.merge(&one, &merge).await.ok();
    let json_patch = json!([
        { "op": "replace", "path": "/spec/workload/manifests/0/spec/password", "value": CANARY },
    ]);
    caller
        .send(
            "PATCH",
            &one,
            "application/json-patch+json",
            json_patch.to_string(),
        )
        .await
        .ok();
    holding["apiVersion"] = "work.open-cluster-management.io/v1".into();
    holding["kind"] = "ManifestWork".into();
    caller
        .send(
            "PATCH",
            &format!("{one}?fieldManager=m&force=true"),
            "application/apply-patch+yaml",
            holding.to_string(),
        )
        .await
        .ok();
    // What a cluster reports, and what somebody wrote wrongly.
    let status = json!({ "status": { "resourceStatus": { "manifests": [{
        "resourceMeta": { "ordinal": 0 }, "conditions": [],
        "statusFeedback": { "values": [{ "name": "v", "fieldValue": { "type": "String", "string": CANARY } }] },
    }] } } });
    let mut reported = caller.get(&one).await.ok();
    reported["status"] = status["status"].clone();
    for path in [&format!("{one}/status"), &one] {
        let put = caller.send("PUT", path, "application/json", reported.to_string());
        put.await.ok();
        reported = caller.get(&one).await.ok();
    }
    caller.merge(&format!("{one}/status"), &status).await.ok();
    let wrong =
        json!({ "metadata": { "name": "wrong" }, "spec": { "workload": { "manifest": [odd] } } });
    caller.create(works, &wrong).await;
    for broken in [
        format!("{CANARY} {{"),
        format!("p: {CANARY}"),
        format!("- {CANARY}"),
    ] {
        for path in [works, secrets] {
            caller
                .send("POST", path, "application/json", broken.clone())
                .await;
            caller
                .send("POST", path, "application/yaml", broken.clone())
                .await;
        }
    }
    // Tokens: those that are asked about, and those that are issued.
    let review = json!({ "spec": { "token": CANARY } });
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    caller.create(reviews, &review).await.ok();
    let join = json!({ "metadata": { "generateName": "j-" }, "spec": { "expiresAt": "2999-01-01T00:00:00Z" } });
    let made = caller.create(TOKENS, &join).await.ok();
    let join = made["status"]["token"].as_str().unwrap().to_owned();
    caller
        .create(
            CONFIG_MAPS,
            &config_map("last", &json!({ "plain": "shown" })),
        )
        .await
        .ok();
    let events = recorded
        .records(|event| event["requestObject"]["metadata"]["name"] == "last")
        .await;
    let text = json!(events).to_string();
    assert!(text.contains("shown"), "bodies are recorded");
    assert!(text.contains("Vault"), "what a work is about is recorded");
    assert!(!text.contains(CANARY), "{text}");
    assert!(!text.contains(&join));
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, CANARY);
    assert!(!text.contains(&encoded));
}

#[tokio::test]
async fn refusals_leave_room_for_what_is_done() {
    let recorded = Recorded::at(Level::Metadata).await;
    let nobody = recorded.caller.as_whom(&recorded.hub.nobody());
    let nothing = json!({});
    let asked = (0..MANY).map(|_| nobody.create(CONFIG_MAPS, &nothing));
    for answer in futures::future::join_all(asked).await {
        answer.refusal(403, "Forbidden");
    }
    recorded
        .caller
        .create(CONFIG_MAPS, &config_map("done", &json!({})))
        .await
        .ok();
    let is_number = |event: &Value| event["kind"] == "Refused";
    let events = recorded.records(is_number).await;
    let told = events
        .iter()
        .filter(|event| event["responseStatus"]["code"] == 403)
        .count();
    let untold: u64 = events
        .iter()
        .filter(|event| is_number(event))
        .filter_map(|event| event["events"].as_u64())
        .sum();
    assert!(told < MANY && untold > 0, "{told} told, {untold} counted");
    let forbid = |event: &&Value| event["annotations"]["authorization.k8s.io/decision"] == "forbid";
    assert_eq!(events.iter().filter(forbid).count(), told);
}
