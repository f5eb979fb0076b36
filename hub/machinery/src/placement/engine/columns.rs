//! What selectors say of clusters: one set of clusters for each question that placements ask, kept up to date.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    super::{Predicate, Selector},
    bits::Bits,
    fleet::{Fleet, Slot},
    row::{Resolved, Row},
};

/// Labels and claims of a predicate; placements that ask the same share the answer.
type Question = (Selector, Selector);

/// The place of a column.
pub(super) type Number = u32;

#[derive(Debug)]
struct Column {
    question: Arc<Question>,
    /// How many predicates of placements ask this.
    asked: u32,
    bits: Bits,
}

impl Column {
    fn mentions(&self) -> BTreeSet<&str> {
        let (labels, claims) = &*self.question;
        let all = labels.requirements().iter().chain(claims.requirements());
        all.map(|requirement| requirement.key.as_str()).collect()
    }
}

/// The columns of all placements, and which of them look at a key.
#[derive(Debug, Default)]
pub(super) struct Columns {
    all: Vec<Option<Column>>,
    free: Vec<Number>,
    numbers: HashMap<Arc<Question>, Number>,
    by_key: HashMap<String, Vec<Number>>,
}

impl Columns {
    pub(super) fn get(&self, number: Number) -> &Bits {
        let column = self.all[number as usize].as_ref();
        &column.expect("a column is there while it is asked").bits
    }

    /// The column of a predicate, for [`Columns::release`].
    pub(super) fn acquire(&mut self, predicate: &Predicate, fleet: &Fleet) -> Number {
        let question = Arc::new((predicate.labels.clone(), predicate.claims.clone()));
        if let Some(number) = self.numbers.get(&question) {
            if let Some(column) = &mut self.all[*number as usize] {
                column.asked += 1;
            }
            return *number;
        }
        let mut column = Column {
            question: Arc::clone(&question),
            asked: 1,
            bits: Bits::default(),
        };
        let asks = Asks::new(&question, fleet);
        for (slot, row) in fleet.rows() {
            if asks.matches(row, fleet) {
                column.bits.set(slot, true);
            }
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            Number::try_from(self.all.len() - 1).expect("fewer than 2³² predicates")
        });
        for key in column.mentions() {
            self.by_key.entry(key.to_owned()).or_default().push(number);
        }
        self.numbers.insert(question, number);
        self.all[number as usize] = Some(column);
        number
    }

    pub(super) fn release(&mut self, number: Number) {
        let place = &mut self.all[number as usize];
        let Some(column) = place else {
            return;
        };
        column.asked -= 1;
        if column.asked > 0 {
            return;
        }
        for key in column.mentions() {
            if let Some(columns) = self.by_key.get_mut(key) {
                columns.retain(|one| *one != number);
                if columns.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        self.numbers.remove(&column.question);
        *place = None;
        self.free.push(number);
    }

    /// Asks all columns about a cluster that came or went.
    pub(super) fn update(&mut self, slot: Slot, fleet: &Fleet) {
        let row = fleet.row(slot);
        for column in self.all.iter_mut().flatten() {
            let value =
                row.is_some_and(|row| Asks::new(&column.question, fleet).matches(row, fleet));
            column.bits.set(slot, value);
        }
    }

    /// Asks those columns about a cluster that look at one of the keys.
    pub(super) fn update_keys(&mut self, slot: Slot, keys: &BTreeSet<String>, fleet: &Fleet) {
        let Some(row) = fleet.row(slot) else {
            return;
        };
        for number in keys.iter().filter_map(|key| self.by_key.get(key)).flatten() {
            if let Some(column) = &mut self.all[*number as usize] {
                let value = Asks::new(&column.question, fleet).matches(row, fleet);
                column.bits.set(slot, value);
            }
        }
    }

    pub(super) fn footprint(&self) -> usize {
        let bits = self
            .all
            .iter()
            .flatten()
            .map(|column| column.bits.footprint());
        bits.sum()
    }
}

struct Asks {
    labels: Resolved,
    claims: Resolved,
}

impl Asks {
    fn new(question: &Question, fleet: &Fleet) -> Self {
        Self {
            labels: Resolved::new(&question.0, &fleet.texts),
            claims: Resolved::new(&question.1, &fleet.texts),
        }
    }

    fn matches(&self, row: &Row, fleet: &Fleet) -> bool {
        self.labels.matches(row.labels(), &fleet.texts)
            && self.claims.matches(row.claims(), &fleet.texts)
    }
}
