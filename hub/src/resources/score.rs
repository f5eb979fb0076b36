//! `AddOnPlacementScore`: a score of a cluster that something else computed.

use koinon_api::AddOnPlacementScore;
use koinon_machinery::ResourceInfo;

use crate::registry::Strategy;

#[derive(Debug)]
pub(super) struct Score;

impl Strategy for Score {
    fn info(&self) -> ResourceInfo {
        super::custom::<AddOnPlacementScore>()
    }
}
