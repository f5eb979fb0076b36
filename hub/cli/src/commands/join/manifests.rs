//! The agent's manifests: those in `deploy/klusterlet`, with the settings of one cluster put in.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use koinon_api::names::ClusterName;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// Where the manifests come from, in the order in which they are applied.
const FILES: [(&str, &str); 7] = [
    (
        "namespace.yaml",
        include_str!("../../../../../deploy/klusterlet/namespace.yaml"),
    ),
    (
        "crds/appliedmanifestworks.yaml",
        include_str!("../../../../../deploy/klusterlet/crds/appliedmanifestworks.yaml"),
    ),
    (
        "crds/clusterclaims.yaml",
        include_str!("../../../../../deploy/klusterlet/crds/clusterclaims.yaml"),
    ),
    (
        "crds/workpolicies.yaml",
        include_str!("../../../../../deploy/klusterlet/crds/workpolicies.yaml"),
    ),
    (
        "rbac.yaml",
        include_str!("../../../../../deploy/klusterlet/rbac.yaml"),
    ),
    (
        "bootstrap-secret.example.yaml",
        include_str!("../../../../../deploy/klusterlet/bootstrap-secret.example.yaml"),
    ),
    (
        "deployment.yaml",
        include_str!("../../../../../deploy/klusterlet/deployment.yaml"),
    ),
];

/// Whether the agent is to run in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deployment {
    Yes,
    No,
}

/// What differs from one cluster to the next.
pub(super) struct Settings {
    pub(super) token: String,
    pub(super) hub_address: String,
    pub(super) cluster: ClusterName,
    pub(super) image: Option<String>,
    pub(super) deployment: Deployment,
}

/// Reads the manifests and puts the settings in.
///
/// # Errors
///
/// A manifest is not what it should be; a test keeps that from happening.
pub(super) fn render(settings: &Settings) -> Result<Vec<Value>> {
    let mut manifests = Vec::new();
    for (file, text) in FILES {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
            Error::caused(format!("embedded manifest {file} does not parse"), error)
        })?;
        manifests.extend(documents);
    }
    manifests.retain(|manifest| {
        manifest["kind"] != "Deployment" || settings.deployment == Deployment::Yes
    });
    for manifest in &mut manifests {
        match manifest["kind"].as_str() {
            Some("Secret") => fill_secret(manifest, settings),
            Some("Deployment") => fill_deployment(manifest, settings),
            _ => {}
        }
        label(manifest);
    }
    Ok(manifests)
}

fn fill_secret(secret: &mut Value, settings: &Settings) {
    let Settings {
        token,
        hub_address,
        cluster,
        ..
    } = settings;
    let encoded = |text: &str| BASE64_STANDARD.encode(text);
    // `data`, not `stringData`: server-side apply keeps track of what it can read back.
    if let Some(fields) = secret.as_object_mut() {
        fields.remove("stringData");
    }
    secret["data"] = json!({ "token": encoded(token), "hub-address": encoded(hub_address), "cluster-name": encoded(cluster.as_str()) });
}

fn fill_deployment(deployment: &mut Value, settings: &Settings) {
    if let Some(image) = &settings.image {
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    }
}

/// Marks an object as ours, for people who wonder where it comes from.
fn label(manifest: &mut Value) {
    let metadata = &mut manifest["metadata"];
    if metadata["labels"].is_null() {
        metadata["labels"] = Value::Object(Map::new());
    }
    metadata["labels"][koinon_api::labels::label::MANAGED_BY] = json!("koinon");
}

/// Writes manifests as one YAML text.
///
/// # Errors
///
/// A manifest cannot be written as YAML, which no JSON value should cause.
pub(super) fn to_yaml(manifests: &[Value]) -> Result<String> {
    let mut text = String::new();
    for manifest in manifests {
        text.push_str("---\n");
        text.push_str(
            &serde_saphyr::to_string(manifest)
                .map_err(|error| Error::caused("cannot write YAML", error))?,
        );
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
