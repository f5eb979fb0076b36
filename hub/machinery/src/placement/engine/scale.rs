//! What a placement makes of one cluster: whether it passes, and its score.

use std::cell::Cell;

use jiff::Timestamp;

use super::{
    Engine, OfObject, Placed,
    bits::Bits,
    fleet::Slot,
    row::{Finder, Row},
};
use crate::placement::{
    Amount, Policy, Prioritizer, Resource,
    evaluate::Earliest,
    filter::{Held, Tolerance, tolerance},
    score::{MAX_SCORE, Span, balance},
};

/// Counts beyond are leveled one by one.
const MOST_LEVELS: u32 = 4096;

/// What the decisions of others mean to a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Balance {
    Counts,
    /// They changed since the placement was decided, as they always do, and that is no reason to move: they are left out,
    /// and of two that are as good the one that is held is better.
    LeftOut,
}

/// A prioritizer by its name, and a cluster whose score had expired.
pub(super) type Expired = (String, Slot);

/// What the score of a cluster for a placement depends on.
pub(super) struct Scale<'a> {
    pub(super) policy: &'a Policy,
    pub(super) placed: &'a Placed,
    pub(super) balance: Balance,
    /// The highest count of decisions of other placements.
    pub(super) most: u32,
    pub(super) spans: [Span; 2],
    /// The scores of clusters that each prioritizer looks at.
    pub(super) published: Vec<Option<&'a OfObject>>,
    /// What `Balance` makes of each count, and which clusters are held: where all candidates are asked.
    pub(super) levels: Vec<i64>,
    pub(super) held: Option<Bits>,
    pub(super) finders: [Cell<Finder>; 2],
    /// The same for what the placement requests.
    pub(super) requested: Vec<(&'a str, Cell<Finder>)>,
}

impl<'a> Scale<'a> {
    /// Before anything is known of others.
    pub(super) fn new(engine: &'a Engine, policy: &'a Policy, placed: &'a Placed) -> Self {
        let looks_up = |one: &Prioritizer| matches!(one, Prioritizer::AddOn { .. });
        let mut published = Vec::new();
        if policy
            .prioritizers
            .iter()
            .any(|one| looks_up(&one.prioritizer))
        {
            published.extend(
                policy
                    .prioritizers
                    .iter()
                    .map(|one| match &one.prioritizer {
                        Prioritizer::AddOn { resource, .. } => engine.scores.get(resource),
                        _ => None,
                    }),
            );
        }
        Self {
            policy,
            placed,
            balance: Balance::Counts,
            most: 0,
            spans: [Span::NOTHING; 2],
            published,
            levels: Vec::new(),
            held: None,
            finders: Default::default(),
            requested: policy
                .packing
                .iter()
                .flat_map(|packing| packing.requests.keys())
                .map(|resource| (resource.as_str(), Cell::default()))
                .collect(),
        }
    }

    /// Prepares for being asked of every candidate.
    pub(super) fn for_all(mut self) -> Self {
        if self.most < MOST_LEVELS {
            let most = f64::from(self.most);
            self.levels = (0..=self.most).map(|load| balance(load, most)).collect();
        }
        let mut held = Bits::default();
        for slot in &self.placed.held {
            held.set(*slot, true);
        }
        self.held = Some(held);
        self
    }

    pub(super) fn holds(&self, slot: Slot) -> bool {
        match &self.held {
            Some(held) => held.has(slot),
            None => self.placed.holds(slot),
        }
    }

    /// What a total is worth: the less, the better. Where the decisions of others are left out, of two that are as good
    /// the one that is held is better.
    pub(super) fn worth(&self, total: i64, held: bool) -> i64 {
        match self.balance {
            Balance::Counts => -total,
            Balance::LeftOut => -2 * total - i64::from(held),
        }
    }

    pub(super) fn level(&self, load: u32) -> i64 {
        let known = self.levels.get(load as usize).copied();
        known.unwrap_or_else(|| balance(load, f64::from(self.most)))
    }
}

impl Engine {
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
            let held = if scale.holds(slot) {
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
        self.fits(scale, slot).then_some(speaking)
    }

    /// The amount of a resource that a cluster is scored by.
    pub(super) fn scored(&self, scale: &Scale<'_>, slot: Slot, resource: Resource) -> Option<f64> {
        let finder = &scale.finders[resource as usize];
        let amount = self.fleet.found(self.fleet.row(slot)?, resource, finder);
        amount.map(Amount::units)
    }

