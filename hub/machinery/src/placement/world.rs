//! Everything that placements depend on, as objects: for explanations, hypotheses and simulations.
//!
//! The hub keeps an index of its own, change by change; what is asked of either is answered by the same evaluation.

mod decide;
mod report;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;
use koinon_api::{
    AddOnPlacementScore, ManagedCluster, ManagedClusterSet, ManagedClusterSetBinding, Placement,
    PlacementDecision,
    labels::{annotation, label, reason::placement as reason},
};

pub use self::report::{MayName, NOT_FOUND};
use self::view::View;
use super::{
    Cluster, ClusterExplanation, Evaluation, Explanation, Load, Membership, Misconfigured, Packing,
    Policy, Snapshot, Taint, evaluate,
    expression::{self, Outcome, ScoreLookup},
};
use crate::cel::{Program, Value};

/// Namespace and name.
pub type Name = (String, String);

/// Why there is no candidate; as OCM words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoClusters {
    #[error("No valid ManagedClusterSetBindings found in placement namespace")]
    NoBindings,
    #[error("None of ManagedClusterSets [{}] is bound to placement namespace", .0.join(","))]
    NoIntersection(Vec<String>),
    #[error("All ManagedClusterSets [{}] have no member ManagedCluster", .0.join(","))]
    AllEmpty(Vec<String>),
}

impl NoClusters {
    /// The reason in the condition `PlacementSatisfied`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoBindings => reason::NO_BINDINGS,
            Self::NoIntersection(_) => reason::NO_INTERSECTION,
            Self::AllEmpty(_) => reason::ALL_SETS_EMPTY,
        }
    }
}

/// What a placement is answered.
#[derive(Debug)]
pub enum Answer<'a> {
    Evaluated(Box<Evaluation<'a>>),
    Misconfigured(Misconfigured),
    NoClusters(NoClusters),
    /// Its decisions are left alone: it is being deleted, or an annotation says so.
    Untouched,
}

/// Clusters, sets, bindings, scores, placements and their decisions at one moment.
#[derive(Clone, Debug, Default)]
pub struct World {
    clusters: BTreeMap<String, Arc<Member>>,
    /// Those that are being deleted: nobody chooses them, and whoever asks is told so.
    going: BTreeMap<String, Arc<Member>>,
    sets: BTreeMap<String, Membership>,
    bindings: BTreeSet<(String, String)>,
    scores: BTreeMap<(String, String), Arc<Scores>>,
    placements: BTreeMap<Name, Arc<Entry>>,
    held: BTreeMap<Name, BTreeSet<String>>,
    load: Load,
    /// What decisions name that belong to no placement.
    strays: Vec<String>,
    /// Placements still moved when it was settled.
    pub(super) restless: bool,
}

#[derive(Debug)]
struct Member {
    cluster: Cluster,
    object: serde_json::Value,
    subject: OnceLock<Value>,
}

#[derive(Debug)]
struct Scores {
    values: BTreeMap<String, i64>,
    valid_until: Option<Timestamp>,
}

#[derive(Debug)]
struct Entry {
    /// As it is told to whoever asks.
    object: Placement,
    policy: Arc<Result<Policy, Misconfigured>>,
    /// What it reserves, also while its spec cannot be evaluated.
    packing: Option<Packing>,
    untouched: bool,
}

impl World {
    /// Adds a cluster, or replaces it. One that is being deleted counts as gone.
    pub fn put_cluster(&mut self, cluster: &ManagedCluster) {
        let object = serde_json::to_value(cluster).unwrap_or_default();
        self.put_cluster_as(cluster, object);
    }

    /// The same with the JSON that expressions are to see.
    pub fn put_cluster_as(&mut self, cluster: &ManagedCluster, object: serde_json::Value) {
        let member = Member {
            object,
            subject: OnceLock::new(),
            cluster: Cluster::prepare(cluster),
        };
        let name = member.cluster.name.clone();
        self.remove_cluster(&name);
        let place = match cluster.metadata.deletion_timestamp {
            Some(_) => &mut self.going,
            None => &mut self.clusters,
        };
        place.insert(name, Arc::new(member));
    }

    /// Puts a taint on a cluster; `false` when there is no such cluster.
    pub fn taint(&mut self, name: &str, taint: Taint) -> bool {
        let Some(member) = self.clusters.get(name) else {
            return false;
        };
        let mut cluster = member.cluster.clone();
        let mut object = member.object.clone();
        // Expressions see it, too.
        let taints = object
            .pointer_mut("/spec")
            .and_then(|spec| spec.as_object_mut());
        let taints = taints.map(|spec| {
            spec.entry("taints")
                .or_insert_with(|| serde_json::json!([]))
        });
        if let Some(taints) = taints.and_then(|taints| taints.as_array_mut()) {
            taints.push(serde_json::json!({
                "key": taint.key, "value": taint.value, "effect": format!("{:?}", taint.effect), "timeAdded": taint.added,
            }));
        }
        cluster.taints.push(taint);
        let member = Member {
            cluster,
            object,
            subject: OnceLock::new(),
        };
        self.clusters.insert(name.to_owned(), Arc::new(member));
        true
    }

