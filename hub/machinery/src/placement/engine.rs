//! The engine: everything that placements depend on, indexed and kept up to date change by change.
//!
//! ```text
//!  put_cluster, put_set, bind, put_scores, put_placement, hold
//!        │                                     │
//!        ▼                                     ▼
//!  fleet (numbers of strings) ─► columns ─► marks: which placements that can concern, and how ─► decide
//! ```
//!
//! A cluster that qualifies for a placement anew is compared with those that the placement holds: unless it would take
//! the place of one of them, nothing is evaluated. Everything else that can matter has the placement decided anew, over
//! sets of bits: labels and claims are asked once per change of a cluster, not once per decision, and of the candidates
//! only as many are asked as it takes to know the best.

mod ahead;
mod bits;
mod choose;
mod columns;
mod counts;
mod enter;
mod field;
mod fleet;
mod grow;
mod marks;
mod placements;
mod ranking;
mod room;
mod row;
mod scale;
mod scores;
mod sorted;
mod texts;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::Timestamp;

pub use self::ahead::Ahead;
use self::{
    bits::Bits,
    columns::{Columns, Number},
    counts::Counts,
    fleet::{Fleet, Slot},
    marks::Mark,
    room::Room,
    row::Resolved,
    scores::OfObject,
    sorted::Orders,
};
use super::{
    Cluster, Group, Membership, Misconfigured, Name, NoClusters, Packing, Policy, Resource,
    expression::{Outcome, ScoreLookup},
    score::Span,
};
use crate::cel::Program;

/// What expressions say of clusters; the owner has the objects and may remember answers.
pub trait Conditions: Sync {
    fn test(&self, cluster: &str, expression: &Program, scores: ScoreLookup<'_>) -> Outcome;
}

/// What [`Engine::decide`] found.
#[derive(Clone, Debug, PartialEq)]
pub enum Decided {
    /// What has changed cannot change the choice.
    Same,
    NoClusters(NoClusters),
    /// The spec cannot be evaluated; of the clusters that are held, these may still be chosen from.
    Misconfigured {
        error: Misconfigured,
        remaining: BTreeSet<String>,
    },
    Chosen(Box<Choice>),
}

/// The clusters that a placement should have.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub groups: Vec<Group>,
    pub selected: usize,
    /// How many more the placement asked for.
    pub unscheduled: usize,
    /// Whether they are others than those that are held.
    pub changed: bool,
    /// Totals of the selected clusters, where decisions are sorted by score; empty otherwise.
    pub scores: BTreeMap<String, i64>,
    /// The best ranked with their totals, as OCM's event `ScoreUpdate` lists them; empty when nothing has changed.
    pub ranking: String,
    /// When the answer may change although no input does.
    pub recheck_at: Option<Timestamp>,
    /// A prioritizer and a cluster whose score had expired, if there is one.
    pub expired: Option<(String, String)>,
}

/// Bytes that the engine spends on clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Of their strings, each distinct one once.
    pub strings: usize,
    /// Of all that is kept beside the strings, empty places of tables included.
    pub beside: usize,
}

#[derive(Debug)]
struct Set {
    membership: Membership,
    members: Bits,
}

/// What a placement asks for.
#[derive(Debug)]
struct Spec {
    cluster_sets: Vec<String>,
    policy: Arc<Result<Policy, Misconfigured>>,
    /// One for each predicate.
    columns: Vec<Number>,
    /// One for each named group.
    groups: Vec<Number>,
}

/// The place of a placement.
type Id = u32;

/// A placement, or what decisions say of one.
#[derive(Debug)]
struct Placed {
    name: Name,
    spec: Option<Arc<Spec>>,
    /// The clusters that its decisions name, in the order of their slots; twice if two objects name them.
    held: Vec<Slot>,
    mark: Option<Mark>,
    /// What it reserves on the clusters that it holds; that of the last spec that could be read.
    packing: Option<Packing>,
    /// Of CPU and memory, as of the last evaluation.
    spans: [Span; 2],
    /// When the last evaluation may become wrong.
    recheck_at: Option<Timestamp>,
    /// Its expressions cost too much on all clusters together: with other clusters they may not.
    overrun: bool,
    /// Counts changes of what it holds.
    turns: u64,
}

impl Placed {
    fn holds(&self, slot: Slot) -> bool {
        self.held.binary_search(&slot).is_ok()
    }
}

