//! Clusters, as compactly as their strings allow: numbers of strings, no map for any of them.

use std::{
    cell::Cell,
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
};

use hashbrown::HashTable;
use jiff::Timestamp;

use super::{
    super::{Amount, Cluster, Effect, Resource, filter::TaintRef},
    bits::Bits,
    grow::push_tight,
    row::{Finder, Row, list, valued},
    texts::{Text, Texts},
};

/// The place of a cluster; given to another once nothing refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(u32);

impl Slot {
    pub(super) const LAST: Self = Self(u32::MAX);

    pub(super) fn at(index: usize) -> Self {
        Self(u32::try_from(index).expect("fewer than 2³² clusters"))
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A cluster, and its taints: few have any.
#[derive(Debug)]
pub(super) struct State {
    pub(super) row: Row,
    pub(super) taints: Box<[Spot]>,
}

/// A taint.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spot {
    pair: Text,
    effect: Effect,
    added: Option<Timestamp>,
}

/// All clusters, and names of clusters that only decisions or scores know.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    pub(super) texts: Texts,
    names: Vec<Text>,
    rows: Vec<Option<Row>>,
    taints: HashMap<Slot, Box<[Spot]>>,
    free: Vec<Slot>,
    /// By the number of their name.
    slots: HashTable<Slot>,
    hasher: RandomState,
    /// In the order of their names.
    by_name: Vec<Slot>,
    /// Position in that order, once it was asked for.
    order: Vec<u32>,
    ordered: bool,
    tainted: Bits,
}

impl Fleet {
    pub(super) fn find(&self, name: &str) -> Option<Slot> {
        let name = self.texts.find(name)?;
        let same = |slot: &Slot| self.names[slot.index()] == name;
        self.slots.find(self.hasher.hash_one(name), same).copied()
    }

    /// The slot of a name, known or not.
    pub(super) fn slot(&mut self, name: &str) -> Slot {
        if let Some(known) = self.find(name) {
            return known;
        }
        let text = self.texts.intern(name);
        let slot = if let Some(slot) = self.free.pop() {
            self.names[slot.index()] = text;
            slot
        } else {
            push_tight(&mut self.names, text);
            push_tight(&mut self.rows, None);
            Slot::at(self.names.len() - 1)
        };
        let (names, hasher) = (&self.names, &self.hasher);
        let hash = |slot: &Slot| hasher.hash_one(names[slot.index()]);
        self.slots.insert_unique(hash(&slot), slot, hash);
        let at = self.position(name);
        push_tight(&mut self.by_name, slot);
        self.by_name[at..].rotate_right(1);
        self.ordered = false;
        slot
    }

    /// Gives a slot back that has no row and that nothing refers to any more.
    pub(super) fn forget(&mut self, slot: Slot) {
        let name = self.names[slot.index()];
        let at = self.position(self.texts.get(name));
        self.by_name.remove(at);
        self.ordered = false;
        let same = |other: &Slot| *other == slot;
        if let Ok(found) = self.slots.find_entry(self.hasher.hash_one(name), same) {
            found.remove();
        }
        self.texts.release(name);
        self.free.push(slot);
    }

    fn position(&self, name: &str) -> usize {
        self.by_name.partition_point(|slot| self.name(*slot) < name)
    }

    pub(super) fn name(&self, slot: Slot) -> &str {
        self.texts.get(self.names[slot.index()])
    }

    pub(super) fn row(&self, slot: Slot) -> Option<&Row> {
        self.rows.get(slot.index())?.as_ref()
    }

