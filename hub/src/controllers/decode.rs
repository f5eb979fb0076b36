//! Stored objects as types, or as much of them as is needed.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, OwnerReference, Time};
use koinon_store::Stored;
use kube::Resource;
use serde::{Deserialize, de::DeserializeOwned};

/// The whole object. What cannot be read is reported and treated as if it did not exist: one malformed object must
/// not stop the others.
pub(super) fn typed<K>(stored: &Stored) -> Option<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let mut json = Vec::new();
    stored.render_into(&mut json, &K::api_version(&()), &K::kind(&()));
    readable(stored, serde_json::from_slice(&json))
}

/// An object as it is after a change.
#[derive(Debug)]
pub(super) enum Read<K> {
    /// It does not exist any more.
    Gone,
    Known(K),
    /// It exists, and the type cannot hold it: that is no deletion (P3). With the reason.
    Unreadable(String),
}

/// The whole object, for whoever must tell one that cannot be read from one that is gone.
pub(super) fn read<K>(after: Option<&Stored>) -> Read<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let Some(stored) = after else {
        return Read::Gone;
    };
    let mut json = Vec::new();
    stored.render_into(&mut json, &K::api_version(&()), &K::kind(&()));
    match serde_json::from_slice(&json) {
        Ok(known) => Read::Known(known),
        Err(error) => {
            tracing::error!(resource = %stored.key, %error, "cannot read a stored object; what was known of it stays");
            Read::Unreadable(error.to_string())
        }
    }
}

/// The part of the metadata that controllers look at.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    pub(super) creation_timestamp: Option<Time>,
    pub(super) deletion_timestamp: Option<Time>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) finalizers: Vec<String>,
    pub(super) owner_references: Vec<OwnerReference>,
}

impl Meta {
    pub(super) fn of(stored: &Stored) -> Self {
        readable(stored, serde_json::from_slice(&stored.metadata)).unwrap_or_default()
    }

    pub(super) fn deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    pub(super) fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|have| have == finalizer)
    }
}

/// The conditions in the status.
pub(super) fn conditions(stored: &Stored) -> Vec<Condition> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Status {
        conditions: Vec<Condition>,
    }
    if stored.status.is_empty() {
        return Vec::new();
    }
    readable::<Status>(stored, serde_json::from_slice(&stored.status))
        .unwrap_or_default()
        .conditions
}

fn readable<T>(stored: &Stored, read: Result<T, serde_json::Error>) -> Option<T> {
    read.inspect_err(|error| tracing::error!(resource = %stored.key, %error, "cannot read a stored object; it is ignored"))
        .ok()
}

/// The uid of an object that came from the registry; empty for one that did not.
pub(super) fn uid(meta: &ObjectMeta) -> &str {
    meta.uid.as_deref().unwrap_or_default()
}
