//! `ManifestWorkReplicaSet`: one work for each cluster that placements choose.

mod rollout;

pub use rollout::{
    MandatoryDecisionGroup, RolloutAll, RolloutProgressive, RolloutProgressivePerGroup,
    RolloutStrategy, RolloutType,
};

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    kind::root_schema,
    schema::{self, Conditions},
    work::ManifestWorkSpec,
};

/// What each chosen cluster is to have.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "work.open-cluster-management.io",
    version = "v1alpha1",
    kind = "ManifestWorkReplicaSet",
    status = "ManifestWorkReplicaSetStatus",
    namespaced,
    shortname = "mwrs",
    derive = "PartialEq",
    derive = "Default",
    schema = "manual",
    printcolumn(
        name = "Placement",
        type_ = "string",
        description = "Reason",
        json_path = r#".status.conditions[?(@.type=="PlacementVerified")].reason"#
    ),
    printcolumn(
        name = "Found",
        type_ = "string",
        description = "Configured",
        json_path = r#".status.conditions[?(@.type=="PlacementVerified")].status"#
    ),
    printcolumn(
        name = "ManifestWorks",
        type_ = "string",
        description = "Reason",
        json_path = r#".status.conditions[?(@.type=="ManifestworkApplied")].reason"#
    ),
    printcolumn(
        name = "Applied",
        type_ = "string",
        description = "Applied",
        json_path = r#".status.conditions[?(@.type=="ManifestworkApplied")].status"#
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["cascadeDeletionPolicy", "placementRefs"]))]
pub struct ManifestWorkReplicaSetSpec {
    /// Spec of the work that each chosen cluster gets.
    #[serde(default, skip_serializing_if = "crate::meta::is_zero")]
    pub manifest_work_template: ManifestWorkSpec,
    /// Placements of this namespace that choose the clusters.
    #[serde(default)]
    #[schemars(length(min = 1), !default)]
    pub placement_refs: Vec<LocalPlacementReference>,
    /// Background: the set goes at once and its works follow. Foreground: the set stays until its works are gone.
    #[serde(default)]
    pub cascade_deletion_policy: CascadeDeletionPolicy,
}

root_schema!(ManifestWorkReplicaSet, "Creates a ManifestWork from a template in the namespace of each cluster that its placements choose, and follows their decisions.", spec: ManifestWorkReplicaSetSpec, required: &["spec"], status: ManifestWorkReplicaSetStatus);

/// Whether a deleted set waits for its works.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CascadeDeletionPolicy {
    #[default]
    Background,
    Foreground,
}

/// A placement, and how its clusters are reached.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LocalPlacementReference {
    /// Name of the placement.
    pub name: String,
    /// In which order clusters get a change.
    #[serde(default = "rollout::all")]
    pub rollout_strategy: RolloutStrategy,
}

/// What was observed of a set.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ManifestWorkReplicaSetStatus {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Conditions,
    /// Counts of the works over all placements.
    #[serde(default)]
    pub summary: ManifestWorkReplicaSetSummary,
    /// Counts of the works for each placement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub placement_summary: Vec<PlacementSummary>,
}

/// Counts of the works for one placement.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlacementSummary {
    /// Name of the placement.
    #[serde(default)]
    pub name: String,
    /// How many groups of decisions there are, and how far they got.
    #[serde(default)]
    pub available_decision_groups: String,
    /// Counts of the works.
    #[serde(default)]
    pub summary: ManifestWorkReplicaSetSummary,
}

/// Counts of works.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ManifestWorkReplicaSetSummary {
    /// Works there are.
    #[serde(default)]
    pub total: i32,
    /// Works there should be.
    #[serde(default, skip_serializing_if = "crate::meta::is_zero")]
    pub desired_total: i32,
    /// Works that have the current template.
    #[serde(default, skip_serializing_if = "crate::meta::is_zero")]
    pub updated: i32,
    /// Works that are applied.
    #[serde(default)]
    pub applied: i32,
    /// Works that are available.
    #[serde(default)]
    pub available: i32,
    /// Works that are progressing.
    #[serde(default)]
    pub progressing: i32,
    /// Works that are degraded.
    #[serde(default)]
    pub degraded: i32,
}
