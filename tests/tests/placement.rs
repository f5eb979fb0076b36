//! Placing a workload as a user does, with `kubectl` and YAML, and watching it follow.

use std::time::Duration;

use anyhow::ensure;
use koinon_tests::{League, eventually, league::condition, stays, yaml::APPS};
use serde_json::Value;

const CLUSTERS: [&str; 3] = ["east", "standby", "west"];

const WORKLOAD: &str = "
apiVersion: cluster.open-cluster-management.io/v1beta1
kind: Placement
metadata: {name: prod, namespace: apps}
spec:
  numberOfClusters: 2
  predicates:
  - requiredClusterSelector:
      labelSelector: {matchLabels: {tier: prod}}
---
apiVersion: work.open-cluster-management.io/v1alpha1
kind: ManifestWorkReplicaSet
metadata: {name: web, namespace: apps}
spec:
  placementRefs: [{name: prod}]
  manifestWorkTemplate:
    workload:
      manifests:
      - {apiVersion: v1, kind: Namespace, metadata: {name: web}}
      - apiVersion: v1
        kind: ConfigMap
        metadata: {name: settings, namespace: web}
        data: {greeting: hello}
";

#[tokio::test]
async fn a_workload_follows_its_placement() -> anyhow::Result<()> {
    let league = League::start().clusters(CLUSTERS).await?;
    let kubectl = league.kubectl();
    kubectl.apply(APPS).await?;
    for cluster in ["east", "west"] {
        kubectl
            .run(&["label", "managedcluster", cluster, "tier=prod"])
            .await?;
    }
    kubectl.apply(WORKLOAD).await?;
    runs_in(&league, &["east", "west"], "hello").await?;
    reported(&league).await?;

    template_reaches_the_members(&league).await?;
    label_moves_the_workload(&league).await?;
    wrong_spec_moves_nothing(&league).await?;
    fewer_clusters_remove_the_surplus(&league).await?;
    deleted_set_leaves_nothing_behind(&league).await?;
    league.finish();
    Ok(())
}

/// Waits until exactly these clusters have the config map, with this greeting.
async fn runs_in(league: &League, clusters: &[&str], greeting: &str) -> anyhow::Result<()> {
    eventually(&format!("the workload runs in {clusters:?}"), async || {
        for cluster in CLUSTERS {
            let found = greeting_of(league, cluster).await;
            let expected = clusters.contains(&cluster).then_some(greeting);
            ensure!(found.as_deref() == expected, "{cluster} has {found:?}");
        }
        Ok(Some(()))
    })
    .await
}

async fn greeting_of(league: &League, cluster: &str) -> Option<String> {
    let kubectl = league.member_kubectl(cluster);
    let map = kubectl
        .json(&["get", "configmap", "settings", "-n", "web"])
        .await
        .ok()?;
    if !map["metadata"]["deletionTimestamp"].is_null() {
        return None;
    }
    map["data"]["greeting"].as_str().map(str::to_owned)
}

/// Decisions, conditions and summary say what is so.
async fn reported(league: &League) -> anyhow::Result<()> {
    let kubectl = league.kubectl();
    for wait in [
        [
            "wait",
            "--for=condition=PlacementSatisfied",
            "placement/prod",
            "-n",
            "apps",
            "--timeout=60s",
        ],
        [
            "wait",
            "--for=condition=ManifestworkApplied",
            "manifestworkreplicaset/web",
            "-n",
            "apps",
            "--timeout=60s",
        ],
        [
            "wait",
            "--for=condition=PlacementRolledOut",
            "manifestworkreplicaset/web",
            "-n",
            "apps",
            "--timeout=60s",
        ],
    ] {
        kubectl.run(&wait).await?;
    }
    let set = kubectl
        .json(&["get", "manifestworkreplicaset", "web", "-n", "apps"])
        .await?;
    ensure!(
        set["status"]["summary"]["available"] == 2,
        "{}",
        set["status"]
    );
    let decision = kubectl
        .json(&["get", "placementdecision", "prod-decision-1", "-n", "apps"])
        .await?;
    let names: Vec<&str> = decisions(&decision)
        .filter_map(|one| one["clusterName"].as_str())
        .collect();
    ensure!(names == ["east", "west"], "{decision}");
    let table = kubectl.run(&["get", "placements", "-n", "apps"]).await?;
    ensure!(table.contains("AllDecisionsScheduled"), "{table}");
    Ok(())
}

fn decisions(object: &Value) -> impl Iterator<Item = &Value> {
    object["status"]["decisions"]
        .as_array()
        .into_iter()
        .flatten()
}

async fn template_reaches_the_members(league: &League) -> anyhow::Result<()> {
    league
        .kubectl()
        .apply(&WORKLOAD.replace("hello", "salve"))
        .await?;
    runs_in(league, &["east", "west"], "salve").await
}

/// A cluster that stops matching loses the workload, one that begins to match gets it.
async fn label_moves_the_workload(league: &League) -> anyhow::Result<()> {
    let kubectl = league.kubectl();
    kubectl
        .run(&["label", "managedcluster", "standby", "tier=prod"])
        .await?;
    kubectl
        .run(&["label", "managedcluster", "east", "tier-"])
        .await?;
    runs_in(league, &["standby", "west"], "salve").await
}

/// A mistake in the spec is reported and takes nothing down.
async fn wrong_spec_moves_nothing(league: &League) -> anyhow::Result<()> {
    let kubectl = league.kubectl();
    let patch = async |spec: &str| {
        kubectl
            .run(&[
                "patch",
                "placement",
                "prod",
                "-n",
                "apps",
                "--type=merge",
                "-p",
                &format!(r#"{{"spec":{{"prioritizerPolicy":{spec}}}}}"#),
            ])
            .await
    };
    patch(r#"{"mode":"Fancy"}"#).await?;
    eventually("the mistake is reported", async || {
        let placement = kubectl
            .json(&["get", "placement", "prod", "-n", "apps"])
            .await?;
        ensure!(
            condition(&placement, "PlacementMisconfigured") == "True",
            "{}",
            placement["status"]
        );
        Ok(Some(()))
    })
    .await?;
    stays("the workload stays", Duration::from_secs(3), async || {
        for cluster in ["standby", "west"] {
            ensure!(
                greeting_of(league, cluster).await.as_deref() == Some("salve"),
                "{cluster} has lost it"
            );
        }
        Ok(true)
    })
    .await?;
    patch("null").await?;
    Ok(())
}

async fn fewer_clusters_remove_the_surplus(league: &League) -> anyhow::Result<()> {
    let patch = r#"{"spec":{"numberOfClusters":1}}"#;
    let kubectl = league.kubectl();
    kubectl
        .run(&[
            "patch",
            "placement",
            "prod",
            "-n",
            "apps",
            "--type=merge",
            "-p",
            patch,
        ])
        .await?;
    runs_in(league, &["standby"], "salve").await
}

async fn deleted_set_leaves_nothing_behind(league: &League) -> anyhow::Result<()> {
    let kubectl = league.kubectl();
    kubectl
        .run(&["delete", "manifestworkreplicaset", "web", "-n", "apps"])
        .await?;
    runs_in(league, &[], "").await?;
    eventually("no work is left on the hub", async || {
        let works = kubectl.json(&["get", "manifestworks", "-A"]).await?;
        Ok(works["items"]
            .as_array()
            .is_some_and(Vec::is_empty)
            .then_some(()))
    })
    .await
}
