//! The choice of one placement, over sets of bits.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    Choice, Conditions, Decided, Engine, Id, Placed, Spec,
    bits::Bits,
    fleet::Slot,
    marks::{Mark, measured},
    ranking::{Ranked, best},
};
use crate::placement::{
    Amounts, Misconfigured, Name, NoClusters, Order, Policy, Prioritizer, Topology,
    evaluate::Earliest,
    expression::{Budget, Outcome},
    filter::{Held, Tolerance, tolerance},
    group::partition,
    score::{MAX_SCORE, Span, balance},
    spread,
};

/// What a choice is made from.
struct Snapshot<'a> {
    id: Id,
    spec: &'a Spec,
    policy: &'a Policy,
    /// The candidates that a predicate admits.
    admitted: &'a Bits,
    now: Timestamp,
}

/// What the decisions of others mean to a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Balance {
    Counts,
    /// They changed since the placement was decided, as they always do; that is no reason to move.
    Stays,
}

/// What the score of a cluster for a placement depends on.
pub(super) struct Scale<'a> {
    pub(super) policy: &'a Policy,
    pub(super) placed: &'a Placed,
    pub(super) balance: Balance,
    /// The placement's own decisions, as far as they are counted.
    pub(super) own: &'a [Slot],
    /// The highest count of decisions of other placements.
    pub(super) most: u32,
    pub(super) spans: [Span; 2],
    pub(super) reserved: Reserved,
}

/// What other packing placements take of clusters.
pub(super) type Reserved = HashMap<Slot, Amounts>;

impl Engine {
    /// Decides a placement; `None` when there is no such placement.
    pub fn decide(
        &mut self,
        name: &Name,
        now: Timestamp,
        conditions: &dyn Conditions,
    ) -> Option<Decided> {
        let id = *self.by_name.get(name)?;
        let placed = self.placed[id as usize].as_mut()?;
        let spec = Arc::clone(placed.spec.as_ref()?);
        let mark = placed.mark.take().unwrap_or(Mark::Full);
        let due = placed.recheck_at.is_some_and(|at| at <= now);
        self.fleet.put_in_order();
        let check = mark == Mark::Check;
        if let (Mark::Entrants(slots), false) = (mark, due)
            && !slots.iter().any(|slot| self.could_enter(id, *slot, now))
        {
            return Some(Decided::Same);
        }
        let candidates = match self.candidates(name, &spec) {
            Ok(candidates) => candidates,
            Err(none) => return Some(Decided::NoClusters(none)),
        };
        let policy = match spec.policy.as_ref() {
            Ok(policy) => policy,
            Err(error) => return self.misconfigured(id, &candidates, error.clone()),
        };
        let admitted = match self.admitted(&spec, policy, &candidates, conditions) {
            Ok(admitted) => admitted,
            Err(error) => return self.misconfigured(id, &candidates, error),
        };
        // Balance looks at the decisions of others only.
        let own = self.spec(id)?.0.held.clone();
        self.counts.remove(&own);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let snapshot = Snapshot {
            id,
            spec: &spec,
            policy,
            admitted: &admitted,
            now,
        };
        // An order by scores takes all scores.
        let balance = if check && !due && policy.order == Order::Name {
            Balance::Stays
        } else {
            Balance::Counts
        };
        let (mut choice, mut spans) = self.choose(&snapshot, balance, &mut scratch)?;
        if balance == Balance::Stays && choice.changed {
            scratch.clear();
            (choice, spans) = self.choose(&snapshot, Balance::Counts, &mut scratch)?;
        }
        self.scratch = scratch;
        self.counts.add(&own);
        if let Some(placed) = &mut self.placed[id as usize] {
            placed.spans = spans;
            placed.recheck_at = choice.recheck_at;
        }
        Some(Decided::Chosen(Box::new(choice)))
    }

    /// What a placement keeps whose spec cannot be evaluated.
    fn misconfigured(&self, id: Id, candidates: &Bits, error: Misconfigured) -> Option<Decided> {
        let (placed, _) = self.spec(id)?;
        let held = placed.held.iter().filter(|slot| candidates.has(**slot));
        let remaining = held.map(|slot| self.fleet.name(*slot).to_owned()).collect();
        Some(Decided::Misconfigured { error, remaining })
    }

    fn candidates(&self, name: &Name, spec: &Spec) -> Result<Bits, NoClusters> {
        let eligible = self.eligible(name, spec)?;
        let mut candidates = Bits::default();
        for (_, members) in &eligible {
            candidates.or(members);
        }
        if candidates.is_empty() {
            let names = eligible.into_iter().map(|(name, _)| name.to_owned());
            return Err(NoClusters::AllEmpty(names.collect()));
        }
        Ok(candidates)
    }

