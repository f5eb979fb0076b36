//! Clusters in the order of what a prioritizer measures: the best of many are found at the front.

use std::{cmp::Reverse, collections::HashMap};

use super::{
    Engine,
    bits::Bits,
    fleet::{Fleet, Slot},
    grow::push_tight,
    row::Row,
};
use crate::placement::{Amount, Prioritizer, Resource};

/// Those that have a value: the most first, then by name.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    order: Vec<Slot>,
    pub(super) has: Bits,
    /// Prioritizers of placements that look at it.
    users: u32,
}

impl Sorted {
    pub(super) fn slots(&self) -> &[Slot] {
        &self.order
    }

    fn new<V: Ord + Copy>(mut all: Vec<(V, Slot)>, fleet: &Fleet) -> Self {
        all.sort_by_cached_key(|(value, slot)| (Reverse(*value), fleet.name(*slot).to_owned()));
        let mut sorted = Self::default();
        for (_, slot) in &all {
            sorted.has.set(*slot, true);
        }
        sorted.order = all.into_iter().map(|(_, slot)| slot).collect();
        sorted
    }

    /// Puts a cluster where its new value belongs; `value` says those of the others.
    fn move_to<V: Ord + Copy>(
        &mut self,
        slot: Slot,
        new: Option<V>,
        value: impl Fn(Slot) -> Option<V>,
        fleet: &Fleet,
    ) {
        if self.has.has(slot)
            && let Some(at) = self.order.iter().position(|one| *one == slot)
        {
            self.order.remove(at);
        }
        self.has.set(slot, new.is_some());
        let Some(new) = new else { return };
        let key = (Reverse(Some(new)), fleet.name(slot));
        let at = self
            .order
            .partition_point(|one| (Reverse(value(*one)), fleet.name(*one)) < key);
        push_tight(&mut self.order, slot);
        self.order[at..].rotate_right(1);
    }

    fn footprint(&self) -> usize {
        self.order.capacity() * size_of::<Slot>() + self.has.footprint()
    }
}

/// The orders that placements look at.
#[derive(Debug, Default)]
pub(super) struct Orders {
    resources: [Option<Sorted>; 2],
    /// By the name of the score object, then of the score.
    scores: HashMap<String, HashMap<String, Sorted>>,
}

impl Orders {
    pub(super) fn get(&self, prioritizer: &Prioritizer) -> Option<&Sorted> {
        match prioritizer {
            Prioritizer::Allocatable(resource) => self.resources[*resource as usize].as_ref(),
            Prioritizer::AddOn { resource, score } => self.scores.get(resource)?.get(score),
            _ => None,
        }
    }

    pub(super) fn footprint(&self) -> usize {
        let scores = self.scores.values().flat_map(HashMap::values);
        let all = self.resources.iter().flatten().chain(scores);
        all.map(Sorted::footprint).sum()
    }
}

impl Engine {
    /// A placement looks at a prioritizer, for [`Engine::leave_order`].
    pub(super) fn keep_order(&mut self, prioritizer: &Prioritizer) {
        let (fleet, scores) = (&self.fleet, &self.scores);
        let sorted = match prioritizer {
            Prioritizer::Allocatable(resource) => {
                let measured =
                    |(slot, row): (Slot, &Row)| Some((fleet.scored(row, *resource)?, slot));
                let new = || Sorted::new(fleet.rows().filter_map(measured).collect(), fleet);
                self.orders.resources[*resource as usize].get_or_insert_with(new)
            }
            Prioritizer::AddOn { resource, score } => {
                let of = self.orders.scores.entry(resource.clone()).or_default();
                of.entry(score.clone()).or_insert_with(|| {
                    let published = scores.get(resource).into_iter();
                    let published = published.flat_map(|of| of.iter());
                    let values =
                        published.filter_map(|(slot, one)| Some((one.value(score)?, slot)));
                    Sorted::new(values.collect(), fleet)
                })
            }
            _ => return,
        };
        sorted.users += 1;
    }

    pub(super) fn leave_order(&mut self, prioritizer: &Prioritizer) {
        let left = |sorted: &mut Sorted| {
            sorted.users -= 1;
            sorted.users == 0
        };
        match prioritizer {
            Prioritizer::Allocatable(resource) => {
                let place = &mut self.orders.resources[*resource as usize];
                if place.as_mut().is_some_and(left) {
                    *place = None;
                }
            }
            Prioritizer::AddOn { resource, score } => {
                let Some(of) = self.orders.scores.get_mut(resource) else {
                    return;
                };
                if of.get_mut(score).is_some_and(left) {
                    of.remove(score);
                }
                if of.is_empty() {
                    self.orders.scores.remove(resource);
                }
            }
            _ => {}
        }
    }

    /// A cluster reports other amounts than before, or came or went.
    pub(super) fn sort_resources(&mut self, slot: Slot, old: Option<&Row>) {
        let fleet = &self.fleet;
        for resource in [Resource::Cpu, Resource::Memory] {
            let Some(sorted) = &mut self.orders.resources[resource as usize] else {
                continue;
            };
            let scored = |row: &Row| -> Option<Amount> { fleet.scored(row, resource) };
            let new = fleet.row(slot).and_then(scored);
            if old.and_then(scored) != new {
                sorted.move_to(slot, new, |one| fleet.row(one).and_then(scored), fleet);
            }
        }
    }

    /// The scores of a cluster in an object changed.
    pub(super) fn sort_scores(&mut self, slot: Slot, object: &str) {
        let Some(of_object) = self.orders.scores.get_mut(object) else {
            return;
        };
        let published = self.scores.get(object);
        for (score, sorted) in of_object {
            let value = |slot: Slot| published.and_then(|of| of.get(slot)?.value(score));
            sorted.move_to(slot, value(slot), value, &self.fleet);
        }
    }
}
