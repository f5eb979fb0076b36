//! How single manifests of a work are treated.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ResourceIdentifier;

/// How one manifest, or those that a pattern names, is treated.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ManifestConfigOption {
    /// Which manifest this is about.
    pub resource_identifier: ResourceIdentifier,
    /// Which values of the object are reported back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feedback_rules: Vec<FeedbackRule>,
    /// How values are read: Poll now and then, or Watch the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Poll"))]
    pub feedback_scrape_type: Option<FeedbackScrapeType>,
    /// How the object is changed in the cluster. Absent means Update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_strategy: Option<UpdateStrategy>,
    /// Conditions to derive from the object, one for each condition type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["condition"]))]
    pub condition_rules: Vec<ConditionRule>,
}

/// Which values of an object are reported back.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FeedbackRule {
    /// WellKnownStatus: what is usual for the kind. JSONPaths: what jsonPaths names.
    #[serde(rename = "type")]
    pub type_: FeedbackType,
    /// The values to report, when type is JSONPaths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub json_paths: Vec<JsonPath>,
}

/// How feedback values are named.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedbackType {
    WellKnownStatus,
    #[serde(rename = "JSONPaths")]
    JsonPaths,
}

/// How feedback values are read.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedbackScrapeType {
    Poll,
    Watch,
}

/// One value to report.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct JsonPath {
    /// Name under which the value is reported.
    pub name: String,
    /// Where the value is, in kubectl's JSONPath.
    pub path: String,
    /// Version of the kind that the path is for; absent means any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
}

/// How an object is changed in the cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["type"]))]
pub struct UpdateStrategy {
    /// Update merges the manifest into the object. CreateOnly never changes it. ServerSideApply lets the API server merge.
    /// ReadOnly neither creates nor changes it.
    #[serde(default, rename = "type")]
    pub type_: UpdateStrategyType,
    /// Settings for ServerSideApply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_side_apply: Option<ServerSideApplyConfig>,
}

/// The ways to change an object.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpdateStrategyType {
    #[default]
    Update,
    CreateOnly,
    ServerSideApply,
    ReadOnly,
}

/// Settings for server-side apply.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServerSideApplyConfig {
    /// Whether to take over fields that another manager owns.
    #[serde(default, skip_serializing_if = "crate::meta::is_false")]
    pub force: bool,
    /// Name of the field manager; it begins with work-agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^work-agent"), extend("default" = "work-agent"))]
    pub field_manager: Option<String>,
    /// Fields to leave alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["condition"]))]
    pub ignore_fields: Vec<IgnoreField>,
}

/// Fields to leave alone, and when.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["condition"]))]
pub struct IgnoreField {
    /// OnSpokePresent: once the object exists. OnSpokeChange: when only these fields differ.
    #[serde(default)]
    pub condition: IgnoreFieldsCondition,
    /// The fields, as JSONPaths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub json_paths: Vec<String>,
    /// The fields, as JSON pointers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub json_pointers: Vec<String>,
    /// The fields, as jq paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jq_path_expressions: Vec<String>,
}

/// When fields are left alone.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IgnoreFieldsCondition {
    #[default]
    OnSpokePresent,
    OnSpokeChange,
}

/// A condition to derive from an object.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["condition", "type"], "x-kubernetes-validations" = [
    { "rule": "self.type != 'CEL' || self.condition != \"\"", "message": "Condition is required for CEL rules" }
]))]
pub struct ConditionRule {
    /// Type of the condition to set.
    #[serde(default)]
    #[schemars(!default)]
    pub condition: String,
    /// WellKnownConditions: what is usual for the kind. CEL: what celExpressions say.
    #[serde(rename = "type")]
    pub type_: ConditionRuleType,
    /// Expressions over the object, all of which must be true for the condition to be True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cel_expressions: Vec<String>,
    /// Message of the condition.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Expression that gives the message; it wins over message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message_expression: String,
}

/// Where a derived condition comes from.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionRuleType {
    WellKnownConditions,
    #[serde(rename = "CEL")]
    Cel,
}
