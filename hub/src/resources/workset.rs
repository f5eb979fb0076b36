//! `ManifestWorkReplicaSet`: one work for every cluster that its placements choose.

use koinon_api::ManifestWorkReplicaSet;
use koinon_machinery::{
    Cause, Object, ResourceInfo, Result,
    validation::{MAX_LABEL_BYTES, labels_fit},
};

use super::manifests;
use crate::registry::{Admission, Strategy};

/// The hub makes the works in its own name, so the right to an executor is asked of who writes the template.
const EXECUTOR: &[&str] = &["spec", "manifestWorkTemplate", "executor"];

/// A set's works have its labels and two more, which say whose they are.
const MAX_LABELS: usize = MAX_LABEL_BYTES - 1024;

#[derive(Debug)]
pub(super) struct ReplicaSet {
    pub(super) limit: usize,
}

impl Strategy for ReplicaSet {
    fn info(&self) -> ResourceInfo {
        super::custom::<ManifestWorkReplicaSet>()
    }

    fn body_limit(&self) -> usize {
        self.limit
    }

    fn prepare_create(&self, object: &mut Object, admission: &mut Admission<'_>) -> Result<()> {
        admit(object)?;
        manifests::admit_executor(object, None, EXECUTOR, admission)
    }

    fn prepare_update(
        &self,
        object: &mut Object,
        old: &Object,
        admission: &mut Admission<'_>,
    ) -> Result<()> {
        if object.is_deleting() {
            return Ok(());
        }
        admit(object)?;
        manifests::admit_executor(object, Some(old), EXECUTOR, admission)
    }

    fn validate(&self, object: &Object, old: Option<&Object>) -> Vec<Cause> {
        labels_fit(object, old, MAX_LABELS)
    }
}

fn admit(object: &Object) -> Result<()> {
    match object.at(&["spec", "manifestWorkTemplate"]) {
        // The schema says it better.
        None => Ok(()),
        Some(template) => manifests::admit(
            template
                .get("workload")
                .and_then(|workload| workload.get("manifests")),
        ),
    }
}
