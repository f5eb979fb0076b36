//! `ManagedClusterSet` and `ManagedClusterSetBinding`: clusters by label, and where they may be used.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    kind::root_schema,
    schema::{self, Conditions},
};

/// Which clusters a set has.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "cluster.open-cluster-management.io",
    version = "v1beta2",
    kind = "ManagedClusterSet",
    status = "ManagedClusterSetStatus",
    shortname = "mclset",
    shortname = "mclsets",
    derive = "PartialEq",
    derive = "Default",
    schema = "manual",
    printcolumn(
        name = "Empty",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="ClusterSetEmpty")].status"#
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ManagedClusterSetSpec {
    /// How clusters become members of the set.
    #[serde(default)]
    pub cluster_selector: ManagedClusterSelector,
    /// Namespaces to have in each cluster of the set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub managed_namespaces: Vec<ManagedNamespaceConfig>,
}

root_schema!(ManagedClusterSet, "A named set of clusters. A ManagedClusterSetBinding makes it usable in a namespace.", spec: ManagedClusterSetSpec, required: &[], default: json!({ "clusterSelector": { "selectorType": "ExclusiveClusterSetLabel" } }), status: ManagedClusterSetStatus);

/// How clusters become members of a set.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["selectorType"]))]
pub struct ManagedClusterSelector {
    /// ExclusiveClusterSetLabel: clusters whose label cluster.open-cluster-management.io/clusterset names the set, so a
    /// cluster is in one such set at most. LabelSelector: clusters that labelSelector matches.
    #[serde(default = "selector_type")]
    pub selector_type: SelectorType,
    /// Which clusters are members, when selectorType is LabelSelector. Absent matches none, empty matches all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
}

impl Default for ManagedClusterSelector {
    fn default() -> Self {
        Self {
            selector_type: selector_type(),
            label_selector: None,
        }
    }
}

fn selector_type() -> SelectorType {
    SelectorType::ExclusiveClusterSetLabel
}

/// How a set finds its members.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectorType {
    ExclusiveClusterSetLabel,
    LabelSelector,
}

/// A namespace to have in each cluster of a set.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ManagedNamespaceConfig {
    /// Name of the namespace.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// What was observed of a set.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ManagedClusterSetStatus {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Conditions,
}

/// Which set is bound.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "cluster.open-cluster-management.io",
    version = "v1beta2",
    kind = "ManagedClusterSetBinding",
    status = "ManagedClusterSetBindingStatus",
    namespaced,
    shortname = "mclsetbinding",
    shortname = "mclsetbindings",
    derive = "PartialEq",
    derive = "Default",
    schema = "manual"
)]
#[serde(rename_all = "camelCase")]
pub struct ManagedClusterSetBindingSpec {
    /// Name of the set to bind; it is also the name of the binding.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(min = 1))]
    pub cluster_set: String,
}

root_schema!(ManagedClusterSetBinding, "Lets placements of this namespace choose clusters of a ManagedClusterSet.", spec: ManagedClusterSetBindingSpec, required: &["spec"], status: ManagedClusterSetBindingStatus);

/// What was observed of a binding.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ManagedClusterSetBindingStatus {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Conditions,
}
