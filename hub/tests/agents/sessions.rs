//! Sessions: who gets one, what it grants, how it ends. Attacks P6, P12, P13.

use std::{collections::BTreeMap, time::Duration};

use koinon_api::{
    PlacementDecision,
    labels::{condition, label, reason},
    meta::{self, Truth, is_true, new_condition, set_condition},
    placement::{ClusterDecision, PlacementDecisionStatus},
};
use koinon_proto::v1::{
    ApiHealth, ClusterClaim, ClusterReport, Heartbeat, Hello, PullRequest, RenewRequest,
    WorkStatus, WorkStatusBatch, agent_message::Body as Say, hub_message::Body as Hear,
    session_client::SessionClient,
};
use kube::core::ObjectMeta;
use tonic::{Code, Request};

use crate::support::{Agent, Credentials, Hub, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_a_session_without_an_agents_certificate() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    for identity in [None, Some(&admin)] {
        let mut calls = SessionClient::new(hub.connect(identity).await);
        let attach = calls
            .attach(Request::new(tokio_stream::empty()))
            .await
            .unwrap_err();
        let pull = calls.pull(PullRequest::default()).await.unwrap_err();
        let renew = calls.renew(RenewRequest::default()).await.unwrap_err();
        for status in [attach, pull, renew] {
            assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_begins_with_the_hello_of_the_cluster_that_enrolled() {
    let hub = Hub::start().await;
    let east = hub.member("east").await;
    let first = Say::Heartbeat(Heartbeat { sequence: 1 });
    let mut rude = Agent::attach_saying(&hub, &east, first).await.unwrap();
    assert_eq!(rude.hear().await.unwrap_err().code(), Code::InvalidArgument);

    let stolen = Credentials {
        uid: "another".to_owned(),
        ..east.clone()
    };
    let mut thief = Agent::attach(&hub, &stolen, &[]).await.unwrap();
    assert_eq!(
        thief.hear().await.unwrap_err().code(),
        Code::PermissionDenied
    );

    let (mut agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    agent.say(Say::Hello(Hello::default())).await;
    assert_eq!(agent.end().await.unwrap_err().code(), Code::InvalidArgument);
    eventually("the sessions are gone", async || {
        hub.metric("agent_sessions") == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_granted_once_the_heartbeat_is_durable() {
    let hub = Hub::start().await;
    let east = hub.member("east").await;
    let (mut agent, welcome) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    assert_eq!(welcome.heartbeat_interval_ms, 60_000);
    agent.say(Say::Heartbeat(Heartbeat { sequence: 7 })).await;
    let lease = agent
        .hear_until(|body| {
            if let Hear::Lease(lease) = body {
                Some(lease)
            } else {
                None
            }
        })
        .await;
    assert_eq!((lease.sequence, lease.duration_ms), (7, 300_000));
    let ages = hub.store.heartbeats().ages().await.unwrap();
    assert!(ages.iter().any(|age| age.0 == "east"), "{ages:?}");

    let shorten = |cluster: &mut koinon_api::ManagedCluster| {
        cluster.spec.lease_duration_seconds = 2;
        true
    };
    hub.client.modify("", "east", shorten).await.unwrap();
    eventually("the shorter lease reaches the agent", async || {
        agent.say(Say::Heartbeat(Heartbeat { sequence: 8 })).await;
        let lease = agent
            .hear_until(|body| {
                if let Hear::Lease(lease) = body {
                    Some(lease)
                } else {
                    None
                }
            })
            .await;
        (lease.duration_ms, lease.heartbeat_interval_ms) == (10_000, 2000)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_cluster_is_sent_away_and_stays_out() {
    let hub = Hub::start().await;
    let east = hub.member("east").await;
    let (mut agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    hub.deny("east").await;
    let reason = agent
        .end()
        .await
        .unwrap()
        .expect("a drain came before the end");
    assert!(reason.contains("not accepted"), "{reason}");
    let mut again = Agent::attach(&hub, &east, &[]).await.unwrap();
    assert_eq!(
        again.hear().await.unwrap_err().code(),
        Code::PermissionDenied
    );
    hub.accept("east").await;
    assert!(Agent::welcomed(&hub, &east, &[]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_session_replaces_the_older_of_the_same_agent() {
    let hub = Hub::start().await;
    let east = hub.member("east").await;
    let (mut old, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    let (mut new, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    assert_eq!(old.end().await.unwrap_err().code(), Code::Aborted);
    new.until_granted(1).await;
    eventually("one session is left", async || {
        hub.metric("agent_sessions") == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_its_certificate() {
    let hub = Hub::start_with(Duration::from_secs(8)).await;
    let east = hub.member("east").await;
    let (mut agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    assert_eq!(agent.end().await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_goes_down_sends_everybody_away() {
    let hub = Hub::start().await;
    let east = hub.member("east").await;
    let (mut agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    hub.agents.drain("going down");
    assert_eq!(agent.end().await.unwrap().as_deref(), Some("going down"));
    let mut again = Agent::attach(&hub, &east, &[]).await.unwrap();
    assert_eq!(again.hear().await.unwrap_err().code(), Code::Unavailable);
}

fn report() -> ClusterReport {
    ClusterReport {
        kubernetes_version: "v1.33.1".to_owned(),
        capacity: BTreeMap::from([
            ("cpu".to_owned(), "4".to_owned()),
            ("memory".to_owned(), "8Gi".to_owned()),
        ]),
        allocatable: BTreeMap::from([("cpu".to_owned(), "3500m".to_owned())]),
        claims: vec![ClusterClaim {
            name: "id.k8s.io".to_owned(),
            value: "uid-of-east".to_owned(),
        }],
        api_health: ApiHealth::Ok.into(),
        ..ClusterReport::default()
    }
}

fn available(hub: &Hub) -> Option<String> {
    let status = hub.cluster("east").status?;
    Some(
        meta::condition(&status.conditions, condition::CLUSTER_AVAILABLE)?
            .status
            .clone(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_reports_and_statuses_do_not_make_objects_grow() {
    let hub = Hub::start().await;
    let east = hub.member("east").await;
    let work = hub.work("east", "w").await;
    let (agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    for round in 0..2 {
        let mut hostile = report();
        hostile.kubernetes_version = format!("v1.{round}");
        let made_up = (0..50_000).map(|n| (format!("x{round}-{n}"), "1".to_owned()));
        hostile.capacity.extend(made_up);
        agent.say(Say::Report(hostile)).await;
        eventually("the report is there", async || {
            let status = hub.cluster("east").status.unwrap_or_default();
            assert!(status.capacity.len() < 200, "{}", status.capacity.len());
            status.version.kubernetes == format!("v1.{round}")
        })
        .await;
    }
    let huge = serde_json::json!({ "conditions": [{
        "type": "Applied", "status": "True", "reason": "x", "message": "m".repeat(3 << 20),
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }] });
    let status = WorkStatus {
        name: "w".to_owned(),
        uid: work.metadata.uid.clone().unwrap(),
        status_json: huge.to_string().into_bytes().into(),
    };
    let statuses = vec![status];
    agent.say(Say::Statuses(WorkStatusBatch { statuses })).await;
    eventually("the status is refused", async || {
        hub.metric("agent_rejected_total{reason=\"status_too_large\"}") == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_becomes_the_status_and_an_equal_one_writes_nothing() {
    let hub = Hub::start().await;
    let east = hub.member("east").await;
    let (agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    agent.say(Say::Report(report())).await;
    eventually("the cluster is available", async || {
        available(&hub).as_deref() == Some("True")
    })
    .await;
    let cluster = hub.cluster("east");
    let status = cluster.status.as_ref().unwrap();
    assert!(is_true(&status.conditions, condition::JOINED));
    assert_eq!(
        (
            status.version.kubernetes.as_str(),
            status.allocatable["cpu"].0.as_str()
        ),
        ("v1.33.1", "3500m")
    );
    drop(agent);

    let (mut agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    agent.say(Say::Report(report())).await;
    agent.until_granted(1).await;
    assert_eq!(
        hub.cluster("east").metadata.resource_version,
        cluster.metadata.resource_version,
        "P13"
    );

    let failing = ClusterReport {
        api_health: ApiHealth::Failing.into(),
        ..report()
    };
    agent.say(Say::Report(failing)).await;
    eventually("the cluster is unavailable", async || {
        available(&hub).as_deref() == Some("False")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_given_up_is_available_again_once_it_is_heard() {
    let hub = Hub::start().await;
    let east = hub.member("east").await;
    let (mut agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    agent.say(Say::Report(report())).await;
    eventually("the cluster is available", async || {
        available(&hub).as_deref() == Some("True")
    })
    .await;
    let give_up = |cluster: &mut koinon_api::ManagedCluster| {
        let stopped = reason::cluster_available::LEASE_UPDATE_STOPPED;
        let now = jiff::Timestamp::now();
        let unknown = new_condition(
            condition::CLUSTER_AVAILABLE,
            Truth::Unknown,
            stopped,
            "stopped",
            now,
        );
        set_condition(
            &mut cluster.status.get_or_insert_default().conditions,
            unknown,
        )
    };
    hub.client.modify_status("", "east", give_up).await.unwrap();
    let mut sequence = 0;
    eventually("the cluster is available again", async || {
        sequence += 1;
        agent.until_granted(sequence).await;
        available(&hub).as_deref() == Some("True")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_hears_of_the_placements_that_name_its_cluster() {
    let hub = Hub::start().await;
    let (east, west) = (hub.member("east").await, hub.member("west").await);
    let (mut agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    let (mut other, _) = Agent::welcomed(&hub, &west, &[]).await.unwrap();
    let decisions = |body| {
        if let Hear::Decisions(decisions) = body {
            Some(decisions)
        } else {
            None
        }
    };
    assert!(agent.hear_until(decisions).await.placements.is_empty());
    assert!(other.hear_until(decisions).await.placements.is_empty());

    let labels = BTreeMap::from([(label::PLACEMENT.to_owned(), "web".to_owned())]);
    let metadata = ObjectMeta {
        name: Some("web-decision-1".to_owned()),
        namespace: Some("default".to_owned()),
        labels: Some(labels),
        ..ObjectMeta::default()
    };
    let decision = PlacementDecision {
        metadata,
        status: None,
    };
    hub.client.create(&decision).await.unwrap();
    let decide = |decision: &mut PlacementDecision| {
        let chosen = ClusterDecision {
            cluster_name: "east".to_owned(),
            ..ClusterDecision::default()
        };
        decision.status = Some(PlacementDecisionStatus {
            decisions: vec![chosen],
        });
        true
    };
    hub.client
        .modify_status("default", "web-decision-1", decide)
        .await
        .unwrap();
    let heard = agent.hear_until(decisions).await;
    assert_eq!(
        (
            heard.placements[0].namespace.as_str(),
            heard.placements[0].name.as_str()
        ),
        ("default", "web")
    );
    let heard = other.until_granted(1).await;
    assert!(
        !heard.iter().any(|body| matches!(body, Hear::Decisions(_))),
        "it does not concern the other"
    );
}
