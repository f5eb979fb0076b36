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

    fn subject(&self, cluster: &str, known: &mut Known) -> Option<Value> {
        if let Some((_, subject)) = known.subjects.get(cluster) {
            return Some(subject.clone());
        }
        let stored = self.objects.get(cluster)?;
        let mut json = Vec::new();
        let (version, kind) = (ManagedCluster::api_version(&()), ManagedCluster::kind(&()));
        stored.render_into(&mut json, &version, &kind);
        let subject = expression::subject(serde_json::from_slice(&json).ok()?);
        if known.kept + json.len() <= KEPT {
            known.kept += json.len();
            known
                .subjects
                .insert(cluster.to_owned(), (json.len(), subject.clone()));
        }
        Some(subject)
    }
}

impl koinon_machinery::placement::Conditions for Conditions {
    fn test(&self, cluster: &str, expression: &Program, scores: ScoreLookup<'_>) -> Outcome {
        let mut known = self.known.lock();
        let known = &mut *known;
        if known.count >= MOST_OUTCOMES {
            known.outcomes.clear();
            known.numbers.clear();
            known.count = 0;
        }
        let number = match known.numbers.get(expression.source()) {
            Some(number) => *number,
            None => {
                // No more than there are outcomes, and those are bounded.
                let number = u32::try_from(known.numbers.len()).unwrap_or(u32::MAX);
                known.numbers.insert(expression.source().to_owned(), number);
                number
            }
        };
        let remembered = known.outcomes.get(cluster).and_then(|of| of.get(&number));
        if let Some(outcome) = remembered {
            return outcome.clone();
        }
        let Some(subject) = self.subject(cluster, known) else {
            return Outcome::default();
        };
        let outcome = expression::test(expression, &subject, scores);
        let of_cluster = known.outcomes.entry(cluster.to_owned()).or_default();
        if of_cluster.insert(number, outcome.clone()).is_none() {
            known.count += 1;
        }
        outcome
    }
}
