//! Scores that add-ons publish.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
};

use jiff::Timestamp;

use super::{Engine, Slot};

/// An `AddOnPlacementScore`.
#[derive(Debug, PartialEq)]
pub(super) struct Published {
    /// By name.
    pub(super) values: Box<[(Box<str>, i64)]>,
    pub(super) valid_until: Option<Timestamp>,
}

/// The `AddOnPlacementScore`s of one name.
#[derive(Debug, Default)]
pub(super) struct OfObject {
    by_slot: HashMap<Slot, Published>,
    /// When those end that do.
    ends: BTreeSet<(Timestamp, Slot)>,
}

impl OfObject {
    pub(super) fn get(&self, slot: Slot) -> Option<&Published> {
        self.by_slot.get(&slot)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Published)> {
        self.by_slot.iter().map(|(slot, one)| (*slot, one))
    }

    /// Puts or removes the scores of a cluster; says whether there were some.
    pub(super) fn set(&mut self, slot: Slot, new: Option<Published>) -> bool {
        let end = |one: &Published| Some((one.valid_until?, slot));
        let ends = new.as_ref().and_then(end);
        let old = match new {
            Some(new) => self.by_slot.insert(slot, new),
            None => self.by_slot.remove(&slot),
        };
        if let Some(ended) = old.as_ref().and_then(end) {
            self.ends.remove(&ended);
        }
        self.ends.extend(ends);
        old.is_some()
    }

    /// Those whose scores have ended.
    pub(super) fn ended(&self, now: Timestamp) -> impl Iterator<Item = Slot> {
        let ended = self.ends.range(..=(now, Slot::LAST));
        ended.map(|(_, slot)| *slot)
    }

    /// Those whose scores will end, the first ones first.
    pub(super) fn ending(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, Slot)> {
        let from = (Bound::Excluded((now, Slot::LAST)), Bound::Unbounded);
        self.ends.range(from).copied()
    }
}

impl Published {
    pub(super) fn value(&self, score: &str) -> Option<i64> {
        let at = self
            .values
            .binary_search_by(|(name, _)| (**name).cmp(score));
        Some(self.values[at.ok()?].1)
    }
}

impl Engine {
    /// Puts the scores of an `AddOnPlacementScore`, named `object`, of a cluster.
    pub fn put_scores(
        &mut self,
        cluster: &str,
        object: &str,
        values: impl IntoIterator<Item = (String, i64)>,
        valid_until: Option<Timestamp>,
    ) {
        let values: BTreeMap<String, i64> = values.into_iter().collect();
        let values = values.into_iter().map(|(name, value)| (name.into(), value));
        let published = Published {
            values: values.collect(),
            valid_until,
        };
        let slot = self.fleet.slot(cluster);
        let of_object = self.scores.entry(object.to_owned()).or_default();
        if of_object.get(slot) != Some(&published) {
            of_object.set(slot, Some(published));
            self.inputs += 1;
            self.sort_scores(slot, object);
            self.scores_changed(slot, object);
        }
    }

    pub fn remove_scores(&mut self, cluster: &str, object: &str) {
        let Some(slot) = self.fleet.find(cluster) else {
            return;
        };
        let Some(of_object) = self.scores.get_mut(object) else {
            return;
        };
        if of_object.set(slot, None) {
            if of_object.by_slot.is_empty() {
                self.scores.remove(object);
            }
            self.inputs += 1;
            self.sort_scores(slot, object);
            self.scores_changed(slot, object);
            self.forget(slot);
        }
    }
}
