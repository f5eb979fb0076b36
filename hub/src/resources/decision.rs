//! `PlacementDecision`: the clusters that a placement has chosen.

use koinon_api::PlacementDecision;
use koinon_machinery::ResourceInfo;

use crate::registry::Strategy;

#[derive(Debug)]
pub(super) struct Decision;

impl Strategy for Decision {
    fn info(&self) -> ResourceInfo {
        super::custom::<PlacementDecision>()
    }
}
