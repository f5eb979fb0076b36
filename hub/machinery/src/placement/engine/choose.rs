//! The choice of one placement, over sets of bits.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{
    Choice, Conditions, Decided, Engine, Id, Spec,
    bits::Bits,
    fleet::Slot,
    marks::{Mark, measured},
    ranking::{Ranked, best},
    scale::{Balance, Scale},
};
use crate::placement::{
    Misconfigured, Name, NoClusters, Order, Policy, Prioritizer, Topology,
    evaluate::Earliest,
    expression::{Budget, Outcome},
    group::partition,
    score::{MAX_SCORE, Span},
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

/// Who may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Among {
    All,
    /// Those that are held, of whom it is known that they are a choice.
    Held,
}

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
        let stays = check && !due && policy.balances() && {
            let (choice, _) = self.choose(&snapshot, Among::All, Balance::LeftOut, &mut scratch)?;
            scratch.clear();
            !choice.changed
        };
        // The scores that are shown are those of now, whoever stays for whatever reason.
        let among = if stays { Among::Held } else { Among::All };
        let (choice, spans) = self.choose(&snapshot, among, Balance::Counts, &mut scratch)?;
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
        among: Among,
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
            balance,
            most: self.counts.max(),
            reserved: self.reserved(policy, &placed.name, None),
            ..Scale::new(self, policy, placed)
        }
        .for_all();
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
                .filter_map(|one| self.scored(&scale, one.slot, resource));
            let span = Span::of(amounts);
            scale.spans[resource as usize] = span;
        }
        let mut expired = None;
        for one in ranked.iter_mut() {
            one.worth = -self.total(&scale, one.slot, now, &mut expiry, &mut expired);
            if balance == Balance::LeftOut {
                one.worth = 2 * one.worth - i64::from(scale.holds(one.slot));
            }
        }
        let wanted = policy.clusters.unwrap_or(ranked.len());
        let picks = match among {
            Among::Held => {
                let held = ranked.iter().filter(|one| scale.holds(one.slot));
                held.copied().collect()
            }
            Among::All if policy.spread.is_empty() => best(ranked, wanted),
            Among::All => self.spread(policy, ranked, wanted),
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
    if scale.holds(slot) {
        return 0;
    }
    let steady = scale.policy.prioritizers.iter();
    let steady = steady.filter(|one| one.prioritizer == Prioritizer::Steady);
    steady.map(|one| one.weight * MAX_SCORE).sum()
}
