//! `ManifestWorkReplicaSet`: one work for every cluster that its placements choose.

use koinon_api::ManifestWorkReplicaSet;
use koinon_machinery::{Object, ResourceInfo, Result};

use super::manifests;
use crate::registry::{Admission, Strategy};

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

    fn prepare_create(&self, object: &mut Object, _: &mut Admission<'_>) -> Result<()> {
        admit(object)
    }

    fn prepare_update(&self, object: &mut Object, _: &Object, _: &mut Admission<'_>) -> Result<()> {
        if object.is_deleting() {
            Ok(())
        } else {
            admit(object)
        }
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