    fn choose(
        &self,
        snapshot: &Snapshot<'_>,
        balance: Balance,
        ranked: &mut Vec<Ranked>,
    ) -> Option<(Choice, [Span; 2])> {
        let Snapshot {
            id,
            spec,
            policy,
            admitted,
            now,
        } = *snapshot;
        let (placed, _) = self.spec(id)?;
        let mut expiry = Earliest::default();
        let mut scale = Scale {
            policy,
            placed,
            balance,
            own: &[],
            most: self.counts.max(),
            spans: [Span::NOTHING; 2],
            reserved: self.reserved(policy, &placed.name, None),
        };
        for slot in admitted.iter() {
            if let Some(avoided) = self.passes(&scale, slot, now, &mut expiry) {
                let order = self.fleet.order(slot);
                ranked.push(Ranked {
                    avoided,
                    worth: 0,
                    order,
                    slot,
                });
            }
        }
        for resource in measured(policy) {
            let amounts = ranked
                .iter()
                .filter_map(|one| self.fleet.scored(self.fleet.row(one.slot)?, resource));
            scale.spans[resource as usize] = Span::of(amounts);
        }
        let mut expired = None;
        for one in ranked.iter_mut() {
            one.worth = -self.total(&scale, one.slot, now, &mut expiry, &mut expired);
        }
        let wanted = policy.clusters.unwrap_or(ranked.len());
        let picks = if policy.spread.is_empty() {
            best(ranked, wanted)
        } else {
            self.spread(policy, ranked, wanted)
        };
        let mut chosen: Vec<Slot> = picks.iter().map(|one| one.slot).collect();
        chosen.sort_unstable();
        let mut held = placed.held.clone();
        held.dedup();
        let changed = chosen != held;
        let ranking = if changed {
            self.ranking(ranked)
        } else {
            String::new()
        };
        let selected = picks.len();
        let mut in_order = picks;
        let mut scores = BTreeMap::new();
        match policy.order {
            Order::Name => in_order.sort_unstable_by_key(|one| one.order),
            Order::Score => {
                for one in &mut in_order {
                    one.worth -= arrival(&scale, one.slot);
                    let name = self.fleet.name(one.slot);
                    scores.insert(name.to_owned(), -one.worth);
                }
                in_order.sort_unstable();
            }
        }
        let groups = partition(
            &policy.groups,
            in_order,
            |one, at| self.columns.get(spec.groups[at]).has(one.slot),
            |one| self.fleet.name(one.slot).to_owned(),
        );
        let choice = Choice {
            groups,
            selected,
            unscheduled: policy.clusters.map_or(0, |wanted| wanted - selected),
            changed,
            scores,
            ranking,
            recheck_at: expiry.at(),
            expired: expired
                .map(|(prioritizer, slot)| (prioritizer, self.fleet.name(slot).to_owned())),
        };
        Some((choice, scale.spans))
    }

    /// The candidates that one of the predicates admits; a mistake when their expressions cost too much to say.
    fn admitted(
        &self,
        spec: &Spec,
        policy: &Policy,
        candidates: &Bits,
        conditions: &dyn Conditions,
    ) -> Result<Bits, Misconfigured> {
        if spec.columns.is_empty() {
            return Ok(candidates.clone());
        }
        let mut admitted = Bits::default();
        for number in &spec.columns {
            admitted.or(self.columns.get(*number));
        }
        admitted.and(candidates);
        if !policy.looks_at_objects() {
            return Ok(admitted);
        }
        // In the order of names, so that the same of them are looked at each time.
        let mut slots: Vec<Slot> = admitted.iter().collect();
        slots.sort_unstable_by_key(|slot| self.fleet.order(*slot));
        let mut budget = Budget::default();
        for slot in slots {
            let admits = budget.admits(
                &policy.predicates,
                |place, _| self.columns.get(spec.columns[place]).has(slot),
                |expression| self.condition(slot, expression, conditions),
            );
            admitted.set(slot, admits.is_ok());
        }
        budget.overrun().map_or(Ok(admitted), Err)
    }

    fn condition(
        &self,
        slot: Slot,
        expression: &crate::cel::Program,
        conditions: &dyn Conditions,
    ) -> Outcome {
        let scores = |object: &str| {
            let published = self.scores.get(object)?.get(&slot)?;
            let each = published.values.iter();
            Some(
                each.map(|(name, value)| (name.to_string(), *value))
                    .collect(),
            )
        };
        conditions.test(self.fleet.name(slot), expression, &scores)
    }

    /// How many taints speak against a cluster that passes taints and fit; `None` when it does not.
    pub(super) fn passes(
        &self,
        scale: &Scale<'_>,
        slot: Slot,
        now: Timestamp,
        expiry: &mut Earliest,
    ) -> Option<u32> {
        let mut speaking = 0;
        if self.fleet.is_tainted(slot) {
            let held = if scale.placed.holds(slot) {
                Held::Yes
            } else {
                Held::No
            };
            let tolerations = &scale.policy.tolerations;
            match tolerance(self.fleet.taints(slot), tolerations, held, now) {
                Tolerance::Refused { .. } => return None,
                Tolerance::Granted { until, avoided } => {
                    until.into_iter().for_each(|until| expiry.add(until));
                    speaking = u32::try_from(avoided).unwrap_or(u32::MAX);
                }
            }
        }
        if let Some(packing) = &scale.policy.packing
            && !scale.placed.holds(slot)
        {
            let row = self.fleet.row(slot)?;
            let reserved = scale.reserved.get(&slot);
            let lacking = packing.lacking(
                |resource| self.fleet.amount(row, resource),
                reserved.unwrap_or(&Amounts::new()),
            );
            if lacking.is_some() {
                return None;
            }
        }
        Some(speaking)
    }