/// Clusters, sets, bindings, scores, placements and what they hold.
#[derive(Debug, Default)]
pub struct Engine {
    fleet: Fleet,
    columns: Columns,
    counts: Counts,
    sets: BTreeMap<String, Set>,
    /// Namespace and set.
    bindings: BTreeSet<(String, String)>,
    namespaces: BTreeMap<String, BTreeSet<String>>,
    /// By name of the score object.
    scores: HashMap<String, OfObject>,
    placed: Vec<Option<Placed>>,
    free: Vec<Id>,
    by_name: BTreeMap<Name, Id>,
    /// Which placements hold a cluster.
    holders: BTreeSet<(Slot, Id)>,
    /// Placements that look at scores of a name.
    scored: HashMap<String, BTreeSet<Id>>,
    /// Placements that look at whole objects.
    looking: BTreeSet<Id>,
    /// Placements that measure candidates against each other, or count them by domain.
    comparing: BTreeSet<Id>,
    packing: BTreeMap<Name, Id>,
    room: Room,
    /// Placements that were marked since [`Engine::take_marked`].
    fresh: Vec<Id>,
    /// Clusters in the orders that prioritizers of placements look at.
    orders: Orders,
    /// Counts changes of everything but decisions, and those of decisions: what was found before one may not be true after it.
    inputs: u64,
    decisions: u64,
    /// How often those who look at what others have are not looked at ahead.
    in_vain: u32,
}

impl Engine {
    /// Adds a cluster, or replaces it. One that is being deleted is to be removed.
    pub fn put_cluster(&mut self, cluster: &Cluster) {
        let slot = self.fleet.slot(&cluster.name);
        let new = self.fleet.prepare(cluster);
        let known = self.fleet.row(slot);
        let same_terms = known.is_some_and(|old| old.same_terms(&new.row));
        if same_terms
            && known.is_some_and(|old| old.same_resources(&new.row))
            && self.fleet.spots(slot) == &*new.taints
        {
            self.fleet.dispose(new);
            return;
        }
        let old = self.fleet.replace(slot, Some(new));
        self.inputs += 1;
        self.sort_resources(slot, old.as_ref().map(|old| &old.row));
        let mut moves = Vec::new();
        if !same_terms {
            match &old {
                Some(old) => {
                    let keys = self.keys(slot, &old.row);
                    self.columns.update_keys(slot, &keys, &self.fleet);
                }
                None => self.columns.update(slot, &self.fleet),
            }
            moves = self.enter(slot, Some(cluster));
        }
        self.cluster_changed(slot, old.as_ref(), &moves);
        if let Some(old) = old {
            self.fleet.dispose(old);
        }
    }

    pub fn remove_cluster(&mut self, name: &str) {
        let Some(slot) = self.fleet.find(name) else {
            return;
        };
        let Some(old) = self.fleet.replace(slot, None) else {
            return;
        };
        self.inputs += 1;
        self.sort_resources(slot, Some(&old.row));
        self.columns.update(slot, &self.fleet);
        let moves = self.enter(slot, None);
        self.cluster_changed(slot, Some(&old), &moves);
        self.fleet.dispose(old);
        self.forget(slot);
    }

    /// Something else of a cluster's object changed.
    pub fn touch_cluster(&mut self, name: &str) {
        if self.looking.is_empty() {
            return;
        }
        let Some(slot) = self.fleet.find(name) else {
            return;
        };
        self.inputs += 1;
        let looking: Vec<Id> = self.looking.iter().copied().collect();
        for id in looking {
            if self.sees(id, slot) {
                self.mark_id(id, Mark::Full);
            }
        }
    }

    /// Brings the sets' members up to date; returns the sets that the cluster entered or left.
    fn enter(&mut self, slot: Slot, cluster: Option<&Cluster>) -> Vec<String> {
        let mut moves = Vec::new();
        for (name, set) in &mut self.sets {
            let member = cluster.is_some_and(|cluster| set.membership.includes(&cluster.labels));
            if set.members.set(slot, member) {
                moves.push(name.clone());
            }
        }
        moves
    }

    /// Keys of the labels and claims that differ.
    fn keys(&self, slot: Slot, old: &row::Row) -> BTreeSet<String> {
        let Some(new) = self.fleet.row(slot) else {
            return BTreeSet::new();
        };
        let texts = &self.fleet.texts;
        let keys = new.differing(old).filter_map(|pair| texts.key(pair));
        keys.map(|key| texts.get(key).to_owned()).collect()
    }

    pub fn put_set(&mut self, name: &str, membership: Membership) {
        if self
            .sets
            .get(name)
            .is_some_and(|set| set.membership == membership)
        {
            return;
        }
        let mut members = Bits::default();
        if let Some(selector) = membership.selector() {
            let selects = Resolved::new(&selector, &self.fleet.texts);
            for (slot, row) in self.fleet.rows() {
                members.set(slot, selects.matches(row.labels(), &self.fleet.texts));
            }
        }
        let set = Set {
            membership,
            members,
        };
        self.sets.insert(name.to_owned(), set);
        self.inputs += 1;
        self.mark_set(name);
    }

