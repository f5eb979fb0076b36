//! The choice of one placement, over sets of bits.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Choice, Conditions, Decided, Engine, Id, Placed, Spec,
    ahead::Ahead,
    bits::Bits,
    field::Field,
    fleet::Slot,
    marks::Mark,
    ranking::{MOST_NAMED, Ranked},
    scale::{Balance, Scale},
};
use crate::placement::{
    Misconfigured, Name, NoClusters, Order, Policy, Prioritizer, Topology,
    expression::{Budget, Outcome},
    group::partition,
    score::{MAX_SCORE, Span},
    spread,
};

/// What a choice is made from.
struct Snapshot<'a> {
    placed: &'a Placed,
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

/// What was found for a placement whose turn has come, or is to come.
#[derive(Debug)]
pub(super) struct Found {
    decided: Decided,
    /// Of CPU and memory, where there was a choice.
    spans: [Span; 2],
}

impl From<Decided> for Found {
    fn from(decided: Decided) -> Self {
        Self {
            decided,
            spans: [Span::NOTHING; 2],
        }
    }
}

impl Engine {
    /// Decides a placement; `None` when there is no such placement.
    pub fn decide(
        &mut self,
        name: &Name,
        now: Timestamp,
        conditions: &dyn Conditions,
    ) -> Option<Decided> {
        self.decide_with(name, now, conditions, &mut Ahead::default())
    }

    /// The same, with what was found ahead as far as it is still true.
    pub fn decide_with(
        &mut self,
        name: &Name,
        now: Timestamp,
        conditions: &dyn Conditions,
        ahead: &mut Ahead,
    ) -> Option<Decided> {
        let id = *self.by_name.get(name)?;
        self.fleet.put_in_order();
        let found = match self.known(id, now, ahead) {
            (Some(found), _) => found,
            (None, admitted) => self.find(id, now, conditions, admitted)?,
        };
        let placed = self.placed[id as usize].as_mut()?;
        placed.mark = None;
        if let Decided::Chosen(choice) = &found.decided {
            placed.spans = found.spans;
            placed.recheck_at = choice.recheck_at;
        }
        if found.decided != Decided::Same {
            let sound = placed.spec.as_ref().is_some_and(|spec| spec.policy.is_ok());
            placed.overrun = sound && matches!(found.decided, Decided::Misconfigured { .. });
        }
        Some(found.decided)
    }

    /// Finds what a placement should have; `admitted` by its expressions, if that is known. Names must be in order.
    pub(super) fn find(
        &self,
        id: Id,
        now: Timestamp,
        conditions: &dyn Conditions,
        admitted: Option<Result<Bits, Misconfigured>>,
    ) -> Option<Found> {
        let (placed, spec) = self.spec(id)?;
        let due = placed.recheck_at.is_some_and(|at| at <= now);
        if let (Some(Mark::Entrants(slots)), false) = (&placed.mark, due)
            && !slots.iter().any(|slot| self.could_enter(id, *slot, now))
        {
            return Some(Decided::Same.into());
        }
        let candidates = match self.candidates(&placed.name, spec) {
            Ok(candidates) => candidates,
            Err(none) => return Some(Decided::NoClusters(none).into()),
        };
        let policy = match spec.policy.as_ref() {
            Ok(policy) => policy,
            Err(error) => return Some(self.misconfigured(placed, &candidates, error.clone())),
        };
        let admitted =
            admitted.unwrap_or_else(|| self.admitted(spec, policy, &candidates, conditions));
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(error) => return Some(self.misconfigured(placed, &candidates, error)),
        };
        let snapshot = Snapshot {
            placed,
            spec,
            policy,
            admitted: &admitted,
            now,
        };
        let check = placed.mark == Some(Mark::Check);
        let stays = check
            && !due
            && policy.balances()
            && !self
                .choose(&snapshot, Among::All, Balance::LeftOut)
                .0
                .changed;
        // The scores that are shown are those of now, whoever stays for whatever reason.
        let among = if stays { Among::Held } else { Among::All };
        let (choice, spans) = self.choose(&snapshot, among, Balance::Counts);
        Some(Found {
            decided: Decided::Chosen(Box::new(choice)),
            spans,
        })
    }

    /// Whom the expressions of a placement admit; `None` where there are none to ask.
    pub(super) fn expressed(
        &self,
        placed: &Placed,
        spec: &Spec,
        conditions: &dyn Conditions,
    ) -> Option<Result<Bits, Misconfigured>> {
        let policy = spec.policy.as_ref().as_ref().ok()?;
        if !policy.looks_at_objects() {
            return None;
        }
        let candidates = self.candidates(&placed.name, spec).ok()?;
        Some(self.admitted(spec, policy, &candidates, conditions))
    }

    /// What a placement keeps whose spec cannot be evaluated.
    fn misconfigured(&self, placed: &Placed, candidates: &Bits, error: Misconfigured) -> Found {
        let held = placed.held.iter().filter(|slot| candidates.has(**slot));
        let remaining = held.map(|slot| self.fleet.name(*slot).to_owned()).collect();
        Decided::Misconfigured { error, remaining }.into()
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
    ) -> (Choice, [Span; 2]) {
        let Snapshot {
            placed,
            spec,
            policy,
            admitted,
            now,
        } = *snapshot;
        let scale = Scale {
            balance,
            // Balance looks at the decisions of others only.
            most: self.counts.max_without(&placed.held),
            ..Scale::new(self, policy, placed)
        };
        let few = policy.clusters.is_some() && policy.spread.is_empty();
        let field = Field::new(self, scale.for_all(), admitted, few, now);
        let wanted = policy.clusters.unwrap_or(field.asked.len());
        let picks = match among {
            Among::Held => field.held(),
            Among::All if policy.spread.is_empty() => field.best(wanted),
            Among::All => self.spread(policy, &field.asked, wanted),
        };
        let mut chosen: Vec<Slot> = picks.iter().map(|one| one.slot).collect();
        chosen.sort_unstable();
        let mut held = placed.held.clone();
        held.dedup();
        let changed = chosen != held;
        let ranking = if changed {
            self.ranking(&field.best(MOST_NAMED))
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
                    one.worth -= arrival(&field.scale, one.slot);
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
            recheck_at: field.recheck_at,
            expired: field
                .expired
                .map(|(prioritizer, slot)| (prioritizer, self.fleet.name(slot).to_owned())),
        };
        (choice, field.scale.spans)
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
            let published = self.scores.get(object)?.get(slot)?;
            let each = published.values.iter();
            Some(
                each.map(|(name, value)| (name.to_string(), *value))
                    .collect(),
            )
        };
        conditions.test(self.fleet.name(slot), expression, &scores)
    }

    fn spread(&self, policy: &Policy, ranked: &[Ranked], wanted: usize) -> Vec<Ranked> {
        let mut ranked = ranked.to_vec();
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
