//! What packing placements take of the clusters that they hold, kept up to date with each decision: nobody adds it up again.

use std::collections::{BTreeMap, HashMap};

use super::{Engine, Id, fleet::Slot};
use crate::placement::{Amount, Amounts, Packing};

/// Sums of what is requested, by cluster and resource. They are wide enough for any number of placements, so that what
/// was added can be taken off again.
#[derive(Debug, Default)]
pub(super) struct Room(HashMap<Slot, BTreeMap<String, i128>>);

impl Room {
    /// What is taken of a resource, `own` left out.
    pub(super) fn taken(&self, slot: Slot, resource: &str, own: Option<Amount>) -> Amount {
        let sum = self.0.get(&slot).and_then(|of| of.get(resource));
        let others = sum.copied().unwrap_or(0) - i128::from(own.unwrap_or_default().bits());
        Amount::thousandths(i64::try_from(others).unwrap_or(i64::MAX))
    }

    fn take(&mut self, slot: Slot, requests: &Amounts) {
        let of_cluster = self.0.entry(slot).or_default();
        for (resource, amount) in requests {
            let sum = i128::from(amount.bits());
            match of_cluster.get_mut(resource) {
                Some(taken) => *taken += sum,
                None => _ = of_cluster.insert(resource.clone(), sum),
            }
        }
    }

    fn give_back(&mut self, slot: Slot, requests: &Amounts) {
        let Some(of_cluster) = self.0.get_mut(&slot) else {
            return;
        };
        for (resource, amount) in requests {
            if let Some(taken) = of_cluster.get_mut(resource) {
                *taken -= i128::from(amount.bits());
            }
        }
        of_cluster.retain(|_, taken| *taken != 0);
        if of_cluster.is_empty() {
            self.0.remove(&slot);
        }
    }
}

impl Engine {
    /// What a placement requests from now on, on all clusters that it holds; others may have more room then.
    pub(super) fn set_packing(&mut self, id: Id, new: Option<&Packing>) {
        let Some(placed) = &mut self.placed[id as usize] else {
            return;
        };
        let old = std::mem::replace(&mut placed.packing, new.cloned());
        for held in placed.held.chunk_by(|one, other| one == other) {
            if let Some(old) = &old {
                self.room.give_back(held[0], &old.requests);
            }
            if let Some(new) = new {
                self.room.take(held[0], &new.requests);
            }
        }
        if old.is_some() && old.as_ref() != new {
            self.mark_packing();
        }
    }

    /// A placement holds clusters that it did not hold, and does not hold others any more; each is named once.
    pub(super) fn move_room(&mut self, id: Id, arrived: &[Slot], left: &[Slot]) {
        let placed = self.placed[id as usize].as_ref();
        let Some(packing) = placed.and_then(|placed| placed.packing.as_ref()) else {
            return;
        };
        for slot in arrived {
            self.room.take(*slot, &packing.requests);
        }
        for slot in left {
            self.room.give_back(*slot, &packing.requests);
        }
    }
}
