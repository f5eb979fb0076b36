//! Clusters, as compactly as their strings allow: numbers of strings, no map for any of them.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
};

use hashbrown::HashTable;
use jiff::Timestamp;

use super::{
    super::{Cluster, Effect, Operator, Resource, Selector, filter::TaintRef},
    bits::Bits,
    grow::push_tight,
    texts::{Text, Texts},
};

/// The place of a cluster; given to another once nothing refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(u32);

impl Slot {
    pub(super) fn at(index: usize) -> Self {
        Self(u32::try_from(index).expect("fewer than 2³² clusters"))
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A cluster that exists.
#[derive(Debug)]
pub(super) struct Row {
    /// Pairs of key and value: labels, then claims, each in the order of their numbers. The last is no pair: it holds
    /// the names of the amounts, line by line, which clusters that report the same share.
    terms: Box<[Text]>,
    amounts: Box<[f64]>,
    labels: u32,
    /// Whether CPU and memory count for scores: not unless their capacity is reported, too.
    scored: [bool; 2],
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

impl Row {
    pub(super) fn labels(&self) -> &[Text] {
        &self.terms[..self.labels as usize]
    }

    pub(super) fn claims(&self) -> &[Text] {
        &self.terms[self.labels as usize..self.terms.len() - 1]
    }

    fn resources(&self) -> Text {
        self.terms[self.terms.len() - 1]
    }

    pub(super) fn same_terms(&self, other: &Self) -> bool {
        self.labels() == other.labels() && self.claims() == other.claims()
    }

    pub(super) fn same_resources(&self, other: &Self) -> bool {
        self.resources() == other.resources()
            && self.amounts == other.amounts
            && self.scored == other.scored
    }

    /// Pairs that only one of the two has.
    pub(super) fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Text> + 'a {
        let only = |one: &'a Self, other: &'a Self| {
            let labels = one.labels().iter();
            let labels = labels.filter(|pair| other.labels().binary_search(pair).is_err());
            let claims = one.claims().iter();
            let claims = claims.filter(|pair| other.claims().binary_search(pair).is_err());
            labels.chain(claims).copied()
        };
        only(self, other).chain(only(other, self))
    }
}

/// A selector with the numbers of its strings; strings without a number are on no cluster.
pub(super) struct Resolved(Vec<Ask>);

enum Ask {
    OneOf(Vec<Text>),
    NoneOf(Vec<Text>),
    Exists(Option<Text>),
    Lacks(Option<Text>),
}

impl Resolved {
    pub(super) fn new(selector: &Selector, texts: &Texts) -> Self {
        let ask = |requirement: &super::super::Requirement| {
            let key = &requirement.key;
            let values = || {
                let values = requirement.values.iter();
                values
                    .filter_map(|value| texts.find_pair(key, value))
                    .collect()
            };
            match requirement.operator {
                Operator::In => Ask::OneOf(values()),
                Operator::NotIn => Ask::NoneOf(values()),
                Operator::Exists => Ask::Exists(texts.find(key)),
                Operator::DoesNotExist => Ask::Lacks(texts.find(key)),
            }
        };
        Self(selector.requirements().iter().map(ask).collect())
    }

    pub(super) fn matches(&self, pairs: &[Text], texts: &Texts) -> bool {
        let among = |values: &[Text]| values.iter().any(|one| pairs.binary_search(one).is_ok());
        self.0.iter().all(|ask| match ask {
            Ask::OneOf(values) => among(values),
            Ask::NoneOf(values) => !among(values),
            Ask::Exists(key) => key.is_some_and(|key| valued(pairs, key, texts).is_some()),
            Ask::Lacks(key) => key.is_none_or(|key| valued(pairs, key, texts).is_none()),
        })
    }
}

/// The pair with this key.
fn valued(pairs: &[Text], key: Text, texts: &Texts) -> Option<Text> {
    pairs
        .iter()
        .copied()
        .find(|pair| texts.key(*pair) == Some(key))
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
        let mut labels: Vec<Text> = cluster
            .labels
            .iter()
            .map(|(key, value)| texts.intern_pair(key, value))
            .collect();
        labels.sort_unstable();
        let mut claims: Vec<Text> = cluster
            .claims
            .iter()
            .map(|(name, value)| texts.intern_pair(name, value))
            .collect();
        claims.sort_unstable();
        let mut terms = Vec::with_capacity(labels.len() + claims.len() + 1);
        terms.extend_from_slice(&labels);
        terms.extend_from_slice(&claims);
        let resources: Vec<&str> = cluster.allocatable.keys().map(String::as_str).collect();
        terms.push(texts.intern(&resources.join("\n")));
        let taints = cluster.taints.iter().map(|taint| Spot {
            pair: texts.intern_pair(&taint.key, &taint.value),
            effect: taint.effect,
            added: taint.added,
        });
        let taints = taints.collect();
        let row = Row {
            terms: terms.into(),
            labels: u32::try_from(labels.len()).expect("fewer than 2³² labels"),
            amounts: cluster.allocatable.values().copied().collect(),
            scored: [cluster.cpu.is_some(), cluster.memory.is_some()],
        };
        State { row, taints }
    }

    pub(super) fn dispose(&mut self, state: State) {
        let taints = state.taints.iter().map(|taint| taint.pair);
        for text in state.row.terms.iter().copied().chain(taints) {
            self.texts.release(text);
        }
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

    /// How much of a resource can be allocated.
    pub(super) fn amount(&self, row: &Row, resource: &str) -> Option<f64> {
        let mut names = self.texts.get(row.resources()).split('\n');
        let at = names.position(|name| name == resource)?;
        row.amounts.get(at).copied()
    }

    /// The same for what scores look at.
    pub(super) fn scored(&self, row: &Row, resource: Resource) -> Option<f64> {
        let (at, name) = match resource {
            Resource::Cpu => (0, "cpu"),
            Resource::Memory => (1, "memory"),
        };
        row.scored[at].then(|| self.amount(row, name)).flatten()
    }

    /// Bytes of strings, and bytes beside them.
    pub(super) fn footprint(&self) -> (usize, usize) {
        let (strings, texts) = self.texts.footprint();
        let rows = self
            .rows
            .iter()
            .flatten()
            .map(|row| size_of_val(&*row.terms) + size_of_val(&*row.amounts));
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
