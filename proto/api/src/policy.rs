//! `WorkPolicy`: what works may do in a member cluster. It lives there, and the hub cannot change it.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kind::root_schema;

/// What works may do. Every policy in the cluster must allow a thing; what a policy does not mention, it allows.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "koinon.dev",
    version = "v1alpha1",
    kind = "WorkPolicy",
    derive = "PartialEq",
    derive = "Default",
    schema = "manual"
)]
#[serde(rename_all = "camelCase")]
pub struct WorkPolicySpec {
    /// Namespaces that works may touch, also as objects. May contain *. Absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<Vec<String>>,
    /// Namespaces that works may not touch. May contain *.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied_namespaces: Vec<String>,
    /// Kinds that works may touch. Absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_resources: Option<Vec<PolicyResource>>,
    /// Kinds that works may not touch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied_resources: Vec<PolicyResource>,
    /// Whether works may touch objects outside of namespaces, Namespaces themselves aside. Absent means Allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_scoped: Option<Permission>,
    /// What works may do. Absent means everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_verbs: Option<Vec<PolicyVerb>>,
    /// Images that containers of works may have. May contain *. Absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_images: Option<Vec<String>>,
    /// Public keys (PEM, ECDSA on P-256) of which one must have signed each image that containers of works have. Images are then
    /// named by their digest, and the object carries the signatures in its annotation koinon.dev/image-signatures. Absent means that
    /// nothing need be signed; none at all means that works bring no images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub allowed_signers: Option<Vec<String>>,
}

root_schema!(WorkPolicy, "What works of the hub may do in this cluster. Only people of this cluster can change it: works may not touch it.", spec: WorkPolicySpec, required: &["spec"]);

/// A kind, by group and plural name.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyResource {
    /// API group; empty for the core group. May contain *.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Plural name of the kind, like configmaps. May contain *.
    pub resource: String,
}

/// Yes or no.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    Allow,
    Deny,
}

/// What a work does to an object.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyVerb {
    /// Makes it.
    Create,
    /// Changes it.
    Update,
    /// Deletes it.
    Delete,
}
