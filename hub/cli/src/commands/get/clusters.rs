//! The table of clusters.

use jiff::Timestamp;
use koinon_api::{
    ManagedCluster,
    cluster::Taint,
    labels::{condition, label},
};
use kube::ResourceExt as _;

use super::status;
use crate::{age, output::Table};

pub(super) fn table(clusters: &[ManagedCluster], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "NAME",
        "ACCEPTED",
        "JOINED",
        "AVAILABLE",
        "VERSION",
        "SET",
        "TAINTS",
        "AGE",
    ]);
    for cluster in clusters {
        let observed = cluster.status.clone().unwrap_or_default();
        table.row([
            cluster.name_any(),
            cluster.spec.hub_accepts_client.to_string(),
            status(&observed.conditions, condition::JOINED),
            status(&observed.conditions, condition::CLUSTER_AVAILABLE),
            if observed.version.kubernetes.is_empty() {
                "-".into()
            } else {
                observed.version.kubernetes
            },
            cluster
                .labels()
                .get(label::CLUSTER_SET)
                .cloned()
                .unwrap_or_default(),
            cluster
                .spec
                .taints
                .iter()
                .map(taint)
                .collect::<Vec<_>>()
                .join(","),
            age::since(cluster.metadata.creation_timestamp.as_ref(), now),
        ]);
    }
    table
}

/// A taint by its short name: `unreachable:NoSelect`.
fn taint(taint: &Taint) -> String {
    let key = taint.key.rsplit('/').next().unwrap_or(&taint.key);
    let value = if taint.value.is_empty() {
        String::new()
    } else {
        format!("={}", taint.value)
    };
    format!("{key}{value}:{:?}", taint.effect)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cluster_that_is_lost_shows_why_it_is_not_chosen() {
        let lost: ManagedCluster = serde_json::from_value(json!({
            "metadata": { "name": "east", "creationTimestamp": "2026-01-02T03:00:00Z", "labels": { "cluster.open-cluster-management.io/clusterset": "default" } },
            "spec": { "hubAcceptsClient": true, "taints": [{ "key": "cluster.open-cluster-management.io/unreachable", "effect": "NoSelect" }] },
            "status": {
                "version": { "kubernetes": "v1.33.1" },
                "conditions": [
                    { "type": "ManagedClusterJoined", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-02T03:00:00Z" },
                    { "type": "ManagedClusterConditionAvailable", "status": "Unknown", "reason": "R", "message": "", "lastTransitionTime": "2026-01-02T03:00:00Z" },
                ],
            },
        }))
        .unwrap();
        let mut new = ManagedCluster::default();
        new.metadata.name = Some("west".into());
        assert_eq!(
            table(&[lost, new], "2026-01-02T03:05:00Z".parse().unwrap()).render(),
            "NAME   ACCEPTED   JOINED   AVAILABLE   VERSION   SET       TAINTS                 AGE\n\
             east   true       True     Unknown     v1.33.1   default   unreachable:NoSelect   5m\n\
             west   false      -        -           -         <none>    <none>                 -\n"
        );
    }
}
