//! `Placement`: which clusters are wanted.

use koinon_api::Placement;
use koinon_machinery::{Cause, Object, ResourceInfo, Subresource, Verb, placement::admit};

use crate::registry::Strategy;

/// A placement that the schema takes but the scheduler cannot use is stored and gets the condition
/// `PlacementMisconfigured`, as in OCM: a GitOps tool then shows the reason beside the object.
#[derive(Debug)]
pub(super) struct Placements;

impl Strategy for Placements {
    fn info(&self) -> ResourceInfo {
        super::custom::<Placement>().with_subresource(Subresource {
            name: "explain".to_owned(),
            group: "koinon.dev".to_owned(),
            version: "v1alpha1".to_owned(),
            kind: "PlacementExplanation".to_owned(),
            verbs: vec![Verb::Get],
        })
    }

    fn validate(&self, object: &Object, old: Option<&Object>) -> Vec<Cause> {
        match old {
            None => admit::placement(object),
            Some(_) => Vec::new(),
        }
    }
}
