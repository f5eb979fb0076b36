//! `Placement`: which clusters are wanted.

use koinon_api::Placement;
use koinon_machinery::ResourceInfo;

use crate::registry::Strategy;

/// A placement that the schema takes but the scheduler cannot use is stored and gets the condition
/// `PlacementMisconfigured`, as in OCM: a GitOps tool then shows the reason beside the object.
#[derive(Debug)]
pub(super) struct Placements;

impl Strategy for Placements {
    fn info(&self) -> ResourceInfo {
        super::custom::<Placement>()
    }
}
