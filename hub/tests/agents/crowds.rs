//! Too many connections: of nobody, and of one agent. Attacks P12.

use koinon_proto::{
    CHUNK,
    v1::{PullChunk, PullRequest, WorkRef, session_client::SessionClient},
};
use tokio::net::TcpStream;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::support::{Agent, Hub, eventually, many_files, work};

/// Thousands connect and say nothing, or begin a handshake and leave it at that: agents come in and stay (P12).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_keep_no_agent_out() {
    let hub = Hub::start().await;
    let east = hub.member("east").await;
    let west = hub.member("west").await;
    let (mut agent, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    let mut held = Vec::new();
    for n in 0..many_files(5000) {
        let tcp = TcpStream::connect(hub.address()).await.unwrap();
        if n % 8 == 0 {
            tcp.writable().await.unwrap();
            let _ = tcp.try_write(&hub.client_hello());
        }
        held.push(tcp);
    }
    let (mut other, _) = Agent::welcomed(&hub, &west, &[]).await.unwrap();
    agent.until_granted(1).await;
    other.until_granted(1).await;
}

/// A compromised agent opens one connection after the other: it loses its own, and nobody else theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_hoards_connections_loses_its_own() {
    let hub = Hub::start().await;
    let (east, west) = (hub.member("east").await, hub.member("west").await);
    let (mut honest, _) = Agent::welcomed(&hub, &west, &[]).await.unwrap();
    let (mut first, _) = Agent::welcomed(&hub, &east, &[]).await.unwrap();
    let mut hoard = Vec::new();
    // The port takes 256.
    for _ in 0..300 {
        hoard.push(hub.connect(Some(&east)).await);
    }
    assert!(first.end().await.is_err(), "the oldest one is cut off");
    honest.until_granted(1).await;
}

type Calls = SessionClient<Channel>;

async fn pull(calls: &mut Calls, works: Vec<WorkRef>) -> Result<Streaming<PullChunk>, Status> {
    let request = PullRequest { works };
    Ok(calls.pull(request).await?.into_inner())
}

async fn read(mut pulled: Streaming<PullChunk>) -> Vec<PullChunk> {
    let mut chunks = Vec::new();
    while let Some(chunk) = pulled.message().await.unwrap() {
        chunks.push(chunk);
    }
    chunks
}

/// A compromised agent asks for more bodies than the hub has places for, and reads none: the others still get theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_hoards_pulls_keeps_nobody_from_theirs() {
    let hub = Hub::start().await;
    let (east, west) = (hub.member("east").await, hub.member("west").await);
    let mut works = Vec::new();
    for (cluster, name, bytes) in [
        ("east", "large", CHUNK * 2),
        ("east", "small", 4096),
        ("west", "large", CHUNK * 2),
    ] {
        let wanted = work(cluster, name, &"x".repeat(bytes));
        let uid = hub.client.create(&wanted).await.unwrap().metadata.uid;
        works.push(WorkRef {
            name: name.to_owned(),
            uid: uid.unwrap(),
            digest: hub.digest(cluster, name),
        });
    }
    let [large, small, other] = <[WorkRef; 3]>::try_from(works).unwrap();
    let [mut thief, mut thief_again, mut honest] = [
        hub.connect(Some(&east)).await,
        hub.connect(Some(&east)).await,
        hub.connect(Some(&west)).await,
    ]
    .map(SessionClient::new);

    let (mut held, mut refused) = (Vec::new(), 0);
    for _ in 0..200 {
        match pull(&mut thief, vec![large.clone()]).await {
            Ok(stream) => held.push(stream),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                refused += 1;
            }
        }
    }
    assert_eq!((held.len(), refused), (4, 196));
    let theirs = read(pull(&mut honest, vec![other]).await.unwrap()).await;
    assert!(theirs.len() >= 3 && theirs.last().unwrap().last);

    // What takes no place: one small work however often it is named, and what is not sent at all. On a connection of its own: what
    // is not read fills the window of the first.
    let again = read(pull(&mut thief_again, vec![small; 256]).await.unwrap()).await;
    assert!(again.len() == 1 && again[0].last && !again[0].gone);
    let stale = WorkRef {
        digest: vec![0; 32].into(),
        ..large.clone()
    };
    assert!(read(pull(&mut thief_again, vec![stale]).await.unwrap()).await[0].gone);

    // It gets on with its own once it reads.
    drop(held);
    eventually("a place is free", async || {
        match pull(&mut thief_again, vec![large.clone()]).await {
            Ok(stream) => read(stream).await.len() >= 3,
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                false
            }
        }
    })
    .await;
}
