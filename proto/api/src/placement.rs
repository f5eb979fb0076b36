//! `Placement`: which clusters a workload wants; its decisions and the scores it may ask for.

mod decision;
mod rank;
mod score;
mod spread;

pub use decision::{ClusterDecision, PlacementDecision, PlacementDecisionStatus};
pub use rank::{
    AddOnScore, PrioritizerConfig, PrioritizerPolicy, ScoreCoordinate, ScoreCoordinateType,
};
pub use score::{AddOnPlacementScore, AddOnPlacementScoreItem, AddOnPlacementScoreStatus};
pub use spread::{SpreadConstraint, SpreadPolicy, TopologyKeyType, UnsatisfiableAction};

use k8s_openapi::apimachinery::pkg::{
    apis::meta::v1::{LabelSelector, LabelSelectorRequirement, Time},
    util::intstr::IntOrString,
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    cluster::TaintEffect,
    kind::root_schema,
    schema::{self, Conditions},
};

/// Which clusters are wanted, and how many.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "cluster.open-cluster-management.io",
    version = "v1beta1",
    kind = "Placement",
    status = "PlacementStatus",
    namespaced,
    derive = "PartialEq",
    derive = "Default",
    schema = "manual",
    printcolumn(
        name = "Succeeded",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="PlacementSatisfied")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="PlacementSatisfied")].reason"#
    ),
    printcolumn(
        name = "SelectedClusters",
        type_ = "integer",
        json_path = ".status.numberOfSelectedClusters"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct PlacementSpec {
    /// Sets to choose from, among those bound to the namespace. Empty means all that are bound.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_sets: Vec<String>,
    /// How many clusters are wanted. Absent means all that match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_of_clusters: Option<i32>,
    /// Requirements on clusters; a cluster that meets one of them qualifies. Empty means all qualify.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub predicates: Vec<ClusterPredicate>,
    /// How clusters that qualify are ranked.
    #[serde(default, skip_serializing_if = "crate::meta::is_zero")]
    pub prioritizer_policy: PrioritizerPolicy,
    /// How chosen clusters are spread over topology domains.
    #[serde(default, skip_serializing_if = "crate::meta::is_zero")]
    pub spread_policy: SpreadPolicy,
    /// Taints that chosen clusters may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// How decisions are divided into groups, for rollouts in steps.
    #[serde(default, skip_serializing_if = "crate::meta::is_zero")]
    pub decision_strategy: DecisionStrategy,
    /// Order of the clusters in the decisions: ClusterName or Score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "ClusterName"))]
    pub sort_by: Option<SortBy>,
    /// How often scores alone may change decisions, like 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]+[hms]$"), extend("default" = "1m"))]
    pub score_rate_limit: Option<String>,
}

root_schema!(Placement, "Chooses clusters from the ManagedClusterSets bound to its namespace. The choice is in PlacementDecisions labelled with its name.", spec: PlacementSpec, required: &["spec"], status: PlacementStatus);

/// Order of the clusters in the decisions.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    ClusterName,
    Score,
}

/// One way for a cluster to qualify.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPredicate {
    /// What the cluster must match, all of it.
    #[serde(default, skip_serializing_if = "crate::meta::is_zero")]
    pub required_cluster_selector: ClusterSelector,
}

/// A selector of clusters by labels, claims and expressions; all must match.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSelector {
    /// Labels of the ManagedCluster.
    #[serde(default, skip_serializing_if = "crate::meta::is_zero")]
    pub label_selector: LabelSelector,
    /// Claims in the cluster's status.
    #[serde(default, skip_serializing_if = "crate::meta::is_zero")]
    pub claim_selector: ClusterClaimSelector,
    /// CEL expressions over the ManagedCluster.
    #[serde(default, skip_serializing_if = "crate::meta::is_zero")]
    pub cel_selector: ClusterCelSelector,
}

/// A selector of clusters by their claims.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterClaimSelector {
    /// Requirements on claims, all of which must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// A selector of clusters by CEL expressions.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterCelSelector {
    /// Expressions, all of which must be true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cel_expressions: Vec<String>,
}

/// A taint that chosen clusters may have.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Toleration {
    /// Key of the taint; empty with operator Exists tolerates all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(
        length(max = 316),
        regex(
            pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
        )
    )]
    pub key: String,
    /// Equal compares the value, Exists does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Equal"))]
    pub operator: Option<String>,
    /// Value of the taint, when operator is Equal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub value: String,
    /// Effect of the taint; absent matches all effects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// For how long after it was put on the taint is tolerated. Absent means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// How decisions are divided.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DecisionStrategy {
    /// How decisions are divided into groups.
    #[serde(default, skip_serializing_if = "crate::meta::is_zero")]
    pub group_strategy: GroupStrategy,
}

/// How decisions are divided into groups.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GroupStrategy {
    /// Groups with a name, filled first and in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decision_groups: Vec<DecisionGroup>,
    /// Most clusters in a group, as a number or a percentage of those chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "100%", "pattern" = r"^((100|[1-9][0-9]{0,1})%|[1-9][0-9]*)$", "minimum" = i32::MIN, "maximum" = i32::MAX))]
    pub clusters_per_decision_group: Option<IntOrString>,
}

/// A group of decisions with a name.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DecisionGroup {
    /// Name of the group, a label on its decisions.
    #[schemars(regex(pattern = r"^[a-zA-Z0-9][-A-Za-z0-9_.]{0,61}[a-zA-Z0-9]$"))]
    pub group_name: String,
    /// Which of the chosen clusters are in the group.
    pub group_cluster_selector: GroupClusterSelector,
}

/// A selector of chosen clusters by labels and claims; both must match.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GroupClusterSelector {
    /// Labels of the ManagedCluster.
    #[serde(default, skip_serializing_if = "crate::meta::is_zero")]
    pub label_selector: LabelSelector,
    /// Claims in the cluster's status.
    #[serde(default, skip_serializing_if = "crate::meta::is_zero")]
    pub claim_selector: ClusterClaimSelector,
}

/// What was decided.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlacementStatus {
    /// How many clusters were chosen.
    #[serde(default)]
    pub number_of_selected_clusters: i32,
    /// The groups of decisions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decision_groups: Vec<DecisionGroupStatus>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Conditions,
    /// When scores last changed the decisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_score_update_time: Option<Time>,
}

/// One group of decisions.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DecisionGroupStatus {
    /// Position of the group.
    #[serde(default)]
    pub decision_group_index: i32,
    /// Name of the group; empty for clusters that no named group took.
    #[serde(default)]
    pub decision_group_name: String,
    /// Names of its PlacementDecisions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<String>,
    /// How many clusters it has.
    #[serde(default, rename = "clusterCount")]
    pub clusters_count: i32,
}
