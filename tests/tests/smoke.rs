//! The harness itself: what the journeys stand on.

use koinon_tests::{Member, Postgres, Proxy, eventually, tools};
use sqlx::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_member_cluster_runs_a_deployment_and_survives_being_killed() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut member = Member::start("east", dir.path()).await?;
    let kubectl = member.kubectl();
    kubectl
        .run(&[
            "create",
            "deployment",
            "web",
            "--image=example.com/web:1",
            "--replicas=2",
        ])
        .await?;
    kubectl
        .run(&[
            "wait",
            "--for=condition=Available",
            "deployment/web",
            "--timeout=60s",
        ])
        .await?;
    let uid = member.uid().await?;

    member.kill();
    assert!(kubectl.run(&["get", "namespaces"]).await.is_err());
    member.restart().await?;

    assert_eq!(member.uid().await?, uid);
    kubectl
        .run(&["scale", "deployment/web", "--replicas=3"])
        .await?;
    eventually("the third pod runs", async || {
        let web = kubectl.json(&["get", "deployment", "web"]).await?;
        Ok((web["status"]["availableReplicas"] == 3).then_some(()))
    })
    .await?;
    kubectl.run(&["delete", "deployment", "web"]).await?;
    eventually("the pods are collected", async || {
        let pods = kubectl.json(&["get", "pods"]).await?;
        Ok(pods["items"]
            .as_array()
            .is_some_and(Vec::is_empty)
            .then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_postgres_keeps_its_data_when_killed() -> anyhow::Result<()> {
    let mut postgres = Postgres::start().await?;
    let url = postgres.url();
    let mut connection = connect(&url).await?;
    sqlx::query("create table kept as select 7 as n")
        .execute(&mut connection)
        .await?;
    postgres.kill();
    postgres.restart().await?;
    let mut connection =
        eventually("postgres answers", async || connect(&url).await.map(Some)).await?;
    let n: i32 = sqlx::query_scalar("select n from kept")
        .fetch_one(&mut connection)
        .await?;
    assert_eq!(n, 7);
    postgres.stop().await
}

async fn connect(url: &str) -> anyhow::Result<sqlx::PgConnection> {
    Ok(sqlx::PgConnection::connect(url).await?)
}

#[tokio::test]
async fn a_proxy_stalls_cuts_and_resumes() -> anyhow::Result<()> {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let proxy = Proxy::to(server.local_addr()?).await?;
    let mut client = tokio::net::TcpStream::connect(proxy.address()).await?;
    let (mut served, _) = server.accept().await?;
    client.write_all(b"one").await?;
    let mut word = [0; 3];
    served.read_exact(&mut word).await?;
    assert_eq!(&word, b"one");

    proxy.stall();
    client.write_all(b"two").await?;
    let silence = tokio::time::timeout(
        std::time::Duration::from_millis(200),
        served.read_exact(&mut word),
    )
    .await;
    assert!(silence.is_err(), "bytes passed a stalled proxy");
    proxy.resume();
    served.read_exact(&mut word).await?;
    assert_eq!(&word, b"two");

    proxy.cut();
    assert!(matches!(client.read(&mut word).await, Ok(0) | Err(_)));
    proxy.resume();
    eventually("a new connection passes", async || {
        let mut client = tokio::net::TcpStream::connect(proxy.address()).await?;
        client.write_all(b"new").await?;
        let (mut served, _) = server.accept().await?;
        served.read_exact(&mut word).await?;
        Ok((&word == b"new").then_some(()))
    })
    .await
}

#[test]
fn set_up_has_found_every_tool() -> anyhow::Result<()> {
    for name in [
        "PG_BIN",
        "ETCD",
        "KUBECTL",
        "KUBE_APISERVER",
        "KUBE_CONTROLLER_MANAGER",
    ] {
        assert!(tools::tool(name)?.exists(), "{name}");
    }
    Ok(())
}
