//! How clusters that qualify are ranked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How clusters that qualify are ranked.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PrioritizerPolicy {
    /// Additive: the default prioritizers count besides the configured ones. Exact: only the configured ones count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Additive"))]
    pub mode: Option<String>,
    /// Prioritizers and their weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configurations: Vec<PrioritizerConfig>,
}

/// One prioritizer and its weight.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PrioritizerConfig {
    /// Where the score comes from.
    pub score_coordinate: ScoreCoordinate,
    /// Factor of the score; negative turns it around, 0 switches it off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -10, max = 10), extend("default" = 1))]
    pub weight: Option<i32>,
}

/// Where a score comes from.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["type"]))]
pub struct ScoreCoordinate {
    /// BuiltIn or AddOn.
    #[serde(default, rename = "type")]
    pub type_: ScoreCoordinateType,
    /// Name of a built-in prioritizer: Balance, Steady, ResourceAllocatableCPU or ResourceAllocatableMemory.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub built_in: String,
    /// Which score of which AddOnPlacementScore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_on: Option<AddOnScore>,
}

/// Whether a score is built in or reported by an add-on.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScoreCoordinateType {
    #[default]
    BuiltIn,
    AddOn,
}

/// A score in an AddOnPlacementScore of the cluster's namespace.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AddOnScore {
    /// Name of the AddOnPlacementScore.
    pub resource_name: String,
    /// Name of the score in it.
    pub score_name: String,
}