    pub fn remove_cluster(&mut self, name: &str) {
        self.clusters.remove(name);
        self.going.remove(name);
    }

    pub fn put_set(&mut self, set: &ManagedClusterSet) {
        let name = set.metadata.name.clone().unwrap_or_default();
        self.sets.insert(name, Membership::of(set));
    }

    pub fn remove_set(&mut self, name: &str) {
        self.sets.remove(name);
    }

    #[must_use]
    pub fn has_set(&self, name: &str) -> bool {
        self.sets.contains_key(name)
    }

    pub fn put_binding(&mut self, binding: &ManagedClusterSetBinding) {
        let metadata = &binding.metadata;
        let namespace = metadata.namespace.clone().unwrap_or_default();
        self.bindings
            .insert((namespace, metadata.name.clone().unwrap_or_default()));
    }

    pub fn remove_binding(&mut self, namespace: &str, set: &str) {
        self.bindings
            .remove(&(namespace.to_owned(), set.to_owned()));
    }

    pub fn put_scores(&mut self, scores: &AddOnPlacementScore) {
        let metadata = &scores.metadata;
        let key = (
            metadata.namespace.clone().unwrap_or_default(),
            metadata.name.clone().unwrap_or_default(),
        );
        let status = scores.status.clone().unwrap_or_default();
        let values = status
            .scores
            .into_iter()
            .map(|item| (item.name, i64::from(item.value)));
        let scores = Scores {
            values: values.collect(),
            valid_until: status.valid_until.map(|time| time.0),
        };
        self.scores.insert(key, Arc::new(scores));
    }

