//! Rules about placements, sets and bindings that no schema can say; who reads them without a hub applies the same.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize as _;

use crate::{
    Cause, Object,
    selector::validate_label_selector,
    validation::{FieldPath, label_value},
};

/// What is wrong with the name of a new placement: its decisions carry it in a label, so it must be able to be one; OCM
/// finds out when it writes them.
#[must_use]
pub fn placement(object: &Object) -> Vec<Cause> {
    let path = FieldPath::new("metadata").child("name");
    let cause = |why: String| Cause::invalid(&path, object.name(), &why);
    label_value(object.name()).into_iter().map(cause).collect()
}

/// What is wrong with the selector of a set. OCM takes any and then fails for every cluster at once because of it.
#[must_use]
pub fn set(object: &Object) -> Vec<Cause> {
    let Some(value) = object.at(&["spec", "clusterSelector", "labelSelector"]) else {
        return Vec::new();
    };
    let path = FieldPath::new("spec")
        .child("clusterSelector")
        .child("labelSelector");
    match LabelSelector::deserialize(value) {
        Ok(selector) => validate_label_selector(&selector, &path),
        Err(error) => vec![Cause::invalid(path, value.clone(), &error.to_string())],
    }
}

/// OCM's refusal of a binding that is not named like its set, if it is not. A missing set is the schema's matter.
#[must_use]
pub fn binding(object: &Object) -> Option<&'static str> {
    let set = object.at(&["spec", "clusterSet"])?.as_str()?;
    (set != object.name()).then_some(
        "The ManagedClusterSetBinding must have the same name as the target ManagedClusterSet",
    )
}
