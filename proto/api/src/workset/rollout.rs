//! How a change reaches the clusters of a placement: at once, in steps, or group by group.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a change reaches the clusters.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStrategy {
    /// All: every cluster at once. Progressive: some at a time. ProgressivePerGroup: one group of decisions after the other.
    #[serde(default, rename = "type")]
    pub type_: RolloutType,
    /// Settings for All.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<RolloutAll>,
    /// Settings for Progressive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progressive: Option<RolloutProgressive>,
    /// Settings for ProgressivePerGroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progressive_per_group: Option<RolloutProgressivePerGroup>,
}

/// The strategy of a reference that names none.
pub(super) fn all() -> RolloutStrategy {
    RolloutStrategy {
        type_: RolloutType::All,
        all: Some(RolloutAll {
            progress_deadline: Some("None".to_owned()),
            ..RolloutAll::default()
        }),
        ..RolloutStrategy::default()
    }
}

/// The kinds of rollout.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RolloutType {
    #[default]
    All,
    Progressive,
    ProgressivePerGroup,
}

/// Settings for a rollout to every cluster at once.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutAll {
    /// For how long a cluster must stay well before the rollout goes on, like 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "0"))]
    pub min_success_time: Option<String>,
    /// For how long a cluster may take, like 10m, or None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(([0-9])+[h|m|s])|None$"), extend("default" = "None"))]
    pub progress_deadline: Option<String>,
    /// How many clusters may fail before the rollout stops, as a number or a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 0, "pattern" = "^((100|[0-9]{1,2})%|[0-9]+)$", "minimum" = i32::MIN, "maximum" = i32::MAX))]
    pub max_failures: Option<IntOrString>,
}

/// Settings for a rollout to some clusters at a time.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutProgressive {
    /// For how long a cluster must stay well before the rollout goes on, like 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "0"))]
    pub min_success_time: Option<String>,
    /// For how long a cluster may take, like 10m, or None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(([0-9])+[h|m|s])|None$"), extend("default" = "None"))]
    pub progress_deadline: Option<String>,
    /// How many clusters may fail before the rollout stops, as a number or a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 0, "pattern" = "^((100|[0-9]{1,2})%|[0-9]+)$", "minimum" = i32::MIN, "maximum" = i32::MAX))]
    pub max_failures: Option<IntOrString>,
    /// Groups that must have succeeded before the others begin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mandatory_decision_groups: Vec<MandatoryDecisionGroup>,
    /// Most clusters that change at the same time, as a number or a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^((100|[1-9][0-9]{0,1})%|[1-9][0-9]*)$", "minimum" = i32::MIN, "maximum" = i32::MAX))]
    pub max_concurrency: Option<IntOrString>,
}

/// Settings for a rollout group by group.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutProgressivePerGroup {
    /// For how long a cluster must stay well before the rollout goes on, like 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "0"))]
    pub min_success_time: Option<String>,
    /// For how long a cluster may take, like 10m, or None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(([0-9])+[h|m|s])|None$"), extend("default" = "None"))]
    pub progress_deadline: Option<String>,
    /// How many clusters may fail before the rollout stops, as a number or a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 0, "pattern" = "^((100|[0-9]{1,2})%|[0-9]+)$", "minimum" = i32::MIN, "maximum" = i32::MAX))]
    pub max_failures: Option<IntOrString>,
    /// Groups that must have succeeded before the others begin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mandatory_decision_groups: Vec<MandatoryDecisionGroup>,
}

/// A group that must have succeeded first, by name or by index.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MandatoryDecisionGroup {
    /// Name of the group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group_name: String,
    /// Position of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_index: Option<i32>,
}
