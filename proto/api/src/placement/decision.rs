//! `PlacementDecision`: the clusters that a placement chose.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{group, kind::specless_kind};

specless_kind!(
    /// The clusters that a placement chose, or a slice of them.
    PlacementDecision,
    "Clusters that a Placement chose. The label cluster.open-cluster-management.io/placement names the placement.",
    group::CLUSTER,
    "v1beta1",
    "placementdecisions",
    status: PlacementDecisionStatus
);

/// Which clusters were chosen.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["decisions"]))]
pub struct PlacementDecisionStatus {
    /// The chosen clusters, at most 100 in one object.
    #[serde(default)]
    pub decisions: Vec<ClusterDecision>,
}

/// One chosen cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["clusterName", "reason"]))]
pub struct ClusterDecision {
    /// Name of the ManagedCluster.
    #[serde(default)]
    pub cluster_name: String,
    /// Why it was chosen.
    #[serde(default)]
    pub reason: String,
    /// Its score when it was chosen.
    #[serde(default, skip_serializing_if = "crate::meta::is_zero")]
    pub score: i64,
}
