//! The table of placements and what they have decided.

use jiff::Timestamp;
use koinon_api::{
    Placement, PlacementDecision,
    labels::{condition, label},
    meta,
};
use kube::ResourceExt as _;

use super::status;
use crate::{age, output::Table};

pub(super) fn table(
    placements: &[Placement],
    decisions: &[PlacementDecision],
    now: Timestamp,
) -> Table {
    let mut table = Table::new(&[
        "NAMESPACE",
        "PLACEMENT",
        "WANTED",
        "SATISFIED",
        "REASON",
        "CLUSTERS",
        "AGE",
    ]);
    for placement in placements {
        let conditions = placement
            .status
            .as_ref()
            .map_or(&[][..], |status| &status.conditions);
        let reason =
            meta::condition(conditions, condition::PLACEMENT_SATISFIED).map(|c| c.reason.clone());
        table.row([
            placement.namespace().unwrap_or_default(),
            placement.name_any(),
            placement
                .spec
                .number_of_clusters
                .map_or_else(|| "all".into(), |n| n.to_string()),
            status(conditions, condition::PLACEMENT_SATISFIED),
            reason.unwrap_or_else(|| "-".into()),
            clusters(placement, decisions).join(","),
            age::since(placement.metadata.creation_timestamp.as_ref(), now),
        ]);
    }
    table
}

fn clusters<'a>(placement: &Placement, decisions: &'a [PlacementDecision]) -> Vec<&'a str> {
    let name = placement.name_any();
    let mut clusters: Vec<&str> = decisions
        .iter()
        .filter(|decision| decision.metadata.namespace == placement.metadata.namespace)
        .filter(|decision| decision.labels().get(label::PLACEMENT) == Some(&name))
        .flat_map(|decision| decision.status.iter().flat_map(|status| &status.decisions))
        .map(|decision| decision.cluster_name.as_str())
        .collect();
    clusters.sort_unstable();
    clusters
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_placement_shows_its_own_decisions_only() {
        let placement: Placement = serde_json::from_value(json!({ "metadata": { "name": "two", "namespace": "apps" }, "spec": { "numberOfClusters": 2 } })).unwrap();
        let decision = |namespace: &str, placement: &str, clusters: &[&str]| -> PlacementDecision {
            serde_json::from_value(json!({
                "metadata": { "name": format!("{placement}-decision-1"), "namespace": namespace, "labels": { "cluster.open-cluster-management.io/placement": placement } },
                "status": { "decisions": clusters.iter().map(|name| json!({ "clusterName": name, "reason": "" })).collect::<Vec<_>>() },
            }))
            .unwrap()
        };
        let decisions = [
            decision("apps", "two", &["west", "east"]),
            decision("apps", "other", &["north"]),
            decision("other", "two", &["south"]),
        ];
        assert_eq!(
            table(&[placement], &decisions, Timestamp::UNIX_EPOCH).render(),
            "NAMESPACE   PLACEMENT   WANTED   SATISFIED   REASON   CLUSTERS    AGE\n\
             apps        two         2        -           -        east,west   -\n"
        );
    }
}
