//! The registry goes away and comes back: sessions stay, nothing is granted that is not durable, nothing is lost.

use koinon_api::ManifestWork;
use koinon_proto::v1::{
    Heartbeat, WorkStatus, WorkStatusBatch, agent_message::Body as Say, hub_message::Body as Hear,
};

use crate::support::{Agent, Applicant, Hub, eventually};

const STATUS: &str = r#"{"conditions":[{"type":"Applied","status":"True","reason":"x","message":"",
    "lastTransitionTime":"2026-01-01T00:00:00Z"}]}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_registry_sessions_last_and_statuses_wait() {
    let mut hub = Hub::durable().await;
    let east = hub.member("east").await;
    let token = hub.token("later", |_| {}).await;
    let uid = hub.work("east", "a").await.metadata.uid.unwrap();
    let (mut agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    agent.until_granted(1).await;

    hub.postgres.kill().await;
    agent.say(Say::Heartbeat(Heartbeat { sequence: 2 })).await;
    let status = WorkStatus {
        name: "a".to_owned(),
        uid,
        status_json: STATUS.as_bytes().to_vec().into(),
    };
    agent
        .say(Say::Statuses(WorkStatusBatch {
            statuses: vec![status],
        }))
        .await;
    let away = hub
        .enrol(Applicant::new("west").request(&token))
        .await
        .unwrap_err();
    assert_eq!(away.code(), tonic::Code::Unavailable);
    assert_eq!(hub.metric("agent_sessions"), 1, "the session lasts");
    // Written only after the restart, the heartbeat would be durable, and granted rightly.
    eventually("the heartbeat is refused", async || {
        hub.metric("agent_heartbeats_refused_total") == 1
    })
    .await;

    hub.postgres.restart().await.expect("Postgres starts again");
    eventually("the status is written after all", async || {
        let work: ManifestWork = hub.client.get("east", "a").unwrap().unwrap();
        work.status
            .is_some_and(|status| status.conditions.len() == 1)
    })
    .await;
    let mut granted = Vec::new();
    let mut sequence = 2;
    eventually("leases are granted again", async || {
        sequence += 1;
        agent.say(Say::Heartbeat(Heartbeat { sequence })).await;
        let lease = agent.hear_until(|body| {
            if let Hear::Lease(lease) = body {
                Some(lease.sequence)
            } else {
                None
            }
        });
        let Ok(lease) = tokio::time::timeout(std::time::Duration::from_secs(2), lease).await else {
            return false;
        };
        granted.push(lease);
        true
    })
    .await;
    assert!(
        !granted.contains(&2),
        "what was not durable is not granted: {granted:?}"
    );
}
