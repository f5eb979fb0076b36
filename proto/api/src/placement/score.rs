//! `AddOnPlacementScore`: scores of a cluster that a placement may rank by.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    group,
    kind::specless_kind,
    schema::{self, Conditions},
};

specless_kind!(
    /// Scores of one cluster, in the cluster's namespace.
    AddOnPlacementScore,
    "Scores of the cluster whose namespace this is, for Placements to rank clusters by.",
    group::CLUSTER,
    "v1alpha1",
    "addonplacementscores",
    status: AddOnPlacementScoreStatus
);

/// The scores.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AddOnPlacementScoreStatus {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Conditions,
    /// The scores, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub scores: Vec<AddOnPlacementScoreItem>,
    /// Until when the scores count; afterwards they are ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,
}

/// One score.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AddOnPlacementScoreItem {
    /// Name of the score.
    pub name: String,
    /// The score, from -100 to 100; more is better.
    #[schemars(range(min = -100, max = 100))]
    pub value: i32,
}