    pub fn put_placement(&mut self, placement: &Placement) {
        let metadata = &placement.metadata;
        let disabled = metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(annotation::SCHEDULING_DISABLE))
            .is_some_and(|value| value == "true");
        let entry = Entry {
            object: placement.clone(),
            policy: Arc::new(Policy::of(placement)),
            packing: Packing::of(placement),
            untouched: disabled || metadata.deletion_timestamp.is_some(),
        };
        let name = (
            metadata.namespace.clone().unwrap_or_default(),
            metadata.name.clone().unwrap_or_default(),
        );
        self.placements.insert(name, Arc::new(entry));
    }

    pub fn remove_placement(&mut self, name: &Name) {
        self.placements.remove(name);
    }

    /// Adds what a decision object says its placement holds.
    pub fn put_decision(&mut self, decision: &PlacementDecision) {
        let metadata = &decision.metadata;
        let labels = metadata.labels.as_ref();
        let placement = labels.and_then(|labels| labels.get(label::PLACEMENT));
        let decisions = decision.status.iter().flat_map(|status| &status.decisions);
        let Some(placement) = placement else {
            // It counts where it is, whoever made it.
            let clusters: Vec<String> = decisions.map(|one| one.cluster_name.clone()).collect();
            self.load.add(clusters.iter().map(String::as_str));
            self.strays.extend(clusters);
            return;
        };
        let name = (
            metadata.namespace.clone().unwrap_or_default(),
            placement.clone(),
        );
        let held = self.held.entry(name).or_default();
        for one in decisions {
            if held.insert(one.cluster_name.clone()) {
                self.load.add([one.cluster_name.as_str()]);
            }
        }
    }

    pub fn clusters(&self) -> impl Iterator<Item = &Cluster> {
        self.clusters.values().map(|member| &member.cluster)
    }

    pub fn placements(&self) -> impl Iterator<Item = &Name> {
        self.placements.keys()
    }

    /// The compiled policy of a placement, or its mistake; `None` when there is no such placement.
    #[must_use]
    pub fn policy(&self, name: &Name) -> Option<&Result<Policy, Misconfigured>> {
        self.placements.get(name).map(|entry| &*entry.policy)
    }

    /// The clusters that a placement's decisions name.
    pub fn held(&self, name: &Name) -> impl Iterator<Item = &str> {
        self.held
            .get(name)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// Evaluates one placement; `None` when it does not exist.
    #[must_use]
    pub fn answer(&self, name: &Name, now: Timestamp) -> Option<Answer<'_>> {
        let entry = self.placements.get(name)?;
        if entry.untouched {
            return Some(Answer::Untouched);
        }
        let candidates = match self.candidates(name, entry) {
            Ok(candidates) => candidates,
            Err(none) => return Some(Answer::NoClusters(none)),
        };
        let policy = match &*entry.policy {
            Ok(policy) => policy,
            Err(error) => return Some(Answer::Misconfigured(error.clone())),
        };
        let snapshot = Snapshot {
            candidates,
            facts: self.view(name),
            now,
        };
        let evaluation = evaluate(policy, snapshot);
        Some(match evaluation.overrun {
            // It says what the first clusters are told, and nobody decides so.
            Some(error) => Answer::Misconfigured(error),
            None => Answer::Evaluated(Box::new(evaluation)),
        })
    }

    /// Evaluates one placement and explains every candidate; `None` when there is nothing to explain.
    #[must_use]
    pub fn explain(&self, name: &Name, now: Timestamp) -> Option<Explanation> {
        let policy = self.placements.get(name)?.policy.as_ref().as_ref().ok()?;
        match self.answer(name, now)? {
            Answer::Evaluated(evaluation) => Some(evaluation.explain(policy, &self.view(name))),
            _ => None,
        }
    }

    /// Explains one cluster, also one that the placement cannot choose from; `None` when there is no such cluster, or
    /// nothing to explain.
    #[must_use]
    pub fn explain_cluster(
        &self,
        name: &Name,
        cluster: &str,
        now: Timestamp,
    ) -> Option<ClusterExplanation> {
        let entry = self.placements.get(name)?;
        let policy = entry.policy.as_ref().as_ref().ok()?;
        let Answer::Evaluated(evaluation) = self.answer(name, now)? else {
            return None;
        };
        let facts = self.view(name);
        let mut explained = evaluation.explain(policy, &facts).clusters.into_iter();
        if let Some(one) = explained.find(|one| one.cluster == cluster) {
            return Some(one);
        }
        let (member, why) = match (self.going.get(cluster), self.clusters.get(cluster)) {
            (Some(going), _) => (going, "it is being deleted".to_owned()),
            (None, Some(member)) => {
                let sets = self.eligible(name, entry).ok()?;
                let sets: Vec<&str> = sets.into_iter().map(String::as_str).collect();
                let sets = sets.join(",");
                let why = format!("it is in none of the ManagedClusterSets [{sets}]");
                (member, why)
            }
            (None, None) => return None,
        };
        Some(evaluation.outsider(policy, &facts, &member.cluster, why))
    }

    /// What an expression says of a cluster.
    fn test(&self, cluster: &str, expression: &Program, scores: ScoreLookup<'_>) -> Outcome {
        let member = self.clusters.get(cluster);
        let Some(member) = member.or_else(|| self.going.get(cluster)) else {
            return Outcome::default();
        };
        let subject = member
            .subject
            .get_or_init(|| expression::subject(member.object.clone()));
        expression::test(expression, subject, scores)
    }

    /// The sets that a placement may choose from.
    fn eligible(&self, name: &Name, entry: &Entry) -> Result<Vec<&String>, NoClusters> {
        let from = (name.0.clone(), String::new());
        let bound: Vec<&String> = self
            .bindings
            .range(from..)
            .take_while(|(namespace, _)| *namespace == name.0)
            .map(|(_, set)| set)
            .filter(|set| self.sets.contains_key(*set))
            .collect();
        if bound.is_empty() {
            return Err(NoClusters::NoBindings);
        }
        let wanted = |set: &&String| {
            entry.object.spec.cluster_sets.is_empty()
                || entry.object.spec.cluster_sets.contains(set)
        };
        let eligible: Vec<&String> = bound.into_iter().filter(wanted).collect();
        if eligible.is_empty() {
            return Err(NoClusters::NoIntersection(
                entry.object.spec.cluster_sets.clone(),
            ));
        }
        Ok(eligible)
    }

    fn candidates(&self, name: &Name, entry: &Entry) -> Result<Vec<&Cluster>, NoClusters> {
        let eligible = self.eligible(name, entry)?;
        let memberships: Vec<&Membership> = eligible.iter().map(|set| &self.sets[*set]).collect();
        let member =
            |cluster: &&Cluster| memberships.iter().any(|set| set.includes(&cluster.labels));
        let candidates: Vec<&Cluster> = self.clusters().filter(member).collect();
        if candidates.is_empty() {
            let names = eligible.into_iter().cloned().collect();
            return Err(NoClusters::AllEmpty(names));
        }
        Ok(candidates)
    }

    fn view<'a>(&'a self, name: &'a Name) -> View<'a> {
        View::of(self, name)
    }
}
