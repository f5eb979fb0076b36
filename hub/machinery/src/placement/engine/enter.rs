//! Whether a cluster would take the place of one that a placement holds, found without evaluating the placement.

use jiff::Timestamp;

use super::{Engine, Id, Slot, scale::Scale};
use crate::placement::evaluate::Earliest;

impl Engine {
    /// Whether a cluster that a placement does not hold would take the place of one that it does, if the placement were
    /// decided now. Never `false` when it would.
    pub(super) fn could_enter(&self, id: Id, slot: Slot, now: Timestamp) -> bool {
        let Some((placed, spec)) = self.spec(id) else {
            return false;
        };
        let Ok(policy) = spec.policy.as_ref() else {
            return false;
        };
        if placed.holds(slot) {
            return true;
        }
        if policy.clusters == Some(0)
            || !self.is_selected(spec, slot)
            || !self.is_candidate(&placed.name, spec, slot)
        {
            return false;
        }
        let mut scale = Scale {
            spans: placed.spans,
            ..Scale::new(self, policy, placed)
        };
        let mut expiry = Earliest::default();
        let Some(avoided) = self.passes(&scale, slot, now, &mut expiry) else {
            return false;
        };
        let (Some(wanted), false, true) = (
            policy.clusters,
            policy.looks_at_objects(),
            policy.spread.is_empty(),
        ) else {
            return true;
        };
        if placed.held.len() < wanted || expiry.at().is_some() {
            return true;
        }
        if policy.balances() {
            scale.most = self.counts.max_without(&placed.held);
        }
        let rank = |slot: Slot, avoided: u32, expiry: &mut Earliest, expired: &mut Option<_>| {
            let total = self.total(&scale, slot, now, expiry, expired);
            (avoided, -total)
        };
        let mut expired = None;
        let entrant = rank(slot, avoided, &mut expiry, &mut expired);
        // A score that ends may be a bad one; one that has ended is to be told of.
        if expiry.at().is_some() || expired.is_some() {
            return true;
        }
        let name = self.fleet.name(slot);
        placed.held.iter().any(|held| {
            let Some(avoided) = self.passes(&scale, *held, now, &mut expiry) else {
                return true;
            };
            let (held_rank, held_name) = (
                rank(*held, avoided, &mut expiry, &mut None),
                self.fleet.name(*held),
            );
            // What ends while it is looked at may have ended when it is decided.
            expiry.at().is_some() || (entrant, name) < (held_rank, held_name)
        })
    }
}
