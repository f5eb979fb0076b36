//! `ManagedClusterSet`: clusters under one name.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use koinon_api::ManagedClusterSet;
use koinon_machinery::{
    Cause, LabelSelector as Selector, Object, ResourceInfo, Result, placement::admit,
};

use crate::{
    authz::Attributes,
    registry::{Admission, Strategy},
};

const GROUP: &str = "cluster.open-cluster-management.io";

#[derive(Debug)]
pub(super) struct ClusterSet;

impl Strategy for ClusterSet {
    fn info(&self) -> ResourceInfo {
        super::custom::<ManagedClusterSet>()
    }

    fn prepare_create(&self, object: &mut Object, admission: &mut Admission<'_>) -> Result<()> {
        admit_selector(object, None, admission)
    }

    fn prepare_update(
        &self,
        object: &mut Object,
        old: &Object,
        admission: &mut Admission<'_>,
    ) -> Result<()> {
        admit_selector(object, Some(old), admission)
    }

    fn validate(&self, object: &Object, _: Option<&Object>) -> Vec<Cause> {
        admit::set(object)
    }
}

/// The selector of a set that selects by labels.
pub(super) fn selector(set: &Object) -> Option<Selector> {
    let spec = set.at(&["spec", "clusterSelector"])?;
    if spec.get("selectorType")? != "LabelSelector" {
        return None;
    }
    let given = spec.get("labelSelector").cloned().unwrap_or_default();
    let given: LabelSelector = serde_json::from_value(given).ok()?;
    Selector::try_from(&given).ok()
}

/// A set that selects by labels takes clusters in without asking their sets: that is the right to `join` them all.
///
/// OCM asks for nothing here; there only cluster admins change sets.
fn admit_selector(object: &Object, old: Option<&Object>, admission: &Admission<'_>) -> Result<()> {
    let selector = |object: &Object| object.at(&["spec", "clusterSelector"]).cloned();
    let new = selector(object).unwrap_or_default();
    let by_labels = new
        .get("selectorType")
        .is_some_and(|of| of == "LabelSelector");
    if !by_labels || old.is_some_and(|old| selector(old).as_ref() == Some(&new)) {
        return Ok(());
    }
    let join = Attributes::of("create", GROUP, "managedclustersets/join");
    if admission.access.allows(admission.user, &join) {
        return Ok(());
    }
    let why = format!(
        "user {:?} cannot select clusters of all sets",
        admission.user.name
    );
    let name = object.name();
    Err(super::forbidden(
        GROUP,
        "managedclustersets/join",
        name,
        &why,
    ))
}