    pub(super) fn spots(&self, slot: Slot) -> &[Spot] {
        self.taints.get(&slot).map_or(&[], |taints| taints)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (Slot, &Row)> {
        let all = self.rows.iter().enumerate();
        all.filter_map(|(at, row)| Some((Slot::at(at), row.as_ref()?)))
    }

    /// Brings the order of names up to date.
    pub(super) fn put_in_order(&mut self) {
        if self.ordered {
            return;
        }
        let missing = self.names.len().saturating_sub(self.order.len());
        self.order.reserve_exact(missing);
        self.order.resize(self.names.len(), 0);
        for (position, slot) in self.by_name.iter().enumerate() {
            self.order[slot.index()] = u32::try_from(position).unwrap_or(u32::MAX);
        }
        self.ordered = true;
    }

    /// The position of a cluster in the order of names, as of [`Fleet::put_in_order`].
    pub(super) fn order(&self, slot: Slot) -> u32 {
        self.order[slot.index()]
    }

    /// Puts a cluster's new state in the place of the old one, which is returned for [`Fleet::dispose`].
    pub(super) fn replace(&mut self, slot: Slot, new: Option<State>) -> Option<State> {
        let (row, taints) = match new {
            Some(state) => (Some(state.row), state.taints),
            None => (None, Box::default()),
        };
        self.tainted.set(slot, !taints.is_empty());
        let old = if taints.is_empty() {
            self.taints.remove(&slot)
        } else {
            self.taints.insert(slot, taints)
        };
        let row = std::mem::replace(&mut self.rows[slot.index()], row)?;
        Some(State {
            row,
            taints: old.unwrap_or_default(),
        })
    }

    pub(super) fn prepare(&mut self, cluster: &Cluster) -> State {
        let texts = &mut self.texts;
        let row = Row::new(cluster, texts);
        let taints = cluster.taints.iter().map(|taint| Spot {
            pair: texts.intern_pair(&taint.key, &taint.value),
            effect: taint.effect,
            added: taint.added,
        });
        let taints = taints.collect();
        State { row, taints }
    }

    pub(super) fn dispose(&mut self, state: State) {
        let taints = state.taints.iter().map(|taint| taint.pair);
        for text in state.row.texts().chain(taints) {
            self.texts.release(text);
        }
    }

    /// How many names there are.
    pub(super) fn slots(&self) -> usize {
        self.by_name.len()
    }

    /// All names in their order, whether there are clusters of them or not.
    pub(super) fn by_name(&self) -> &[Slot] {
        &self.by_name
    }

    pub(super) fn tainted(&self) -> &Bits {
        &self.tainted
    }

    pub(super) fn is_tainted(&self, slot: Slot) -> bool {
        self.tainted.has(slot)
    }

    pub(super) fn taints(&self, slot: Slot) -> impl Iterator<Item = TaintRef<'_>> {
        self.spots(slot).iter().map(|taint| TaintRef {
            key: self
                .texts
                .key(taint.pair)
                .map_or("", |key| self.texts.get(key)),
            value: self.texts.get(taint.pair),
            effect: taint.effect,
            added: taint.added,
        })
    }

    /// The pair that says the label of this key; two clusters with the same value have the same pair.
    pub(super) fn label(&self, row: &Row, key: &str) -> Option<Text> {
        valued(row.labels(), self.texts.find(key)?, &self.texts)
    }

    pub(super) fn claim(&self, row: &Row, name: &str) -> Option<Text> {
        valued(row.claims(), self.texts.find(name)?, &self.texts)
    }

    /// How much of a resource can be allocated, asked of one cluster after the other.
    pub(super) fn amount(
        &self,
        row: &Row,
        resource: &str,
        finder: &Cell<Finder>,
    ) -> Option<Amount> {
        let list = row.resources();
        let find = || list::place(self.texts.get(list), resource);
        row.amount(Finder::ask(finder, list, find)?)
    }

    /// How much of what scores look at can be allocated.
    pub(super) fn scored(&self, row: &Row, resource: Resource) -> Option<Amount> {
        row.amount(list::scored(self.texts.get(row.resources()), resource)?)
    }

    /// The same, asked of one cluster after the other.
    pub(super) fn found(
        &self,
        row: &Row,
        resource: Resource,
        finder: &Cell<Finder>,
    ) -> Option<Amount> {
        let list = row.resources();
        let find = || list::scored(self.texts.get(list), resource);
        row.amount(Finder::ask(finder, list, find)?)
    }

    /// Bytes of strings, and bytes beside them.
    pub(super) fn footprint(&self) -> (usize, usize) {
        let (strings, texts) = self.texts.footprint();
        let rows = self.rows.iter().flatten().map(Row::footprint);
        let taints = self.taints.values().map(|taints| size_of_val(&**taints));
        let taints =
            taints.sum::<usize>() + self.taints.capacity() * size_of::<(Slot, Box<[Spot]>)>();
        let kept = texts
            + self.rows.capacity() * size_of::<Option<Row>>()
            + rows.sum::<usize>()
            + taints
            + self.names.capacity() * size_of::<Text>()
            + (self.free.capacity() + self.by_name.capacity()) * size_of::<Slot>()
            + self.order.capacity() * size_of::<u32>()
            + self.slots.allocation_size()
            + self.tainted.footprint();
        (strings, kept)
    }
}
