//! `ManagedClusterSet`: clusters under one name.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use koinon_api::ManagedClusterSet;
use koinon_machinery::{
    Cause, Object, ResourceInfo, selector::validate_label_selector, validation::FieldPath,
};
use serde::Deserialize;

use crate::registry::Strategy;

#[derive(Debug)]
pub(super) struct ClusterSet;

impl Strategy for ClusterSet {
    fn info(&self) -> ResourceInfo {
        super::custom::<ManagedClusterSet>()
    }

    /// OCM takes any selector and then fails for every cluster at once because of it; here it is refused.
    fn validate(&self, object: &Object, _: Option<&Object>) -> Vec<Cause> {
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
}
