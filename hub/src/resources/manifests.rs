//! What OCM's webhook demands of manifests, for works and for the sets that make them.

use std::collections::BTreeSet;

use koinon_machinery::{ApiError, Object, Result};
use serde_json::Value;

use crate::{authz::Attributes, registry::Admission};

/// Refuses manifests that no agent could apply. `manifests` is `spec.workload.manifests`, if it is a list.
pub(super) fn admit(manifests: Option<&Value>) -> Result<()> {
    let list = match manifests {
        Some(Value::Array(list)) if !list.is_empty() => list,
        None | Some(Value::Array(_) | Value::Null) => {
            return Err(ApiError::bad_request("manifests should not be empty"));
        }
        // The schema says it better.
        Some(_) => return Ok(()),
    };
    let mut seen = BTreeSet::new();
    for manifest in list {
        let text =
            |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let metadata = |field: &str| {
            text(
                manifest
                    .get("metadata")
                    .and_then(|metadata| metadata.get(field)),
            )
        };
        let (version, kind) = (text(manifest.get("apiVersion")), text(manifest.get("kind")));
        for (field, value) in [("apiVersion", &version), ("kind", &kind)] {
            if value.is_empty() {
                return Err(ApiError::bad_request(format!(
                    "{field} must be set in manifest"
                )));
            }
        }
        if !metadata("generateName").is_empty() {
            return Err(ApiError::bad_request(
                "generateName must not be set in manifest",
            ));
        }
        let (namespace, name) = (metadata("namespace"), metadata("name"));
        if name.is_empty() {
            return Err(ApiError::bad_request("name must be set in manifest"));
        }
        if !seen.insert((
            version.clone(),
            kind.clone(),
            namespace.clone(),
            name.clone(),
        )) {
            return Err(ApiError::bad_request(format!(
                "duplicate manifest for resource {namespace}/{name} with resource type {version}.{kind}"
            )));
        }
    }
    Ok(())
}

/// Whoever names an executor, or another one, needs the right to act as it: OCM's webhook. `path` leads to it.
pub(super) fn admit_executor(
    object: &Object,
    old: Option<&Object>,
    path: &[&str],
    admission: &Admission<'_>,
) -> Result<()> {
    let Some(executor) = object.at(path) else {
        return Ok(());
    };
    if old.is_some_and(|old| old.at(path) == Some(executor)) {
        return Ok(());
    }
    let text = |field: &str| {
        let account = executor
            .get("subject")
            .and_then(|subject| subject.get("serviceAccount"));
        account
            .and_then(|account| account.get(field))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (namespace, name) = (text("namespace"), text("name"));
    let act = Attributes::of(
        "execute-as",
        "work.open-cluster-management.io",
        "manifestworks",
    )
    .named(&crate::auth::service_account::user_name(namespace, name))
    .within(object.namespace());
    if admission.access.allows(admission.user, &act) {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "user {} cannot manipulate the Manifestwork with executor {namespace}/{name} in namespace {}",
        admission.user.name,
        object.namespace()
    )))
}
