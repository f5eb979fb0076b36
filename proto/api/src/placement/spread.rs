//! How chosen clusters are spread over topology domains.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How chosen clusters are spread over topology domains.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SpreadPolicy {
    /// Constraints, all of which are to hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub spread_constraints: Vec<SpreadConstraint>,
}

/// How evenly chosen clusters are spread over the values of a label or claim.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SpreadConstraint {
    /// Name of the label or claim whose values are the domains.
    #[schemars(
        length(max = 316),
        regex(
            pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$"
        )
    )]
    pub topology_key: String,
    /// Label or Claim.
    pub topology_key_type: TopologyKeyType,
    /// By how much the numbers in two domains may differ.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub max_skew: i32,
    /// What to do when it cannot hold: DoNotSchedule or ScheduleAnyway.
    #[serde(default = "schedule_anyway")]
    pub when_unsatisfiable: UnsatisfiableAction,
}

fn one() -> i32 {
    1
}

fn schedule_anyway() -> UnsatisfiableAction {
    UnsatisfiableAction::ScheduleAnyway
}

/// What a topology key names.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopologyKeyType {
    Label,
    Claim,
}

/// What to do when a spread constraint cannot hold.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsatisfiableAction {
    DoNotSchedule,
    ScheduleAnyway,
}
