//! `ManagedClusterSetBinding`: lets a namespace's placements use a set.

use koinon_api::ManagedClusterSetBinding;
use koinon_machinery::{ApiError, Object, ResourceInfo, Result, placement::admit};
use serde_json::Value;

use crate::{
    authz::Attributes,
    registry::{Admission, Strategy},
};

const GROUP: &str = "cluster.open-cluster-management.io";

#[derive(Debug)]
pub(super) struct Binding;

impl Strategy for Binding {
    fn info(&self) -> ResourceInfo {
        super::custom::<ManagedClusterSetBinding>()
    }

    fn prepare_create(&self, object: &mut Object, admission: &mut Admission<'_>) -> Result<()> {
        named_like_its_set(object)?;
        admit_bind(object, admission)
    }

    fn prepare_update(&self, object: &mut Object, _: &Object, _: &mut Admission<'_>) -> Result<()> {
        named_like_its_set(object)
    }
}

/// OCM's webhook, word for word.
fn named_like_its_set(object: &Object) -> Result<()> {
    admit::binding(object).map_or(Ok(()), |refusal| Err(ApiError::bad_request(refusal)))
}

/// Whoever makes a set usable in a namespace needs the right to `bind` it: OCM's webhook.
fn admit_bind(object: &Object, admission: &Admission<'_>) -> Result<()> {
    let set = object.at(&["spec", "clusterSet"]).and_then(Value::as_str);
    let Some(set) = set else { return Ok(()) };
    let bind = Attributes::of("create", GROUP, "managedclustersets/bind").named(set);
    if admission.access.allows(admission.user, &bind) {
        return Ok(());
    }
    let why = format!(
        "user {:?} is not allowed to bind cluster set {set:?}",
        admission.user.name
    );
    Err(super::forbidden(
        GROUP,
        "managedclustersets/bind",
        set,
        &why,
    ))
}
