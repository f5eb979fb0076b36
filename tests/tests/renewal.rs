//! Certificates that end soon: the agent renews in time and is never missed (design §5).

use anyhow::{Context, ensure};
use koinon_tests::{League, condition, eventually};
use serde_json::{Value, json};

const CLUSTER: &str = "/apis/cluster.open-cluster-management.io/v1/managedclusters/east";
const WORKS: &str = "/apis/work.open-cluster-management.io/v1/namespaces/east/manifestworks";

#[tokio::test]
async fn certificates_are_renewed_and_nobody_notices() -> anyhow::Result<()> {
    let mut league = League::start()
        .hub_flag("--agent-certificate-ttl=1m")
        .lease_seconds(3)
        .clusters(["east"])
        .await?;
    let mut lost = None;
    let mut look = async || {
        let cluster = league.get(CLUSTER).await?;
        if condition(&cluster, "ManagedClusterConditionAvailable") != "True" {
            lost = Some(cluster);
        }
        anyhow::Ok(())
    };
    let first = certificate(&league).await?;
    eventually("the certificate is renewed", async || {
        look().await?;
        Ok((certificate(&league).await? != first).then_some(()))
    })
    .await?;
    // The session was opened with the first certificate; it goes on with the second.
    eventually("the first certificate ends the session", async || {
        look().await?;
        let (_, metrics) = league.hub.health("/metrics").await?;
        let ended = metrics.contains("agent_session_ends_total{reason=\"certificate_expired\"}");
        Ok(ended.then_some(()))
    })
    .await?;
    league.available("east", "True").await?;
    ensure!(lost.is_none(), "the cluster was lost: {lost:?}");

    // What is in the member is a whole identity: an agent started anew needs no token.
    league.site("east").agent.kill();
    league.site("east").agent.restart()?;
    apply(&league).await?;
    eventually("the work is applied", async || {
        let work = league.get(&format!("{WORKS}/shop")).await?;
        Ok((condition(&work, "Applied") == "True").then_some(()))
    })
    .await?;
    league.finish();
    Ok(())
}

/// The agent's certificate as it is kept in the member.
async fn certificate(league: &League) -> anyhow::Result<String> {
    let secret: Value = league
        .member_kubectl("east")
        .json(&[
            "-n",
            "open-cluster-management-agent",
            "get",
            "secret",
            "hub-identity",
        ])
        .await?;
    let certificate = secret["data"]["tls.crt"].as_str();
    Ok(certificate.context("no certificate")?.to_owned())
}

async fn apply(league: &League) -> anyhow::Result<()> {
    let work = json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
        "metadata": { "name": "shop", "namespace": "east" },
        "spec": { "workload": { "manifests": [
            { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } },
        ] } },
    });
    league.kubectl().apply(&work.to_string()).await?;
    Ok(())
}
