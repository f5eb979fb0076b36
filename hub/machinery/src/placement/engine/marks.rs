//! Which placements a change concerns, and what is to be looked at: everything, or whether a cluster would take the
//! place of another.

use std::ops::Bound;

use jiff::Timestamp;

use super::{
    Engine, Id, Placed, RESOURCES,
    fleet::{Slot, State},
    row::Row,
};
use crate::placement::{Amount, Name, Policy, Prioritizer, Resource};

/// More clusters than this are not looked at one by one.
const MOST_ENTRANTS: usize = 32;

/// What a change asks of a placement.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mark {
    /// A full evaluation.
    Full,
    /// A look at whether it stands: `Balance` alone changes nothing.
    Check,
    /// These clusters may take the place of others; nothing else has changed.
    Entrants(Vec<Slot>),
}

impl Engine {
    /// Wants a full evaluation of a placement.
    pub fn mark(&mut self, name: &Name) {
        if let Some(id) = self.by_name.get(name) {
            self.mark_id(*id, Mark::Full);
        }
    }

    /// Wants a look at all, also at those that [`Engine::take_marked`] has named before.
    pub fn mark_all(&mut self) {
        let all: Vec<Id> = self.by_name.values().copied().collect();
        for id in &all {
            self.mark_id(*id, Mark::Check);
        }
        self.fresh = all;
    }

    pub(super) fn mark_id(&mut self, id: Id, new: Mark) {
        let Some(placed) = &mut self.placed[id as usize] else {
            return;
        };
        if placed.spec.is_none() {
            return;
        }
        // Also one that is marked already: whoever was told of that may have let it lie.
        self.fresh.push(id);
        let merged = match (placed.mark.take(), new) {
            (None, new) => new,
            (Some(Mark::Check), Mark::Check) => Mark::Check,
            (Some(Mark::Entrants(mut known)), Mark::Entrants(new))
                if known.len() + new.len() <= MOST_ENTRANTS =>
            {
                known.extend(new);
                Mark::Entrants(known)
            }
            _ => Mark::Full,
        };
        placed.mark = Some(merged);
    }

    /// A set changed, came or went.
    pub(super) fn mark_set(&mut self, set: &str) {
        let namespaces: Vec<String> = self
            .namespaces
            .get(set)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        for namespace in namespaces {
            self.mark_namespace(&namespace, set);
        }
    }

    pub(super) fn mark_namespace(&mut self, namespace: &str, set: &str) {
        for id in self.interested(namespace, set) {
            self.mark_id(id, Mark::Full);
        }
    }

    /// The placements of a namespace that choose from a set.
    fn interested(&self, namespace: &str, set: &str) -> Vec<Id> {
        let from = (namespace.to_owned(), String::new());
        self.by_name
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(|((of, _), _)| of == namespace)
            .filter(|(_, id)| {
                self.spec(**id).is_some_and(|(_, spec)| {
                    spec.cluster_sets.is_empty()
                        || spec.cluster_sets.iter().any(|wanted| wanted == set)
                })
            })
            .map(|(_, id)| *id)
            .collect()
    }

    /// A cluster is not what it was; `moves` are the sets that it entered or left.
    pub(super) fn cluster_changed(&mut self, slot: Slot, old: Option<&State>, moves: &[String]) {
        for set in moves {
            // Whether a set has members at all is said in conditions.
            let few = self.sets[set].members.iter().nth(1).is_none();
            if few {
                self.mark_set(set);
            }
        }
        let (new, taints) = (self.fleet.row(slot), self.fleet.spots(slot));
        let only_resources = old
            .zip(new)
            .is_some_and(|(old, new)| old.row.same_terms(new) && *old.taints == *taints);
        if only_resources {
            let looking = self.comparing.iter().chain(self.packing.values());
            let looking: Vec<Id> = looking.copied().collect();
            self.weigh_all(looking, slot, old, false);
            return;
        }
        let holders = self.holders.range((slot, 0)..=(slot, Id::MAX));
        let overrun = self.looking.iter().copied().filter(|id| {
            let placed = self.placed[*id as usize].as_ref();
            placed.is_some_and(|placed| placed.overrun)
        });
        let holders: Vec<Id> = holders.map(|(_, id)| *id).chain(overrun).collect();
        for id in holders {
            self.mark_id(id, Mark::Full);
        }
        // More taints and nothing else: for those that do not hold it, it can only have become worse.
        let (new, taints) = (self.fleet.row(slot), self.fleet.spots(slot));
        let worse = match (old, new) {
            (Some(old), Some(new)) => {
                old.row.same_terms(new)
                    && old.row.same_resources(new)
                    && old.taints.iter().all(|taint| taints.contains(taint))
            }
            (_, None) => true,
            (None, Some(_)) => false,
        };
        let mut concerned: Vec<Id> = Vec::new();
        if worse {
            concerned.extend(&self.comparing);
        } else {
            let members = self.sets.iter();
            let members =
                members.filter(|(name, set)| set.members.has(slot) || moves.contains(name));
            for (set, _) in members {
                for namespace in self.namespaces.get(set).into_iter().flatten() {
                    concerned.extend(self.interested(namespace, set));
                }
            }
        }
        self.weigh_all(concerned, slot, old, !moves.is_empty());
    }

