//! Bodies of works: with their notices or pulled, in chunks, with their labels. Attacks P6.

use koinon_api::ManifestWork;
use koinon_hub::registry::Preconditions;
use koinon_proto::{
    BODIES, CHUNK,
    v1::{Hello, PullChunk, PullRequest, WorkNotice, WorkRef, agent_message::Body as Say},
};
use koinon_store::{Change, Draft, Key};

use crate::support::{Agent, Hub, sha256, work};

pub(crate) fn reference(notice: &WorkNotice) -> WorkRef {
    WorkRef {
        name: notice.name.clone(),
        uid: notice.uid.clone(),
        digest: notice.digest.clone(),
    }
}

pub(crate) async fn pull(agent: &mut Agent, works: Vec<WorkRef>) -> Vec<PullChunk> {
    let mut stream = agent
        .calls
        .pull(PullRequest { works })
        .await
        .unwrap()
        .into_inner();
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.message().await.unwrap() {
        chunks.push(chunk);
    }
    chunks
}

/// The agent of `east`, which takes bodies with their notices.
async fn able(hub: &Hub) -> Agent {
    let east = hub.member("east").await;
    let hello = Hello {
        cluster_uid: east.uid.clone(),
        features: vec![BODIES.to_owned()],
        ..Hello::default()
    };
    let mut agent = Agent::attach_saying(hub, &east, Say::Hello(hello))
        .await
        .unwrap();
    agent.until_granted(1).await;
    agent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_come_in_chunks_and_only_from_the_own_namespace() {
    let hub = Hub::start().await;
    let (east, west) = (hub.member("east").await, hub.member("west").await);
    let large = "x".repeat(CHUNK * 2);
    let mut wanted = work("east", "large", &large);
    wanted.metadata.annotations = Some([("note".to_owned(), "here".to_owned())].into());
    hub.client.create(&wanted).await.unwrap();
    let (mut agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    let notice = agent.notice_of("large").await;
    let chunks = pull(&mut agent, vec![reference(&notice)]).await;
    assert!(chunks.len() >= 3 && chunks.iter().all(|chunk| chunk.data.len() <= CHUNK));
    assert!(chunks.last().unwrap().last && chunks.iter().filter(|chunk| chunk.last).count() == 1);
    assert_eq!(chunks[0].annotations["note"], "here");
    let body: Vec<u8> = chunks
        .iter()
        .flat_map(|chunk| chunk.data.to_vec())
        .collect();
    assert_eq!(sha256(&body)[..], notice.digest[..]);

    let stale = WorkRef {
        digest: vec![0; 32].into(),
        ..reference(&notice)
    };
    assert!(pull(&mut agent, vec![stale]).await[0].gone);
    // The other cluster knows name, uid and digest, and still gets nothing (P6).
    let (mut other, _) = Agent::welcomed(&hub, &west, &[]).await.unwrap();
    let foreign = pull(&mut other, vec![reference(&notice)]).await;
    assert!(foreign.len() == 1 && foreign[0].gone && foreign[0].data.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_bodies_that_are_new_come_with_their_notices_if_the_agent_can_take_them() {
    let hub = Hub::start().await;
    let east = hub.member("east").await;
    hub.work("east", "old").await;
    let hello = Hello {
        cluster_uid: east.uid.clone(),
        features: vec!["of a later agent".to_owned(), BODIES.to_owned()],
        ..Hello::default()
    };
    let (mut able, mut plain) = (
        Agent::attach_saying(&hub, &east, Say::Hello(hello))
            .await
            .unwrap(),
        Agent::welcomed(&hub, &hub.member("west").await, &[])
            .await
            .unwrap()
            .0,
    );
    // It may have what is told in a resync.
    assert!(able.notice_of("old").await.body.is_none());

    let mut labelled = work("east", "small", "1");
    labelled.metadata.labels = Some([("tier".to_owned(), "gold".to_owned())].into());
    hub.client.create(&labelled).await.unwrap();
    let notice = able.notice_of("small").await;
    let body = notice.body.expect("a small body that is new");
    assert_eq!(sha256(&body.data)[..], notice.digest[..]);
    assert_eq!(body.labels["tier"], "gold");

    // A directive leaves the body as it is.
    let direct = |found: &mut ManifestWork| {
        let annotations = found.metadata.annotations.get_or_insert_default();
        annotations.insert("koinon.dev/availability".to_owned(), "exists".to_owned());
        true
    };
    hub.client.modify("east", "small", direct).await.unwrap();
    let notice = able.notice_of("small").await;
    assert!(notice.body.is_none() && !notice.directives.is_empty());

    hub.client
        .create(&work("east", "large", &"x".repeat(64 * 1024)))
        .await
        .unwrap();
    assert!(able.notice_of("large").await.body.is_none());
    hub.client
        .delete::<ManifestWork>("east", "small", Preconditions::default())
        .await
        .unwrap();
    let tombstone = able.notice_of("small").await;
    assert!(tombstone.tombstone && tombstone.body.is_none());

    hub.work("west", "small").await;
    assert!(plain.notice_of("small").await.body.is_none());
}

/// A work whose labels fit into no message, as a hub without a bound for them may have stored it, is kept from its agent alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_that_fit_into_no_message_keep_no_other_work_from_its_agent() {
    let hub = Hub::start().await;
    let mut agent = able(&hub).await;

    hub.work("east", "model").await;
    agent.notice_of("model").await;
    let key = |name: &str| {
        let works = "manifestworks.work.open-cluster-management.io";
        Key::new(works, "east", name)
    };
    let model = hub.store.get(&key("model")).unwrap();
    let labels: std::collections::BTreeMap<_, _> = (0..70_000)
        .map(|n| (format!("l{n:05}"), "x".repeat(60)))
        .collect();
    let metadata = serde_json::json!({
        "name": "a", "namespace": "east", "generation": 1, "labels": labels,
        "uid": "00000000-0000-0000-0000-000000000001", "creationTimestamp": "2026-01-01T00:00:00Z",
    });
    let old = Draft {
        key: key("a"),
        uid: uuid::Uuid::from_u128(1),
        generation: 1,
        labels: labels.into(),
        metadata: metadata.to_string().into(),
        body: model.body.clone(),
        status: model.status.clone(),
    };
    hub.store.write(Change::Create(old)).await.unwrap();
    let bad = agent.notice_of("a").await;
    assert!(bad.body.is_none(), "it comes without its body");
    hub.work("east", "b").await;
    let good = agent.notice_of("b").await;
    let chunks = pull(&mut agent, vec![reference(&bad), reference(&good)]).await;
    let told: Vec<_> = chunks.iter().map(|c| (c.name.as_str(), c.gone)).collect();
    assert_eq!(told, [("a", true), ("b", false)]);

    // No further one is taken, and what is there may have fewer, if still too many.
    let mut more = work("east", "c", "1");
    more.metadata.labels = Some(
        (0..9000)
            .map(|n| (format!("l{n:05}"), "x".repeat(60)))
            .collect(),
    );
    let refused = hub.client.create(&more).await.unwrap_err();
    assert!(
        refused.message.contains("metadata.labels: Too long"),
        "{refused:?}"
    );
    let fewer = |found: &mut ManifestWork| {
        let labels = found.metadata.labels.get_or_insert_default();
        labels.retain(|key, _| key.as_str() > "l01000");
        true
    };
    hub.client.modify("east", "a", fewer).await.unwrap();

    // Without them it is told again, and comes.
    let strip = |found: &mut ManifestWork| found.metadata.labels.take().is_some();
    hub.client.modify("east", "a", strip).await.unwrap();
    let again = agent.notice_of("a").await;
    assert_eq!(again.digest, bad.digest);
    let chunks = pull(&mut agent, vec![reference(&again)]).await;
    assert!(chunks.len() == 1 && !chunks[0].gone && chunks[0].last);
}

/// Labels are in the message as bodies are, so they take of the same room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_body_with_many_labels_is_pulled() {
    let hub = Hub::start().await;
    let mut agent = able(&hub).await;
    for (name, labels, comes) in [("few", 10, true), ("many", 2000, false)] {
        let mut labelled = work("east", name, "1");
        labelled.metadata.labels = Some(
            (0..labels)
                .map(|n| (format!("l{n:05}"), "x".repeat(60)))
                .collect(),
        );
        hub.client.create(&labelled).await.unwrap();
        let notice = agent.notice_of(name).await;
        assert_eq!(notice.body.is_some(), comes, "{name}");
        let chunks = pull(&mut agent, vec![reference(&notice)]).await;
        assert_eq!(chunks[0].labels.len(), labels);
    }
}
