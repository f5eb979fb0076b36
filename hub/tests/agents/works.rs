//! Works: notices, statuses, removals. Attacks P3, P6, P12.

use koinon_api::{ManifestWork, labels::finalizer};
use koinon_proto::{
    Held,
    v1::{
        Ack, AckBatch, AckOutcome, Hello, Statuses, WorkNotice, WorkStatus, WorkStatusBatch,
        agent_message::Body as Say, hub_message::Body as Hear,
    },
};

use crate::support::{Agent, Hub, eventually, work};

fn held(notice: &WorkNotice) -> Held<'_> {
    Held {
        name: &notice.name,
        uid: &notice.uid,
        generation: notice.generation,
        digest: &notice.digest,
        tombstone: notice.tombstone,
        directives: &notice.directives,
    }
}

fn notices(heard: Vec<Hear>) -> Vec<WorkNotice> {
    let notices = heard.into_iter().filter_map(|body| {
        if let Hear::Notices(n) = body {
            Some(n.notices)
        } else {
            None
        }
    });
    notices.flatten().collect()
}

fn removed(notice: &WorkNotice) -> Say {
    let ack = Ack {
        name: notice.name.clone(),
        uid: notice.uid.clone(),
        generation: notice.generation,
        outcome: AckOutcome::Removed.into(),
    };
    Say::Acks(AckBatch { acks: vec![ack] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_told_everything_once_and_then_what_changes() {
    let hub = Hub::start().await;
    let east = hub.member("east").await;
    for name in ["a", "b", "c"] {
        hub.work("east", name).await;
    }
    let (mut agent, welcome) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    assert!(!welcome.in_sync);
    let told = notices(agent.until_granted(1).await);
    assert_eq!(
        told.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    drop(agent);

    // What is held is not told again.
    let holds: Vec<_> = told.iter().map(held).collect();
    let (mut agent, welcome) = Agent::welcomed(&hub, &east, &holds).await.unwrap();
    assert!(welcome.in_sync);
    assert!(notices(agent.until_granted(1).await).is_empty());

    // A label is not a work's body, a new body is.
    let label = |work: &mut ManifestWork| {
        work.metadata
            .labels
            .get_or_insert_default()
            .insert("x".to_owned(), "y".to_owned())
            .is_none()
    };
    hub.client.modify("east", "a", label).await.unwrap();
    let change = |found: &mut ManifestWork| {
        found.spec = work("east", "b", "2").spec;
        true
    };
    hub.client.modify("east", "b", change).await.unwrap();
    let told_b = agent.notice_of("b").await;
    assert_eq!(told_b.generation, 2);
    assert_ne!(told_b.digest, told[1].digest);
    assert!(notices(agent.until_granted(2).await).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_is_a_tombstone_until_the_agent_has_removed_it() {
    let hub = Hub::start().await;
    let east = hub.member("east").await;
    hub.work("east", "a").await;
    let (mut agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    let alive = agent.notice_of("a").await;
    // Nobody asked for a removal: it is not believed.
    agent.say(removed(&alive)).await;
    agent.until_granted(1).await;
    let found: ManifestWork = hub.client.get("east", "a").unwrap().unwrap();
    assert!(
        found
            .metadata
            .finalizers
            .unwrap()
            .iter()
            .any(|name| name == finalizer::MANIFEST_WORK),
        "P3"
    );
    assert_eq!(
        hub.metric("agent_rejected_total{reason=\"ack_unfounded\"}"),
        1
    );

    hub.client
        .delete::<ManifestWork>("east", "a", Default::default())
        .await
        .unwrap();
    let tombstone = agent.notice_of("a").await;
    assert!(tombstone.tombstone);
    assert_eq!(tombstone.uid, alive.uid);
    drop(agent);

    // The agent was away meanwhile: the tombstone is still there.
    let (mut agent, welcome) = Agent::welcomed(&hub, &east, &[held(&alive)]).await.unwrap();
    assert!(!welcome.in_sync);
    assert!(agent.notice_of("a").await.tombstone);
    agent.say(removed(&tombstone)).await;
    eventually("the work is gone", async || {
        hub.client
            .get::<ManifestWork>("east", "a")
            .unwrap()
            .is_none()
    })
    .await;
    assert!(
        notices(agent.until_granted(1).await).is_empty(),
        "the end of a told tombstone is no news"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_work_that_vanishes_without_a_tombstone_is_told_as_one() {
    let hub = Hub::start().await;
    let east = hub.member("east").await;
    hub.work("east", "a").await;
    let (mut agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    let alive = agent.notice_of("a").await;
    let strip = |work: &mut ManifestWork| {
        work.metadata.finalizers = None;
        true
    };
    hub.client.modify("east", "a", strip).await.unwrap();
    hub.client
        .delete::<ManifestWork>("east", "a", Default::default())
        .await
        .unwrap();
    let gone = agent.notice_of("a").await;
    assert!(gone.tombstone);
    assert_eq!(gone.uid, alive.uid);
}

fn status(name: &str, uid: &str, json: &str) -> WorkStatus {
    WorkStatus {
        name: name.to_owned(),
        uid: uid.to_owned(),
        status_json: json.as_bytes().to_vec().into(),
    }
}

fn conditions(hub: &Hub, cluster: &str, name: &str) -> usize {
    let work: ManifestWork = hub.client.get(cluster, name).unwrap().unwrap();
    work.status.map_or(0, |status| status.conditions.len())
}

const APPLIED: &str = r#"{"conditions":[{"type":"Applied","status":"True","reason":"AppliedManifestWorkComplete",
    "message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_reach_the_own_works_and_no_others() {
    let hub = Hub::start().await;
    let (east, _west) = (hub.member("east").await, hub.member("west").await);
    let (own, foreign) = (hub.work("east", "a").await, hub.work("west", "a").await);
    hub.work("east", "b").await;
    let (uid, foreign_uid) = (own.metadata.uid.unwrap(), foreign.metadata.uid.unwrap());
    let (mut agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    let statuses = vec![
        status("a", &foreign_uid, APPLIED),
        status("b", &uid, APPLIED),
        status("missing", &uid, APPLIED),
        status("a", "no uid", APPLIED),
        status("a", &uid, "{\"conditions\":\"no\"}"),
        status("a", &uid, APPLIED),
    ];
    agent.say(Say::Statuses(WorkStatusBatch { statuses })).await;
    eventually("the status is written", async || {
        conditions(&hub, "east", "a") == 1
    })
    .await;
    assert_eq!(
        (conditions(&hub, "east", "b"), conditions(&hub, "west", "a")),
        (0, 0),
        "P6"
    );
    assert_eq!(
        hub.metric("agent_rejected_total{reason=\"status_other_uid\"}"),
        3
    );
    assert_eq!(
        hub.metric("agent_rejected_total{reason=\"status_unknown_work\"}"),
        1
    );
    assert_eq!(
        hub.metric("agent_rejected_total{reason=\"status_malformed\"}"),
        1
    );

    // The same once more writes nothing (P13).
    let before = hub.store.revision();
    agent
        .say(Say::Statuses(WorkStatusBatch {
            statuses: vec![status("a", &uid, APPLIED)],
        }))
        .await;
    eventually("the second status is counted", async || {
        hub.metric("agent_statuses_total") == 2
    })
    .await;
    assert_eq!(hub.store.fresh().await.unwrap(), before);
    agent.until_granted(1).await;
}

/// A session begins with what the hub has, and costs nothing when that is what the agent would say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_are_compared_by_digests() {
    let hub = Hub::start().await;
    let (east, _west) = (hub.member("east").await, hub.member("west").await);
    let uid = hub.work("east", "a").await.metadata.uid.unwrap();
    hub.work("east", "silent").await;
    hub.work("west", "a").await;
    let (agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    let statuses = vec![status("a", &uid, APPLIED)];
    agent.say(Say::Statuses(WorkStatusBatch { statuses })).await;
    eventually("the status is written", async || {
        conditions(&hub, "east", "a") == 1
    })
    .await;

    let hello = |digest: Vec<u8>| {
        Say::Hello(Hello {
            cluster_uid: east.uid.clone(),
            statuses_digest: digest.into(),
            ..Hello::default()
        })
    };
    let mut agent = Agent::attach_saying(&hub, &east, hello(vec![0; 32]))
        .await
        .unwrap();
    let Some(Hear::Welcome(welcome)) = agent.hear().await.unwrap() else {
        panic!("no welcome");
    };
    assert_eq!(welcome.statuses(), Statuses::Follow);
    let mut known = Vec::new();
    loop {
        match agent.hear().await.unwrap() {
            Some(Hear::StatusDigests(said)) => {
                known.extend(said.digests);
                if said.last {
                    break;
                }
            }
            other => panic!("not the digests: {other:?}"),
        }
    }
    // Its own works that have a status, and as the agent would digest it: sorted, whatever the times.
    let names: Vec<_> = known
        .iter()
        .map(|d| (d.name.as_str(), d.uid.as_str()))
        .collect();
    assert_eq!(names, [("a", uid.as_str())]);
    let said: serde_json::Value = serde_json::from_str(&APPLIED.replace("2026", "2027")).unwrap();
    let digest = koinon_proto::status_digest(said.to_string().as_bytes());
    assert_eq!(known[0].digest[..], digest);

    let all = koinon_proto::statuses_digest([("a", uid.as_str(), digest)]);
    let mut agent = Agent::attach_saying(&hub, &east, hello(all.to_vec()))
        .await
        .unwrap();
    let Some(Hear::Welcome(welcome)) = agent.hear().await.unwrap() else {
        panic!("no welcome");
    };
    assert_eq!(welcome.statuses(), Statuses::Known);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_with_too_many_parts_ends_the_session() {
    let hub = Hub::start().await;
    let east = hub.member("east").await;
    let (mut agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    let statuses = (0..300)
        .map(|i| status(&format!("w{i}"), "u", "{}"))
        .collect();
    agent.say(Say::Statuses(WorkStatusBatch { statuses })).await;
    assert_eq!(
        agent.end().await.unwrap_err().code(),
        tonic::Code::InvalidArgument
    );
}

/// P12: `east` never reads. The hub keeps names for it, and `west` hears as if it were alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_agent_slows_nobody_and_hears_late_what_is_true_then() {
    let hub = Hub::start().await;
    let (east, west) = (hub.member("east").await, hub.member("west").await);
    const WORKS: usize = 300;
    // Long names: what is told of all works does not fit into the agent's window.
    let name = |i: usize| format!("{}-{i:03}", "w".repeat(200));
    let (mut slow, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    let (mut quick, _) = Agent::welcomed(&hub, &west, &[]).await.unwrap();
    let creations = (0..WORKS).map(|i| {
        let hub = &hub;
        async move { hub.work("east", &name(i)).await }
    });
    futures::future::join_all(creations).await;
    for value in 2..5 {
        let changes = (0..WORKS).map(|i| {
            let hub = &hub;
            let name = name(i);
            async move {
                let change = |found: &mut ManifestWork| {
                    found.spec = work("east", &name, &value.to_string()).spec;
                    true
                };
                hub.client.modify("east", &name, change).await.unwrap();
            }
        });
        futures::future::join_all(changes).await;
        let name = format!("q{value}");
        hub.work("west", &name).await;
        quick.notice_of(&name).await;
    }
    let mut generations = std::collections::BTreeMap::new();
    let mut told = 0;
    while generations
        .values()
        .filter(|generation| **generation == 4)
        .count()
        < WORKS
    {
        let batch = slow
            .hear_until(|body| {
                if let Hear::Notices(n) = body {
                    Some(n.notices)
                } else {
                    None
                }
            })
            .await;
        told += batch.len();
        generations.extend(
            batch
                .into_iter()
                .map(|notice| (notice.name, notice.generation)),
        );
    }
    assert!(told < WORKS * 4, "{told} notices: they coalesce");
}
