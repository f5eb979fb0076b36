//! A member cluster is lost for real: its workload moves, it returns, is cleaned up, and is chosen again.
//! Attacks P3 (what is removed), P8 (what an agent does alone) and the first parts of P10 and P11.

use std::time::Duration;

use anyhow::ensure;
use koinon_tests::{League, eventually, league::condition, stays, yaml::APPS};

const CLUSTERS: [&str; 3] = ["east", "standby", "west"];
/// Longer than the grace of five leases of two seconds.
const OUTAGE: Duration = Duration::from_secs(12);
const MANAGED: &str = "/apis/cluster.open-cluster-management.io/v1/managedclusters";

const WORKLOAD: &str = "
apiVersion: cluster.open-cluster-management.io/v1beta1
kind: Placement
metadata: {name: prod, namespace: apps}
spec: {numberOfClusters: 2}
---
apiVersion: work.open-cluster-management.io/v1alpha1
kind: ManifestWorkReplicaSet
metadata: {name: web, namespace: apps}
spec:
  placementRefs: [{name: prod}]
  manifestWorkTemplate:
    workload:
      manifests:
      - {apiVersion: v1, kind: ConfigMap, metadata: {name: web, namespace: default}, data: {k: v}}
";

#[tokio::test]
async fn a_lost_cluster_is_replaced_and_cleaned_up_when_it_returns() -> anyhow::Result<()> {
    let mut league = League::start().lease_seconds(2).clusters(CLUSTERS).await?;
    league.kubectl().apply(&[APPS, WORKLOAD].concat()).await?;
    runs_in(&league, &["east", "standby"]).await?;

    league.lose("east");
    league.available("east", "Unknown").await?;
    tainted(&league, "east", true).await?;
    has(&league, "west", true).await?;
    has(&league, "standby", true).await?;
    decided(&league, &["standby", "west"]).await?;

    league.bring_back("east").await?;
    league.available("east", "True").await?;
    tainted(&league, "east", false).await?;
    // What the hub decided meanwhile is carried out, and nobody takes a place back.
    runs_in(&league, &["standby", "west"]).await?;
    no_tombstones(&league).await?;
    decided(&league, &["standby", "west"]).await?;

    let all = r#"{"spec":{"numberOfClusters":3}}"#;
    league
        .kubectl()
        .run(&[
            "patch",
            "placement",
            "prod",
            "-n",
            "apps",
            "--type=merge",
            "-p",
            all,
        ])
        .await?;
    runs_in(&league, &CLUSTERS).await?;

    hub_outage_moves_nothing(&mut league).await?;
    league.finish();
    Ok(())
}

/// A hub that was away longer than every lease must not take the silence of that time for a loss.
async fn hub_outage_moves_nothing(league: &mut League) -> anyhow::Result<()> {
    league.hub.kill();
    let kubectl = league.member_kubectl("east");
    stays(
        "an agent without a hub removes nothing (P8)",
        OUTAGE,
        async || {
            let map = kubectl
                .json(&["get", "configmap", "web", "-n", "default"])
                .await?;
            Ok(map["metadata"]["deletionTimestamp"].is_null())
        },
    )
    .await?;
    league.hub.restart().await?;
    stays(
        "every cluster keeps its good name",
        Duration::from_secs(4),
        async || {
            for cluster in CLUSTERS {
                let object = league.get(&format!("{MANAGED}/{cluster}")).await?;
                ensure!(
                    condition(&object, "ManagedClusterConditionAvailable") == "True",
                    "{cluster}: {}",
                    object["status"]
                );
            }
            Ok(true)
        },
    )
    .await?;
    runs_in(league, &CLUSTERS).await
}

async fn exists(league: &League, cluster: &str) -> bool {
    let map = league
        .member_kubectl(cluster)
        .json(&["get", "configmap", "web", "-n", "default"])
        .await;
    map.is_ok_and(|map| map["metadata"]["deletionTimestamp"].is_null())
}

async fn has(league: &League, cluster: &str, expected: bool) -> anyhow::Result<()> {
    eventually(
        &format!("{cluster} has the workload: {expected}"),
        async || Ok((exists(league, cluster).await == expected).then_some(())),
    )
    .await
}

async fn runs_in(league: &League, clusters: &[&str]) -> anyhow::Result<()> {
    for cluster in CLUSTERS {
        has(league, cluster, clusters.contains(&cluster)).await?;
    }
    Ok(())
}

async fn decided(league: &League, clusters: &[&str]) -> anyhow::Result<()> {
    let decision = league
        .kubectl()
        .json(&["get", "placementdecision", "prod-decision-1", "-n", "apps"])
        .await?;
    let decisions = decision["status"]["decisions"]
        .as_array()
        .into_iter()
        .flatten();
    let names: Vec<&str> = decisions
        .filter_map(|one| one["clusterName"].as_str())
        .collect();
    ensure!(names == clusters, "decided: {names:?}");
    Ok(())
}

async fn tainted(league: &League, cluster: &str, expected: bool) -> anyhow::Result<()> {
    eventually(&format!("{cluster} is tainted: {expected}"), async || {
        let object = league.get(&format!("{MANAGED}/{cluster}")).await?;
        let mut taints = object["spec"]["taints"].as_array().into_iter().flatten();
        let found =
            taints.any(|taint| taint["key"] == "cluster.open-cluster-management.io/unreachable");
        Ok((found == expected).then_some(()))
    })
    .await
}

/// Every work that was to go is gone: the agent confirmed it.
async fn no_tombstones(league: &League) -> anyhow::Result<()> {
    eventually("no work waits for its agent", async || {
        let works = league
            .kubectl()
            .json(&["get", "manifestworks", "-A"])
            .await?;
        let mut items = works["items"].as_array().into_iter().flatten();
        Ok(items
            .all(|work| work["metadata"]["deletionTimestamp"].is_null())
            .then_some(()))
    })
    .await
}
