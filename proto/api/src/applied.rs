//! `AppliedManifestWork`: what a work put into a member cluster. It lives there and owns it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kind::root_schema;

/// Which work of which hub this is the record of.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "work.open-cluster-management.io",
    version = "v1",
    kind = "AppliedManifestWork",
    status = "AppliedManifestWorkStatus",
    derive = "PartialEq",
    derive = "Default",
    schema = "manual"
)]
#[serde(rename_all = "camelCase")]
pub struct AppliedManifestWorkSpec {
    /// Identifies the hub.
    pub hub_hash: String,
    /// Identifies the agent.
    #[serde(default, rename = "agentID", skip_serializing_if = "String::is_empty")]
    pub agent_id: String,
    /// Name of the ManifestWork.
    pub manifest_work_name: String,
}

root_schema!(AppliedManifestWork, "The record of a ManifestWork in the member cluster. The objects of the work are owned by it, so that deleting it deletes them.", spec: AppliedManifestWorkSpec, required: &["spec"], status: AppliedManifestWorkStatus);

/// What the work put into the cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AppliedManifestWorkStatus {
    /// The objects that were applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applied_resources: Vec<AppliedManifestResourceMeta>,
    /// When the work was first missed on the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eviction_start_time: Option<Time>,
}

/// An object that was applied.
#[derive(
    JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
#[serde(rename_all = "camelCase")]
pub struct AppliedManifestResourceMeta {
    /// API group of the object; empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// API version that it was applied with.
    pub version: String,
    /// Plural name of its kind.
    pub resource: String,
    /// Its namespace; empty for an object of the whole cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID; another UID is another object, which is left alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}