    /// The weighted scores of a cluster.
    pub(super) fn total(
        &self,
        scale: &Scale<'_>,
        slot: Slot,
        now: Timestamp,
        expiry: &mut Earliest,
        expired: &mut Option<(String, Slot)>,
    ) -> i64 {
        let mut total = 0;
        for weighted in &scale.policy.prioritizers {
            let score = match &weighted.prioritizer {
                Prioritizer::Balance if scale.balance == Balance::Stays => {
                    if scale.placed.holds(slot) {
                        MAX_SCORE * weighted.weight.signum()
                    } else {
                        0
                    }
                }
                Prioritizer::Balance => balance(self.load(scale, slot), f64::from(scale.most)),
                Prioritizer::Steady if scale.placed.holds(slot) => MAX_SCORE,
                Prioritizer::Steady => 0,
                Prioritizer::Allocatable(resource) => {
                    let row = self.fleet.row(slot);
                    let amount = row.and_then(|row| self.fleet.scored(row, *resource));
                    amount.map_or(0, |amount| scale.spans[*resource as usize].score(amount))
                }
                Prioritizer::AddOn { resource, score } => {
                    let published = self.scores.get(resource).and_then(|of| of.get(&slot));
                    let found =
                        published.and_then(|one| Some((one.value(score)?, one.valid_until)));
                    match found {
                        Some((_, Some(until))) if until <= now => {
                            expired.get_or_insert_with(|| (weighted.prioritizer.name(), slot));
                            0
                        }
                        Some((value, until)) => {
                            until.into_iter().for_each(|until| expiry.add(until));
                            value
                        }
                        None => 0,
                    }
                }
                Prioritizer::Packing => self.packed(scale, slot).unwrap_or(0),
            };
            total += weighted.weight * score;
        }
        total
    }

    fn packed(&self, scale: &Scale<'_>, slot: Slot) -> Option<i64> {
        let row = self.fleet.row(slot)?;
        let reserved = scale.reserved.get(&slot);
        scale.policy.packing.as_ref()?.score(
            |resource| self.fleet.amount(row, resource),
            reserved.unwrap_or(&Amounts::new()),
        )
    }

    /// What the decisions of other packing placements take, of one cluster or of all; nothing for placements that do
    /// not pack.
    pub(super) fn reserved(&self, policy: &Policy, name: &Name, only: Option<&[Slot]>) -> Reserved {
        let mut reserved = Reserved::new();
        if policy.packing.is_none() {
            return reserved;
        }
        for (_, id) in self.packing.iter().filter(|(other, _)| *other != name) {
            let placed = self.placed.get(*id as usize).and_then(Option::as_ref);
            let Some((placed, packing)) = placed.and_then(|one| Some((one, one.packing.as_ref()?)))
            else {
                continue;
            };
            let mut take = |slot: Slot| {
                let of_cluster = reserved.entry(slot).or_default();
                for (resource, amount) in &packing.requests {
                    *of_cluster.entry(resource.clone()).or_default() += amount;
                }
            };
            match only {
                Some(slots) => {
                    let held = slots.iter().filter(|slot| placed.holds(**slot));
                    held.for_each(|slot| take(*slot));
                }
                None => {
                    let mut held = placed.held.clone();
                    held.dedup();
                    held.into_iter().for_each(take);
                }
            }
        }
        reserved
    }

    /// Decisions of other placements that name a cluster.
    fn load(&self, scale: &Scale<'_>, slot: Slot) -> u32 {
        let from = scale.own.partition_point(|one| *one < slot);
        let own = scale.own[from..]
            .iter()
            .take_while(|one| **one == slot)
            .count();
        let own = u32::try_from(own).unwrap_or(u32::MAX);
        self.counts.of(slot).saturating_sub(own)
    }

    fn spread(&self, policy: &Policy, ranked: &mut [Ranked], wanted: usize) -> Vec<Ranked> {
        ranked.sort_unstable();
        let picks = spread::choose(&policy.spread, ranked.len(), wanted, |spread, at| {
            let row = self.fleet.row(ranked[at].slot)?;
            match &spread.topology {
                Topology::Label(key) => self.fleet.label(row, key),
                Topology::Claim(name) => self.fleet.claim(row, name),
            }
        });
        picks.into_iter().map(|at| ranked[at]).collect()
    }
}

/// What `Steady` adds to a cluster once it is held: scores that are shown are those of the decision that is made, so
/// that it need not be written again for having been made.
fn arrival(scale: &Scale<'_>, slot: Slot) -> i64 {
    if scale.placed.holds(slot) {
        return 0;
    }
    let steady = scale.policy.prioritizers.iter();
    let steady = steady.filter(|one| one.prioritizer == Prioritizer::Steady);
    steady.map(|one| one.weight * MAX_SCORE).sum()
}