    fn weigh_all(&mut self, mut ids: Vec<Id>, slot: Slot, old: Option<&State>, moved: bool) {
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            if let Some(mark) = self.weigh(id, slot, old, moved) {
                self.mark_id(id, mark);
            }
        }
    }

    /// What the change of a cluster asks of a placement.
    fn weigh(&mut self, id: Id, slot: Slot, old: Option<&State>, moved: bool) -> Option<Mark> {
        let (placed, spec) = self.spec(id)?;
        if placed.mark == Some(Mark::Full) {
            return None;
        }
        if placed.holds(slot) {
            return Some(Mark::Full);
        }
        // A mistake keeps what is there, and this is not.
        let policy = spec.policy.as_ref().as_ref().ok()?;
        let (before, new) = (old.map(|old| &old.row), self.fleet.row(slot));
        let same_terms = !moved
            && before
                .zip(new)
                .is_some_and(|(old, new)| old.same_terms(new));
        let selected = self.is_selected(spec, slot);
        if same_terms && !selected {
            return None;
        }
        if !policy.spread.is_empty() {
            return Some(Mark::Full);
        }
        let looks = policy.looks_at_objects();
        if measured(policy).next().is_some() && self.stretches(id, slot, old) {
            return Some(Mark::Full);
        }
        if looks {
            // Those that were not selected, and are not, cannot have been among the candidates.
            return selected.then_some(Mark::Full);
        }
        self.could_enter(id, slot, Timestamp::MIN)
            .then(|| Mark::Entrants(vec![slot]))
    }

    /// Whether what the candidates of a placement are measured by may be another with the change of a cluster.
    fn stretches(&mut self, id: Id, slot: Slot, old: Option<&State>) -> bool {
        let Some(Placed {
            spec: Some(spec),
            spans,
            ..
        }) = &mut self.placed[id as usize]
        else {
            return false;
        };
        let Ok(policy) = spec.policy.as_ref() else {
            return false;
        };
        let (old, new) = (old.map(|old| &old.row), self.fleet.row(slot));
        let mut moves = false;
        for resource in measured(policy) {
            let of = |row: Option<&Row>| {
                row.and_then(|row| self.fleet.scored(row, resource))
                    .map(Amount::units)
            };
            moves |= spans[resource as usize].may_move(of(old), of(new));
        }
        moves
    }

    /// The scores of a cluster changed.
    pub(super) fn scores_changed(&mut self, slot: Slot, object: &str) {
        let scored = self.scored.get(object).into_iter().flatten();
        let looking = self.looking.iter().filter(|id| {
            let policy = self.spec(**id).map(|(_, spec)| &spec.policy);
            policy.is_some_and(|policy| policy.as_ref().as_ref().is_ok_and(Policy::looks_at_scores))
        });
        let mut concerned: Vec<Id> = scored.chain(looking).copied().collect();
        concerned.sort_unstable();
        concerned.dedup();
        for id in concerned {
            if !self.sees(id, slot) {
                continue;
            }
            let full = self.looking.contains(&id)
                || self.spec(id).is_some_and(|(placed, spec)| {
                    let spread = spec
                        .policy
                        .as_ref()
                        .as_ref()
                        .is_ok_and(|policy| !policy.spread.is_empty());
                    spread || placed.holds(slot)
                });
            if full {
                self.mark_id(id, Mark::Full);
            } else if self.could_enter(id, slot, Timestamp::MIN) {
                self.mark_id(id, Mark::Entrants(vec![slot]));
            }
        }
    }

    /// A packing placement has left a cluster.
    pub(super) fn room_was_made(&mut self, slot: Slot) {
        let packing: Vec<Id> = self.packing.values().copied().collect();
        for id in packing {
            if self.could_enter(id, slot, Timestamp::MIN) {
                self.mark_id(id, Mark::Entrants(vec![slot]));
            }
        }
    }
}

/// The resources whose amounts are measured against those of other candidates.
pub(super) fn measured(policy: &Policy) -> impl Iterator<Item = Resource> + '_ {
    RESOURCES.into_iter().filter(|resource| {
        let mut all = policy.prioritizers.iter();
        all.any(|one| one.prioritizer == Prioritizer::Allocatable(*resource))
    })
}
