//! `ManifestWork`: what one cluster shall run.

use koinon_api::{ManifestWork, labels::finalizer};
use koinon_machinery::{Column, Object, ResourceInfo, Result};

use super::manifests;
use crate::registry::{Admission, Strategy};

#[derive(Debug)]
pub(super) struct Work {
    pub(super) limit: usize,
}

impl Strategy for Work {
    fn info(&self) -> ResourceInfo {
        // OCM prints a name and an age; whether a work arrived is what one looks for.
        let condition = |name: &str| {
            let path = format!(".status.conditions[?(@.type==\"{name}\")].status");
            Column::text(name, &path).wide()
        };
        super::custom::<ManifestWork>().with_columns([condition("Applied"), condition("Available")])
    }

    fn body_limit(&self) -> usize {
        self.limit
    }

    fn prepare_create(&self, object: &mut Object, admission: &mut Admission<'_>) -> Result<()> {
        object.add_finalizer(finalizer::MANIFEST_WORK);
        manifests::admit(object.at(&["spec", "workload", "manifests"]))?;
        manifests::admit_executor(object, None, &["spec", "executor"], admission)
    }

    /// A work that is not being deleted keeps the finalizer, whatever the client sends: only the agent can say that
    /// all it applied is gone (P3).
    fn prepare_update(
        &self,
        object: &mut Object,
        old: &Object,
        admission: &mut Admission<'_>,
    ) -> Result<()> {
        if object.is_deleting() {
            return Ok(());
        }
        object.add_finalizer(finalizer::MANIFEST_WORK);
        manifests::admit(object.at(&["spec", "workload", "manifests"]))?;
        manifests::admit_executor(object, Some(old), &["spec", "executor"], admission)
    }
}