    /// The weighted scores of a cluster.
    pub(super) fn total(
        &self,
        scale: &Scale<'_>,
        slot: Slot,
        now: Timestamp,
        expiry: &mut Earliest,
        expired: &mut Option<Expired>,
    ) -> i64 {
        let all = scale.policy.prioritizers.iter().enumerate();
        all.map(|(at, one)| one.weight * self.score(scale, at, slot, now, expiry, expired))
            .sum()
    }

    /// What `Balance` gives a cluster that is not held, weighted.
    pub(super) fn balanced(&self, scale: &Scale<'_>, slot: Slot) -> i64 {
        if scale.balance == Balance::LeftOut {
            return 0;
        }
        let all = scale.policy.prioritizers.iter();
        let all = all.filter(|one| one.prioritizer == Prioritizer::Balance);
        all.map(|one| one.weight * scale.level(self.counts.of(slot)))
            .sum()
    }

    /// What the prioritizer at a place gives a cluster.
    pub(super) fn score(
        &self,
        scale: &Scale<'_>,
        at: usize,
        slot: Slot,
        now: Timestamp,
        expiry: &mut Earliest,
        expired: &mut Option<Expired>,
    ) -> i64 {
        let prioritizer = &scale.policy.prioritizers[at].prioritizer;
        match prioritizer {
            Prioritizer::Balance if scale.balance == Balance::LeftOut => 0,
            Prioritizer::Balance => scale.level(self.load(scale, slot)),
            Prioritizer::Steady if scale.holds(slot) => MAX_SCORE,
            Prioritizer::Steady => 0,
            Prioritizer::Allocatable(resource) => {
                let amount = self.scored(scale, slot, *resource);
                amount.map_or(0, |amount| scale.spans[*resource as usize].score(amount))
            }
            Prioritizer::AddOn { score, .. } => {
                let published = scale.published.get(at).copied().flatten();
                let published = published.and_then(|of| of.get(slot));
                let found = published.and_then(|one| Some((one.value(score)?, one.valid_until)));
                match found {
                    Some((_, Some(until))) if until <= now => {
                        expired.get_or_insert_with(|| (prioritizer.name(), slot));
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
        }
    }

    /// The score of an add-on, whether it has expired or not.
    pub(super) fn published(&self, prioritizer: &Prioritizer, slot: Slot) -> Option<i64> {
        let Prioritizer::AddOn { resource, score } = prioritizer else {
            return None;
        };
        self.scores.get(resource)?.get(slot)?.value(score)
    }

    /// Whether a cluster has free what a placement requests. What is there stays: nodes are cordoned for an upgrade.
    pub(super) fn fits(&self, scale: &Scale<'_>, slot: Slot) -> bool {
        let Some(packing) = &scale.policy.packing else {
            return true;
        };
        if scale.holds(slot) {
            return true;
        }
        self.fleet.row(slot).is_some_and(|row| {
            let lacking = packing.lacking(
                |resource| self.requested(scale, row, resource),
                |resource| self.room.taken(slot, resource, None),
            );
            lacking.is_none()
        })
    }

    fn packed(&self, scale: &Scale<'_>, slot: Slot) -> Option<i64> {
        let row = self.fleet.row(slot)?;
        let own = scale.placed.packing.as_ref();
        let own = own.filter(|_| scale.holds(slot));
        scale.policy.packing.as_ref()?.score(
            |resource| self.requested(scale, row, resource),
            |resource| {
                let own = own.and_then(|own| own.requests.get(resource));
                self.room.taken(slot, resource, own.copied())
            },
        )
    }

    /// How much there is of a resource that a placement requests.
    fn requested(&self, scale: &Scale<'_>, row: &Row, resource: &str) -> Option<Amount> {
        let mut places = scale.requested.iter();
        let (_, finder) = places.find(|(name, _)| *name == resource)?;
        self.fleet.amount(row, resource, finder)
    }

    /// Decisions of other placements that name a cluster.
    fn load(&self, scale: &Scale<'_>, slot: Slot) -> u32 {
        if !scale.holds(slot) {
            return self.counts.of(slot);
        }
        let held = &scale.placed.held;
        let from = held.partition_point(|one| *one < slot);
        let own = held[from..].iter().take_while(|one| **one == slot).count();
        let own = u32::try_from(own).unwrap_or(u32::MAX);
        self.counts.of(slot).saturating_sub(own)
    }
}
