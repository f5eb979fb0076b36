//! The candidates of some cluster sets, and what selectors said of them.

use std::{collections::HashMap, sync::Arc};

use koinon_machinery::placement::{Cluster, Predicate, Selector};
use parking_lot::Mutex;

/// Columns that nobody asked for in a while are forgotten with all others when there are more than this.
const MOST_COLUMNS: usize = 4096;

/// One bit for each candidate.
#[derive(Clone, Debug)]
pub(super) struct Column(Vec<u64>);

impl Column {
    pub(super) fn has(&self, position: usize) -> bool {
        self.0
            .get(position / 64)
            .is_some_and(|word| word & (1 << (position % 64)) != 0)
    }

    fn set(&mut self, position: usize, value: bool) {
        let bit = 1 << (position % 64);
        if value {
            self.0[position / 64] |= bit;
        } else {
            self.0[position / 64] &= !bit;
        }
    }
}

/// Labels and claims of a predicate: placements that ask the same share the answer.
type Question = (Selector, Selector);

/// Clusters by name.
#[derive(Debug)]
pub(super) struct Pool {
    clusters: Vec<Arc<Cluster>>,
    /// Filled while decisions are made, which only read the pool.
    columns: Mutex<HashMap<Question, Arc<Column>>>,
}

impl Clone for Pool {
    fn clone(&self) -> Self {
        Self {
            clusters: self.clusters.clone(),
            columns: Mutex::new(self.columns.lock().clone()),
        }
    }
}

impl Pool {
    /// `clusters` are in the order of their names.
    pub(super) fn new(clusters: Vec<Arc<Cluster>>) -> Self {
        Self {
            clusters,
            columns: Mutex::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }

    pub(super) fn clusters(&self) -> impl Iterator<Item = &Cluster> {
        self.clusters.iter().map(AsRef::as_ref)
    }

    /// Puts a cluster's new state in the place of the old one; `false` when it is not in the pool.
    pub(super) fn replace(&mut self, new: &Arc<Cluster>) -> bool {
        let by_name = |one: &Arc<Cluster>| one.name.cmp(&new.name);
        let Ok(position) = self.clusters.binary_search_by(by_name) else {
            return false;
        };
        let old = std::mem::replace(&mut self.clusters[position], Arc::clone(new));
        if old.labels != new.labels || old.claims != new.claims {
            for ((labels, claims), column) in self.columns.get_mut() {
                let selected = labels.matches(&new.labels) && claims.matches(&new.claims);
                Arc::make_mut(column).set(position, selected);
            }
        }
        true
    }

    /// One column for each predicate.
    pub(super) fn columns(&self, predicates: &[Predicate]) -> Vec<Arc<Column>> {
        let mut columns = self.columns.lock();
        if columns.len() > MOST_COLUMNS {
            columns.clear();
        }
        let column = |predicate: &Predicate| {
            let question = (predicate.labels.clone(), predicate.claims.clone());
            let column = columns
                .entry(question)
                .or_insert_with(|| Arc::new(self.ask(predicate)));
            Arc::clone(column)
        };
        predicates.iter().map(column).collect()
    }

    fn ask(&self, predicate: &Predicate) -> Column {
        let mut column = Column(vec![0; self.clusters.len().div_ceil(64)]);
        for (position, cluster) in self.clusters.iter().enumerate() {
            if predicate.selects(cluster) {
                column.set(position, true);
            }
        }
        column
    }
}
