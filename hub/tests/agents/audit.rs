//! What is recorded of the agents' port: who came with which token, which certificate, and whether he was let in.

use koinon_proto::v1::{PullRequest, RenewRequest, session_client::SessionClient};
use rcgen::KeyPair;
use serde_json::Value;
use tonic::Code;

use crate::support::{Agent, Applicant, Hub, csr, eventually};

const AGENT: &str = "system:open-cluster-management:east:a1";

/// Who, what, code.
type Line = (String, String, u64);

async fn records(hub: &Hub) -> (Vec<Line>, String) {
    let page = hub.store.audit().page(0, 10_000).await.unwrap();
    assert!(page.unreadable.is_empty());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events: Vec<Value> = page.records.iter().map(|record| record.tree()).collect();
    let lines = events
        .iter()
        .filter(|event| event["kind"] == "Event")
        .map(|event| {
            let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
            let what = &event["objectRef"];
            assert_eq!(what["resource"], "managedclusters", "{event}");
            assert_eq!(event["sourceIPs"][0], "127.0.0.1", "{event}");
            let what = format!("{}/{}", text(&what["subresource"]), text(&what["name"]));
            (text(&event["user"]["username"]), what, code)
        })
        .collect();
    (lines, serde_json::to_string(&events).unwrap())
}

fn line(who: &str, what: &str, code: u64) -> Line {
    (who.to_owned(), what.to_owned(), code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_renews_and_connects_is_recorded_and_who_waits_only_once() {
    let hub = Hub::start().await;
    let token = hub.token("t", |_| {}).await;
    let east = Applicant::new("east");
    for _ in 0..4 {
        hub.enrol(east.request(&token)).await.unwrap();
    }
    hub.accept("east").await;
    let credentials = hub.issued(&east, &token).await;
    let (agent, _) = Agent::welcomed(&hub, &credentials, &[]).await.unwrap();
    drop(agent);
    let mut calls = SessionClient::new(hub.connect(Some(&credentials)).await);
    let csr_der = || csr(&KeyPair::generate().unwrap(), |_| {}).into();
    calls
        .renew(RenewRequest { csr_der: csr_der() })
        .await
        .unwrap();
    // A token that is none, and a cluster that is not accepted any more.
    let wrong = token.replacen(".t.", ".other.", 1);
    let refused = hub.enrol(Applicant::new("west").request(&wrong)).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    hub.deny("east").await;
    let refused = calls.renew(RenewRequest { csr_der: csr_der() }).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    assert!(Agent::welcomed(&hub, &credentials, &[]).await.is_err());

    let wanted = [
        line("system:bootstrap:t", "enrolment/east", 202),
        line("system:bootstrap:t", "enrolment/east", 201),
        line(AGENT, "session/east", 200),
        line(AGENT, "certificate/east", 201),
        line("system:anonymous", "enrolment/west", 401),
        line(AGENT, "certificate/east", 403),
        line(AGENT, "session/east", 403),
    ];
    eventually("all is recorded", async || {
        records(&hub).await.0.len() >= wanted.len()
    })
    .await;
    let (lines, text) = records(&hub).await;
    assert_eq!(lines, wanted);
    // Neither the token's secret nor a request or a certificate is in the log; which certificate it was is.
    let secret = token.split('.').nth(2).unwrap();
    assert!(!text.contains(secret), "the token is in the log");
    assert!(!text.contains("BEGIN") && !text.contains("csr"), "{text}");
    assert!(text.contains("koinon.dev/certificate-serial"), "{text}");
}

/// Calls of nobody: far above what is told of one network.
const STORM: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_calls_without_an_agents_certificate_is_recorded_and_a_storm_of_such_calls_is_a_number()
{
    let hub = Hub::start().await;
    let (east, former) = (hub.member("east").await, hub.member("former").await);
    let admin = hub.admin();
    // A user, and the agent of a cluster that was deleted.
    let mut calls = SessionClient::new(hub.connect(Some(&admin)).await);
    let refused = calls.renew(RenewRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    hub.let_go("former").await;
    let mut calls = SessionClient::new(hub.connect(Some(&former)).await);
    let refused = calls.pull(PullRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let mut calls = SessionClient::new(hub.connect(None).await);
    for _ in 0..STORM {
        let refused = calls.pull(PullRequest::default()).await;
        assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    }
    let nobody = line("system:anonymous", "bodies/", 401);
    let told = async || {
        records(&hub)
            .await
            .0
            .iter()
            .filter(|told| **told == nobody)
            .count() as u64
    };
    eventually("what is not told is counted", async || {
        // Whatever is recorded brings the number with it.
        Agent::welcomed(&hub, &east, &[]).await.unwrap();
        let page = hub.store.audit().page(0, 10_000).await.unwrap();
        let events = page.records.iter().map(|record| record.tree());
        let numbers = events.filter(|event| event["kind"] == "Refused");
        let counted: u64 = numbers.filter_map(|event| event["events"].as_u64()).sum();
        told().await + counted == STORM
    })
    .await;
    let (lines, _) = records(&hub).await;
    assert!((1..STORM / 4).contains(&told().await), "{lines:?}");
    let former = "system:open-cluster-management:former:a1";
    for wanted in [
        line("koinon-admin", "certificate/", 401),
        line(former, "bodies/former", 403),
    ] {
        assert!(lines.contains(&wanted), "{wanted:?}: {lines:?}");
    }
}
