//! Too many connections: of nobody, and of one agent. Attacks P12.

use tokio::net::TcpStream;

use crate::support::{Agent, Hub, many_files};

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
