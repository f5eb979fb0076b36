//! What the hub and the member clusters say, read as a user would.

use std::path::Path;

use anyhow::Context;
use kube::Client;
use serde_json::Value;

use crate::{
    client::{client, get},
    demo::control::{ClusterStatus, Status},
    league::condition,
};

const CLUSTERS: &str = "/apis/cluster.open-cluster-management.io/v1/managedclusters";
const DECISIONS: &str =
    "/apis/cluster.open-cluster-management.io/v1beta1/namespaces/demo/placementdecisions";
const WORKS: &str = "/apis/work.open-cluster-management.io/v1/namespaces";

// Works of a replica set carry its namespace and name.
const OF_THE_SAMPLE: &str = "work.open-cluster-management.io%2Fmanifestworkreplicaset%3Ddemo.shop";

/// Reads the hub.
#[derive(Clone)]
pub(super) struct Look {
    hub: Client,
}

impl Look {
    pub(super) async fn at(hub_kubeconfig: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            hub: client(hub_kubeconfig).await?,
        })
    }

    /// `True`, `False`, `Unknown`, or nothing when the cluster has not joined.
    pub(super) async fn available(&self, cluster: &str) -> anyhow::Result<String> {
        let cluster = get(&self.hub, &format!("{CLUSTERS}/{cluster}")).await?;
        Ok(condition(&cluster, "ManagedClusterConditionAvailable").to_owned())
    }

    pub(super) async fn exists(&self, cluster: &str) -> bool {
        get(&self.hub, &format!("{CLUSTERS}/{cluster}"))
            .await
            .is_ok()
    }

    /// Whether the cluster has said how much memory it has: the sample's placement asks for it.
    pub(super) async fn has_capacity(&self, cluster: &str) -> anyhow::Result<bool> {
        let cluster = get(&self.hub, &format!("{CLUSTERS}/{cluster}")).await?;
        Ok(cluster["status"]["allocatable"]["memory"].is_string())
    }

    /// Whether the cluster has a taint with this key.
    pub(super) async fn tainted(&self, cluster: &str, key: &str) -> anyhow::Result<bool> {
        let cluster = get(&self.hub, &format!("{CLUSTERS}/{cluster}")).await?;
        Ok(cluster["spec"]["taints"]
            .as_array()
            .is_some_and(|taints| taints.iter().any(|taint| taint["key"] == key)))
    }

    /// The clusters that the sample's placement has chosen.
    pub(super) async fn chosen(&self) -> anyhow::Result<Vec<String>> {
        let list = get(
            &self.hub,
            &format!(
                "{DECISIONS}?labelSelector=cluster.open-cluster-management.io%2Fplacement%3Dshop"
            ),
        )
        .await?;
        let decisions = list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| item["status"]["decisions"].as_array())
            .flatten();
        let mut names: Vec<String> = decisions
            .filter_map(|decision| Some(decision["clusterName"].as_str()?.to_owned()))
            .collect();
        names.sort();
        Ok(names)
    }

    /// The sample's work for a cluster, when there is one.
    pub(super) async fn work(&self, cluster: &str) -> anyhow::Result<Option<Value>> {
        let path = format!("{WORKS}/{cluster}/manifestworks?labelSelector={OF_THE_SAMPLE}");
        let list = get(&self.hub, &path).await?;
        Ok(list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .next()
            .cloned())
    }
}

/// The replicas of the sample's Deployment that a cluster itself says are
/// available; nothing when the Deployment is not there.
pub(super) async fn runs(cluster: &ClusterStatus) -> anyhow::Result<Option<String>> {
    let member = client(&cluster.kubeconfig).await?;
    match get(&member, "/apis/apps/v1/namespaces/shop/deployments/web").await {
        Ok(web) => {
            let wanted = web["spec"]["replicas"]
                .as_i64()
                .context("a Deployment without replicas")?;
            Ok(Some(format!(
                "{}/{wanted}",
                web["status"]["availableReplicas"].as_i64().unwrap_or(0)
            )))
        }
        Err(error)
            if error.downcast_ref::<kube::Error>().is_some_and(
                |error| matches!(error, kube::Error::Api(status) if status.code == 404),
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether a cluster runs all replicas of the sample.
pub(super) async fn runs_fully(cluster: &ClusterStatus) -> anyhow::Result<bool> {
    let said = runs(cluster).await?;
    Ok(said.is_some_and(|said| {
        said.split_once('/')
            .is_some_and(|(ready, wanted)| ready == wanted)
    }))
}

/// The table of what runs where.
pub(super) async fn rows(status: &Status) -> anyhow::Result<Vec<Vec<String>>> {
    let look = Look::at(&status.hub_kubeconfig).await?;
    let chosen = look.chosen().await?;
    let head = [
        "CLUSTER",
        "AVAILABLE",
        "CHOSEN",
        "WORK ON THE HUB",
        "DEPLOYMENT shop/web IN THE CLUSTER",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for cluster in &status.clusters {
        let work = match look.work(&cluster.name).await? {
            None => "-".to_owned(),
            Some(work) if work["metadata"]["deletionTimestamp"].is_string() => {
                "to be removed when the cluster is back".to_owned()
            }
            Some(work) => format!(
                "Applied={} Available={}",
                said(&work, "Applied"),
                said(&work, "Available")
            ),
        };
        let runs = if cluster.lost {
            "cluster is down".to_owned()
        } else {
            runs(cluster).await?.map_or_else(
                || "-".to_owned(),
                |replicas| format!("{replicas} replicas available"),
            )
        };
        let yes = if chosen.contains(&cluster.name) {
            "yes"
        } else {
            "-"
        };
        rows.push(vec![
            cluster.name.clone(),
            look.available(&cluster.name).await?,
            yes.to_owned(),
            work,
            runs,
        ]);
    }
    Ok(rows)
}

fn said<'a>(work: &'a Value, kind: &str) -> &'a str {
    match condition(work, kind) {
        "" => "?",
        status => status,
    }
}
