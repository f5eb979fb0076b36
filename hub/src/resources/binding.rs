//! `ManagedClusterSetBinding`: lets a namespace's placements use a set.

use koinon_api::ManagedClusterSetBinding;
use koinon_machinery::{ApiError, Object, ResourceInfo, Result};
use serde_json::Value;

use crate::registry::{Admission, Strategy};

#[derive(Debug)]
pub(super) struct Binding;

impl Strategy for Binding {
    fn info(&self) -> ResourceInfo {
        super::custom::<ManagedClusterSetBinding>()
    }

    fn prepare_create(&self, object: &mut Object, _: &mut Admission<'_>) -> Result<()> {
        named_like_its_set(object)
    }

    fn prepare_update(&self, object: &mut Object, _: &Object, _: &mut Admission<'_>) -> Result<()> {
        named_like_its_set(object)
    }
}

/// OCM's webhook, word for word. A missing set is the schema's matter.
fn named_like_its_set(object: &Object) -> Result<()> {
    match object.at(&["spec", "clusterSet"]) {
        Some(Value::String(set)) if set != object.name() => Err(ApiError::bad_request(
            "The ManagedClusterSetBinding must have the same name as the target ManagedClusterSet",
        )),
        _ => Ok(()),
    }
}
