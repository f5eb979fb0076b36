//! What expressions in predicates said of clusters, remembered until the cluster or its scores change.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use koinon_api::ManagedCluster;
use koinon_machinery::{
    cel::{Program, Value},
    placement::expression::{self, Outcome, ScoreLookup},
};
use koinon_store::Stored;
use kube::Resource as _;
use parking_lot::Mutex;

/// Bytes of JSON whose values are kept for further expressions; as values they take some times more.
const KEPT: usize = 8 << 20;

/// Clusters as expressions see them, and what came out.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    /// Shared with the watch cache.
    objects: BTreeMap<String, Arc<Stored>>,
    /// Filled while decisions are made, which only read the index.
    known: Mutex<Known>,
}

/// Outcomes that are remembered at most; beyond, all are forgotten and found again.
const MOST_OUTCOMES: usize = 1 << 20;

#[derive(Default)]
struct Known {
    /// By cluster and number of the expression.
    outcomes: HashMap<String, HashMap<u32, Outcome>>,
    count: usize,
    /// Each expression is kept once, however many clusters it was asked of.
    numbers: HashMap<String, u32>,
    subjects: HashMap<String, (usize, Value)>,
    kept: usize,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known")
            .field("clusters", &self.outcomes.len())
            .finish_non_exhaustive()
    }
}

impl Conditions {
    pub(super) fn observe_cluster(&mut self, name: &str, object: Option<&Arc<Stored>>) {
        self.forget(name);
        match object {
            Some(object) => self.objects.insert(name.to_owned(), Arc::clone(object)),
            None => self.objects.remove(name),
        };
    }

    /// Its scores changed, or itself.
    pub(super) fn forget(&mut self, cluster: &str) {
        let known = self.known.get_mut();
        let forgotten = known.outcomes.remove(cluster);
        known.count -= forgotten.map_or(0, |outcomes| outcomes.len());
        if let Some((size, _)) = known.subjects.remove(cluster) {
            known.kept -= size;
        }
    }

    /// Also what expressions said that nobody asks any more.
    pub(super) fn forget_all(&mut self) {
        *self.known.get_mut() = Known::default();
    }

    /// A cluster as expressions see it; other threads may go on meanwhile.
    fn subject(&self, cluster: &str) -> Option<Value> {
        if let Some((_, subject)) = self.known.lock().subjects.get(cluster) {
            return Some(subject.clone());
        }
        let stored = self.objects.get(cluster)?;
        let mut json = Vec::new();
        let (version, kind) = (ManagedCluster::api_version(&()), ManagedCluster::kind(&()));
        stored.render_into(&mut json, &version, &kind);
        let subject = expression::subject(serde_json::from_slice(&json).ok()?);
        let mut known = self.known.lock();
        if known.kept + json.len() <= KEPT && !known.subjects.contains_key(cluster) {
            known.kept += json.len();
            known
                .subjects
                .insert(cluster.to_owned(), (json.len(), subject.clone()));
        }
        Some(subject)
    }
}

impl Known {
    fn outcome(&self, cluster: &str, expression: &str) -> Option<&Outcome> {
        let number = self.numbers.get(expression)?;
        self.outcomes.get(cluster)?.get(number)
    }

    fn remember(&mut self, cluster: &str, expression: &str, outcome: Outcome) {
        if self.count >= MOST_OUTCOMES {
            self.outcomes.clear();
            self.numbers.clear();
            self.count = 0;
        }
        let number = match self.numbers.get(expression) {
            Some(number) => *number,
            None => {
                // No more than there are outcomes, and those are bounded.
                let number = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
                self.numbers.insert(expression.to_owned(), number);
                number
            }
        };
        let of_cluster = self.outcomes.entry(cluster.to_owned()).or_default();
        if of_cluster.insert(number, outcome).is_none() {
            self.count += 1;
        }
    }
}

impl koinon_machinery::placement::Conditions for Conditions {
    fn test(&self, cluster: &str, expression: &Program, scores: ScoreLookup<'_>) -> Outcome {
        let known = self
            .known
            .lock()
            .outcome(cluster, expression.source())
            .cloned();
        if let Some(outcome) = known {
            return outcome;
        }
        let Some(subject) = self.subject(cluster) else {
            return Outcome::default();
        };
        // Others evaluate meanwhile; the same twice is no harm.
        let outcome = expression::test(expression, &subject, scores);
        self.known
            .lock()
            .remember(cluster, expression.source(), outcome.clone());
        outcome
    }
}
