//! `ManagedCluster`, its sets and their bindings, and `ClusterClaim`.

mod set;

pub use set::{
    ManagedClusterSelector, ManagedClusterSet, ManagedClusterSetBinding,
    ManagedClusterSetBindingSpec, ManagedClusterSetBindingStatus, ManagedClusterSetSpec,
    ManagedClusterSetStatus, ManagedNamespaceConfig, SelectorType,
};

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time},
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    kind::root_schema,
    schema::{self, Conditions},
};

/// How a cluster is to be treated: accepted or not, lease, taints.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "cluster.open-cluster-management.io",
    version = "v1",
    kind = "ManagedCluster",
    status = "ManagedClusterStatus",
    shortname = "mcl",
    shortname = "mcls",
    derive = "PartialEq",
    derive = "Default",
    schema = "manual",
    printcolumn(
        name = "Hub Accepted",
        type_ = "boolean",
        json_path = ".spec.hubAcceptsClient"
    ),
    printcolumn(
        name = "Managed Cluster URLs",
        type_ = "string",
        json_path = ".spec.managedClusterClientConfigs[*].url"
    ),
    printcolumn(
        name = "Joined",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="ManagedClusterJoined")].status"#
    ),
    printcolumn(
        name = "Available",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="ManagedClusterConditionAvailable")].status"#
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ManagedClusterSpec {
    /// Whether the hub lets this cluster's agent in. An agent asks to join; an admin sets this to accept it, or back to
    /// false to shut it out.
    #[serde(default)]
    pub hub_accepts_client: bool,
    /// How often the agent renews its lease, in seconds. The cluster counts as lost after five times this.
    #[serde(default = "lease_duration_seconds")]
    pub lease_duration_seconds: i32,
    /// Where the cluster's API server can be reached, for people and tools. The hub itself never connects to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managed_cluster_client_configs: Vec<ClientConfig>,
    /// Marks that keep placements away from this cluster unless they tolerate them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
}

root_schema!(ManagedCluster, "A member cluster, as the hub knows it. It is also the cluster's own handle: the namespace of the same name holds its works.", spec: ManagedClusterSpec, required: &["spec"], status: ManagedClusterStatus);

fn lease_duration_seconds() -> i32 {
    60
}

/// An address of a member cluster's API server.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClientConfig {
    /// URL of the API server; its scheme is https.
    pub url: String,
    /// Certificates that sign the API server's, PEM, base64-encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Base64>")]
    pub ca_bundle: Option<ByteString>,
}

#[derive(JsonSchema)]
#[schemars(inline, extend("format" = "byte"))]
struct Base64(#[allow(dead_code)] String);

/// A mark on a cluster that placements have to tolerate.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// Name of the taint, with an optional prefix, like example.com/maintenance.
    #[schemars(
        length(max = 316),
        regex(
            pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
        )
    )]
    pub key: String,
    /// Value of the taint.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub value: String,
    /// What the taint does to placements that do not tolerate it: NoSelect, PreferNoSelect or NoSelectIfNew.
    pub effect: TaintEffect,
    /// When the taint was put on; set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub time_added: Option<Time>,
}

/// What a taint does to placements that do not tolerate it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaintEffect {
    NoSelect,
    PreferNoSelect,
    NoSelectIfNew,
}

/// What was observed of a cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ManagedClusterStatus {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Conditions,
    /// What all nodes of the cluster have together, by resource name.
    #[serde(
        default,
        deserialize_with = "crate::meta::quantities",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    #[schemars(schema_with = "schema::quantities")]
    pub capacity: BTreeMap<String, Quantity>,
    /// What the schedulable nodes offer to pods, by resource name.
    #[serde(
        default,
        deserialize_with = "crate::meta::quantities",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    #[schemars(schema_with = "schema::quantities")]
    pub allocatable: BTreeMap<String, Quantity>,
    /// Versions running in the cluster.
    #[serde(default, skip_serializing_if = "crate::meta::is_zero")]
    pub version: ManagedClusterVersion,
    /// What the cluster says of itself, from its ClusterClaims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_claims: Vec<ManagedClusterClaim>,
    /// Namespaces that cluster sets want in this cluster, and how they fared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["clusterSet", "name"]))]
    pub managed_namespaces: Vec<ClusterSetManagedNamespace>,
}

/// Versions running in a cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ManagedClusterVersion {
    /// Version of Kubernetes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kubernetes: String,
}

/// One claim of a cluster about itself.
#[derive(
    JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord,
)]
#[serde(rename_all = "camelCase")]
pub struct ManagedClusterClaim {
    /// Name of the claim.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Value of the claim.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

/// A namespace wanted by a cluster set in each of its clusters.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSetManagedNamespace {
    /// Name of the namespace.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The set that wants it.
    pub cluster_set: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Conditions,
}

/// What the cluster says of itself.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "cluster.open-cluster-management.io",
    version = "v1alpha1",
    kind = "ClusterClaim",
    derive = "PartialEq",
    derive = "Default",
    schema = "manual"
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterClaimSpec {
    /// Value of the claim.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

root_schema!(ClusterClaim, "Something that a member cluster says of itself, like its region. It lives in the member cluster; its agent reports it to the hub.", spec: ClusterClaimSpec, required: &["spec"]);
