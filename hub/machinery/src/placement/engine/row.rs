//! One cluster in as few bytes as its strings allow, and what selectors say of it.

use std::{cell::Cell, collections::BTreeMap};

use super::{
    super::{Amount, Cluster, Operator, Selector},
    texts::{Text, Texts},
};

/// A cluster that exists.
#[derive(Debug)]
pub(super) struct Row {
    /// Numbers of labels, then of claims, as pairs of key and value, each in their order; the number of the list of
    /// resources, which clusters that report the same share; the amounts in the order of that list, two words each.
    words: Box<[u32]>,
    labels: u32,
    claims: u32,
}

/// Numbers of labels or of claims, in their order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pairs<'a>(&'a [u32]);

impl<'a> Pairs<'a> {
    pub(super) fn has(self, pair: Text) -> bool {
        self.0.binary_search(&pair.number()).is_ok()
    }

    fn iter(self) -> impl Iterator<Item = Text> + 'a {
        self.0.iter().copied().map(Text::numbered)
    }
}

/// A list of resources is their names, one in a line, after a line that says which count for scores: CPU and memory do
/// not unless their capacity is reported, too.
pub(super) mod list {
    use crate::placement::{Cluster, Resource};

    const CPU: &str = "c";
    const MEMORY: &str = "m";

    pub(in super::super) fn of(cluster: &Cluster) -> String {
        let mut list = String::new();
        list.push_str(cluster.cpu.map_or("", |_| CPU));
        list.push_str(cluster.memory.map_or("", |_| MEMORY));
        for name in cluster.allocatable.keys() {
            list.push('\n');
            list.push_str(name);
        }
        list
    }

    /// The place of a resource.
    pub(in super::super) fn place(list: &str, resource: &str) -> Option<usize> {
        list.split('\n').skip(1).position(|name| name == resource)
    }

    /// The same, if it counts for scores.
    pub(in super::super) fn scored(list: &str, resource: Resource) -> Option<usize> {
        let (mark, name) = match resource {
            Resource::Cpu => (CPU, "cpu"),
            Resource::Memory => (MEMORY, "memory"),
        };
        let counted = list.split('\n').next()?.contains(mark);
        counted.then(|| place(list, name)).flatten()
    }
}

/// Where a resource was found in the list of the last cluster that was asked: most have the same list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Finder(Option<(Text, Option<usize>)>);

impl Finder {
    pub(super) fn ask(
        finder: &Cell<Self>,
        list: Text,
        find: impl FnOnce() -> Option<usize>,
    ) -> Option<usize> {
        match finder.get().0 {
            Some((known, place)) if known == list => place,
            _ => {
                let place = find();
                finder.set(Self(Some((list, place))));
                place
            }
        }
    }
}

impl Row {
    pub(super) fn new(cluster: &Cluster, texts: &mut Texts) -> Self {
        let mut pairs = |all: &BTreeMap<String, String>| {
            let pairs = all.iter().map(|(key, value)| texts.intern_pair(key, value));
            let mut pairs: Vec<u32> = pairs.map(Text::number).collect();
            pairs.sort_unstable();
            pairs
        };
        let (labels, claims) = (pairs(&cluster.labels), pairs(&cluster.claims));
        let amounts = cluster.allocatable.values().flat_map(|amount| {
            let bits = amount.bits().cast_unsigned();
            #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
            [(bits >> 32) as u32, bits as u32]
        });
        let list = texts.intern(&list::of(cluster)).number();
        let words = labels.iter().chain(&claims).copied();
        let words: Vec<u32> = words.chain([list]).chain(amounts).collect();
        let count = |pairs: &[u32]| u32::try_from(pairs.len()).expect("fewer than 2³² labels");
        Self {
            words: words.into(),
            labels: count(&labels),
            claims: count(&claims),
        }
    }

    pub(super) fn labels(&self) -> Pairs<'_> {
        Pairs(&self.words[..self.labels as usize])
    }

    pub(super) fn claims(&self) -> Pairs<'_> {
        Pairs(&self.words[self.labels as usize..self.terms()])
    }

    fn terms(&self) -> usize {
        self.labels as usize + self.claims as usize
    }

    pub(super) fn resources(&self) -> Text {
        Text::numbered(self.words[self.terms()])
    }

    /// The amount at a place of the list of resources.
    pub(super) fn amount(&self, place: usize) -> Option<Amount> {
        let (pairs, _) = self.words[self.terms() + 1..].as_chunks::<2>();
        let [high, low] = pairs.get(place)?;
        let bits = u64::from(*high) << 32 | u64::from(*low);
        Some(Amount::thousandths(bits.cast_signed()))
    }

    pub(super) fn same_terms(&self, other: &Self) -> bool {
        self.labels() == other.labels() && self.claims() == other.claims()
    }

    pub(super) fn same_resources(&self, other: &Self) -> bool {
        self.words[self.terms()..] == other.words[other.terms()..]
    }

    /// All that it holds of strings.
    pub(super) fn texts(&self) -> impl Iterator<Item = Text> + '_ {
        let words = &self.words[..=self.terms()];
        words.iter().copied().map(Text::numbered)
    }

    /// Bytes beside those of the row itself.
    pub(super) fn footprint(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// Pairs that only one of the two has.
    pub(super) fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Text> + 'a {
        let only = |one: &'a Self, other: &'a Self| {
            let labels = one.labels().iter();
            let labels = labels.filter(|pair| !other.labels().has(*pair));
            let claims = one.claims().iter();
            labels.chain(claims.filter(|pair| !other.claims().has(*pair)))
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

    pub(super) fn matches(&self, pairs: Pairs<'_>, texts: &Texts) -> bool {
        let among = |values: &[Text]| values.iter().any(|one| pairs.has(*one));
        self.0.iter().all(|ask| match ask {
            Ask::OneOf(values) => among(values),
            Ask::NoneOf(values) => !among(values),
            Ask::Exists(key) => key.is_some_and(|key| valued(pairs, key, texts).is_some()),
            Ask::Lacks(key) => key.is_none_or(|key| valued(pairs, key, texts).is_none()),
        })
    }
}

/// The pair with this key.
pub(super) fn valued(pairs: Pairs<'_>, key: Text, texts: &Texts) -> Option<Text> {
    pairs.iter().find(|pair| texts.key(*pair) == Some(key))
}