    pub fn remove_set(&mut self, name: &str) {
        if self.sets.remove(name).is_some() {
            self.inputs += 1;
            self.mark_set(name);
        }
    }

    pub fn bind(&mut self, namespace: &str, set: &str) {
        if self.bindings.insert((namespace.to_owned(), set.to_owned())) {
            self.inputs += 1;
            let namespaces = self.namespaces.entry(set.to_owned()).or_default();
            namespaces.insert(namespace.to_owned());
            self.mark_namespace(namespace, set);
        }
    }

    pub fn unbind(&mut self, namespace: &str, set: &str) {
        if self
            .bindings
            .remove(&(namespace.to_owned(), set.to_owned()))
        {
            self.inputs += 1;
            if let Some(namespaces) = self.namespaces.get_mut(set) {
                namespaces.remove(namespace);
                if namespaces.is_empty() {
                    self.namespaces.remove(set);
                }
            }
            self.mark_namespace(namespace, set);
        }
    }

    /// Placements that were marked since this was asked last.
    pub fn take_marked(&mut self) -> Vec<Name> {
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.sort_unstable();
        fresh.dedup();
        let names = fresh.into_iter().filter_map(|id| {
            let placed = self.placed[id as usize].as_ref()?;
            placed.mark.is_some().then(|| placed.name.clone())
        });
        names.collect()
    }

    /// The bytes that clusters take: their strings, rows, counts, columns and memberships.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        let (strings, fleet) = self.fleet.footprint();
        let sets = self.sets.values().map(|set| set.members.footprint());
        Footprint {
            strings,
            beside: fleet
                + self.counts.footprint()
                + self.columns.footprint()
                + self.orders.footprint()
                + sets.sum::<usize>(),
        }
    }

    /// Forgets a cluster that does not exist and that nothing refers to.
    fn forget(&mut self, slot: Slot) {
        let idle = self.fleet.row(slot).is_none()
            && self.counts.of(slot) == 0
            && !self.scores.values().any(|of| of.get(slot).is_some());
        if idle {
            self.fleet.forget(slot);
        }
    }

    fn spec(&self, id: Id) -> Option<(&Placed, &Arc<Spec>)> {
        let placed = self.placed.get(id as usize)?.as_ref()?;
        Some((placed, placed.spec.as_ref()?))
    }

    /// The sets that a placement may choose from.
    fn eligible<'a>(
        &'a self,
        name: &Name,
        spec: &Spec,
    ) -> Result<Vec<(&'a str, &'a Bits)>, NoClusters> {
        let from = (name.0.clone(), String::new());
        let bound: Vec<(&str, &Bits)> = self
            .bindings
            .range(from..)
            .take_while(|(namespace, _)| *namespace == name.0)
            .filter_map(|(_, set)| {
                let (set, found) = self.sets.get_key_value(set)?;
                Some((set.as_str(), &found.members))
            })
            .collect();
        if bound.is_empty() {
            return Err(NoClusters::NoBindings);
        }
        let wanted = |set: &str| {
            spec.cluster_sets.is_empty() || spec.cluster_sets.iter().any(|wanted| wanted == set)
        };
        let eligible: Vec<(&str, &Bits)> =
            bound.into_iter().filter(|(set, _)| wanted(set)).collect();
        if eligible.is_empty() {
            return Err(NoClusters::NoIntersection(spec.cluster_sets.clone()));
        }
        Ok(eligible)
    }

    /// Whether a cluster is among those that a placement may choose from.
    fn is_candidate(&self, name: &Name, spec: &Spec, slot: Slot) -> bool {
        let eligible = self.eligible(name, spec);
        eligible.is_ok_and(|sets| sets.iter().any(|(_, members)| members.has(slot)))
    }

    /// Whether labels and claims of a cluster match one of a placement's predicates.
    fn is_selected(&self, spec: &Spec, slot: Slot) -> bool {
        spec.columns.is_empty()
            || spec
                .columns
                .iter()
                .any(|number| self.columns.get(*number).has(slot))
    }

    /// Whether what a cluster is can matter to a placement at all.
    fn sees(&self, id: Id, slot: Slot) -> bool {
        self.spec(id).is_some_and(|(placed, spec)| {
            placed.holds(slot)
                || self.is_candidate(&placed.name, spec, slot) && self.is_selected(spec, slot)
        })
    }
}

/// CPU and memory in the order in which spans are kept.
const RESOURCES: [Resource; 2] = [Resource::Cpu, Resource::Memory];

#[cfg(test)]
mod tests;
