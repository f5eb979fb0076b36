//! What placements depend on, kept up to date change by change.

mod candidates;
mod marks;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use koinon_api::{
    AddOnPlacementScore, ManagedCluster, ManagedClusterSet, Placement, PlacementDecision,
    labels::{annotation, label},
    placement::{PlacementDecisionStatus, PlacementStatus},
};
use koinon_machinery::placement::{
    AddOnScore, Cluster, Load, Membership, Misconfigured, Packing, Policy,
};
use koinon_store::{Event, Revision, Stored};

use self::marks::{Concerns, only_resources_differ};
use super::{
    super::{decode, queue::Queue, resource},
    conditions::Conditions,
    pool::Pool,
};

/// Namespace and name.
pub(super) type Name = (String, String);

/// A cluster set and those in it.
#[derive(Debug)]
struct Set {
    membership: Membership,
    members: BTreeSet<String>,
}

/// A placement.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) uid: String,
    pub(super) cluster_sets: Vec<String>,
    pub(super) policy: Arc<Result<Policy, Misconfigured>>,
    /// Its decisions are left alone: it is being deleted, or an annotation says so.
    pub(super) untouched: bool,
    pub(super) status: PlacementStatus,
    generation: i64,
    /// The annotation, which is part of the policy and not of the generation.
    packing: Option<String>,
}

impl Entry {
    pub(super) fn packing(&self) -> Option<&Packing> {
        self.policy.as_ref().as_ref().ok()?.packing.as_ref()
    }
}

/// A `PlacementDecision`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decision {
    pub(super) uid: String,
    pub(super) owner: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    /// `None` until its status is written for the first time.
    pub(super) clusters: Option<Vec<String>>,
    /// The score of each cluster, where decisions are sorted by score.
    pub(super) scores: Vec<i64>,
}

impl Decision {
    pub(super) fn clusters(&self) -> impl Iterator<Item = &str> {
        self.clusters.iter().flatten().map(String::as_str)
    }
}

#[derive(Debug)]
struct Scores {
    values: HashMap<String, i64>,
    valid_until: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) queue: Queue<Name>,
    pub(super) placements: BTreeMap<Name, Entry>,
    pub(super) decisions: BTreeMap<Name, Decision>,
    /// Decision objects by the placement that their label names.
    pub(super) of_placement: HashMap<Name, BTreeSet<String>>,
    pub(super) load: Load,
    clusters: BTreeMap<String, Arc<Cluster>>,
    sets: BTreeMap<String, Set>,
    bindings: BTreeSet<(String, String)>,
    /// By cluster, then by name of the score object.
    scores: HashMap<String, HashMap<String, Scores>>,
    /// Candidates by eligible sets, until a cluster or a set changes.
    candidates: HashMap<Vec<String>, Arc<Pool>>,
    pub(super) conditions: Conditions,
    /// Placements that look at whole objects: while there are none, most changes of clusters concern nobody.
    looking_at_objects: BTreeSet<Name>,
    pub(super) packing: BTreeSet<Name>,
    /// The newest revision that was observed.
    pub(super) revision: Revision,
}

impl Index {
    pub(super) fn observe(&mut self, event: &Event) {
        let stored = event.latest();
        let after = event.after.as_deref();
        self.revision = self.revision.max(event.revision);
        match &*stored.key.resource {
            resource::CLUSTERS => self.observe_cluster(&stored.key.name, event.after.as_ref()),
            resource::SETS => self.observe_set(&stored.key.name, after),
            resource::BINDINGS => {
                self.observe_binding(&stored.key.namespace, &stored.key.name, after.is_some())
            }
            resource::PLACEMENTS => self.observe_placement(name(stored), after),
            resource::DECISIONS => self.observe_decision(name(stored), after),
            resource::SCORES => self.observe_scores(&stored.key.namespace, &stored.key.name, after),
            _ => {}
        }
    }

    /// The scores of a score object of a cluster.
    pub(super) fn scores_of(&self, cluster: &str, object: &str) -> Option<Vec<(String, i64)>> {
        let scores = self.scores.get(cluster)?.get(object)?;
        let mut all: Vec<_> = scores
            .values
            .iter()
            .map(|(name, value)| (name.clone(), *value))
            .collect();
        all.sort_unstable();
        Some(all)
    }

    pub(super) fn mark_all(&mut self) {
        self.conditions.forget_all();
        let all: Vec<Name> = self.placements.keys().cloned().collect();
        all.into_iter().for_each(|name| self.queue.add(name));
    }

    fn observe_cluster(&mut self, name: &str, after: Option<&Arc<Stored>>) {
        let new = after
            .and_then(|after| decode::typed::<ManagedCluster>(after))
            .filter(|cluster| cluster.metadata.deletion_timestamp.is_none())
            .map(|cluster| {
                let slot = Some(self.load.slot(name));
                let prepared = Cluster::prepare(&cluster);
                Arc::new(Cluster { slot, ..prepared })
            });
        let old = self.clusters.get(name).cloned();
        self.conditions
            .observe_cluster(name, new.as_ref().and(after));
        let concerns = match (&old, &new) {
            (None, None) => return,
            (Some(old), Some(new)) if old == new => Concerns::Objects,
            (Some(old), Some(new)) if only_resources_differ(old, new) => Concerns::Resources,
            _ => Concerns::All,
        };
        if concerns == Concerns::Objects {
            if !self.looking_at_objects.is_empty() {
                let all: Vec<Name> = self.looking_at_objects.iter().cloned().collect();
                all.into_iter().for_each(|name| self.queue.add(name));
            }
            return;
        }
        match &new {
            Some(new) => self.clusters.insert(name.to_owned(), Arc::clone(new)),
            None => self.clusters.remove(name),
        };
        // Sets that it stays in, and sets that it enters or leaves.
        let (mut stays, mut moves) = (Vec::new(), Vec::new());
        for (set_name, set) in &mut self.sets {
            let member = new
                .as_ref()
                .is_some_and(|new| set.membership.includes(&new.labels));
            let was = if member {
                !set.members.insert(name.to_owned())
            } else {
                set.members.remove(name)
            };
            match (was, member) {
                (true, true) => stays.push(set_name.clone()),
                (false, false) => {}
                _ => moves.push(set_name.clone()),
            }
        }
        if let Some(new) = &new {
            self.candidates.retain(|sets, pool| {
                let moved = sets.iter().any(|set| moves.contains(set));
                let holds = sets.iter().any(|set| stays.contains(set));
                // Nobody else has the pool while changes are observed, so nothing is copied.
                !moved && (!holds || Arc::make_mut(pool).replace(new))
            });
        } else {
            self.candidates
                .retain(|sets, _| !sets.iter().any(|set| moves.contains(set)));
        }
        for set in moves {
            self.mark_set(&set, concerns, None);
        }
        for set in stays {
            self.mark_set(&set, concerns, new.as_deref());
        }
    }

    fn observe_set(&mut self, name: &str, after: Option<&Stored>) {
        let new = after
            .and_then(decode::typed::<ManagedClusterSet>)
            .map(|set| Membership::of(&set));
        if new.as_ref() == self.sets.get(name).map(|set| &set.membership) {
            return;
        }
        self.candidates.clear();
        match new {
            Some(membership) => {
                let members = self
                    .clusters
                    .values()
                    .filter(|cluster| membership.includes(&cluster.labels));
                let members = members.map(|cluster| cluster.name.clone()).collect();
                self.sets.insert(
                    name.to_owned(),
                    Set {
                        membership,
                        members,
                    },
                );
            }
            None => {
                self.sets.remove(name);
            }
        }
        self.mark_set(name, Concerns::All, None);
    }

    fn observe_binding(&mut self, namespace: &str, set: &str, exists: bool) {
        let binding = (namespace.to_owned(), set.to_owned());
        let changed = if exists {
            self.bindings.insert(binding)
        } else {
            self.bindings.remove(&binding)
        };
        if changed {
            self.mark_namespace(namespace, set, Concerns::All, None);
        }
    }

    fn observe_placement(&mut self, name: Name, after: Option<&Stored>) {
        let Some(placement) = after.and_then(decode::typed::<Placement>) else {
            self.placements.remove(&name);
            self.looking_at_objects.remove(&name);
            self.packing.remove(&name);
            return;
        };
        let meta = &placement.metadata;
        let disabled = meta
            .annotations
            .as_ref()
            .and_then(|all| all.get(annotation::SCHEDULING_DISABLE));
        let untouched =
            meta.deletion_timestamp.is_some() || disabled.is_some_and(|value| value == "true");
        let generation = meta.generation.unwrap_or_default();
        let uid = decode::uid(meta).to_owned();
        let status = placement.status.clone().unwrap_or_default();
        let packing = meta
            .annotations
            .as_ref()
            .and_then(|all| all.get(annotation::PACKING))
            .cloned();
        let same_spec = self
            .placements
            .get(&name)
            .filter(|old| old.generation == generation && old.uid == uid && old.packing == packing);
        if let Some(old) = same_spec
            && old.untouched == untouched
            && old.status == status
        {
            return;
        }
        let policy = match same_spec {
            Some(old) => Arc::clone(&old.policy),
            None => Arc::new(Policy::of(&placement)),
        };
        let cluster_sets = placement.spec.cluster_sets;
        let compiled = policy.as_ref().as_ref().ok();
        let keep = |set: &mut BTreeSet<Name>, is: bool| {
            if is {
                set.insert(name.clone());
            } else {
                set.remove(&name);
            }
        };
        keep(
            &mut self.looking_at_objects,
            compiled.is_some_and(Policy::looks_at_objects),
        );
        keep(
            &mut self.packing,
            compiled.is_some_and(|policy| policy.packing.is_some()),
        );
        self.placements.insert(
            name.clone(),
            Entry {
                uid,
                cluster_sets,
                policy,
                untouched,
                status,
                generation,
                packing,
            },
        );
        self.queue.add(name);
    }

    fn observe_decision(&mut self, name: Name, after: Option<&Stored>) {
        let new = after
            .and_then(decode::typed::<PlacementDecision>)
            .map(|decision| Decision {
                uid: decode::uid(&decision.metadata).to_owned(),
                owner: decision
                    .metadata
                    .owner_references
                    .iter()
                    .flatten()
                    .find(|owner| owner.controller == Some(true))
                    .map(|owner| owner.uid.clone()),
                labels: decision.metadata.labels.clone().unwrap_or_default(),
                scores: scores(decision.status.as_ref()),
                clusters: decision.status.map(|status| {
                    status
                        .decisions
                        .into_iter()
                        .map(|one| one.cluster_name)
                        .collect()
                }),
            });
        if self.decisions.get(&name) == new.as_ref() {
            return;
        }
        let before = self.set_decision(name.clone(), new);
        let after = self
            .decisions
            .get(&name)
            .and_then(|decision| placement_of(&name, decision));
        before
            .into_iter()
            .chain(after)
            .for_each(|placement| self.queue.add(placement));
    }

    /// Puts a decision object's state; returns the placement that it belonged to before.
    pub(super) fn set_decision(&mut self, name: Name, new: Option<Decision>) -> Option<Name> {
        let mut before = None;
        if let Some(old) = self.decisions.remove(&name) {
            let kept = |cluster: &str| {
                let new = new.iter().flat_map(Decision::clusters);
                new.into_iter().any(|one| one == cluster)
            };
            if !self.packing.is_empty()
                && placement_of(&name, &old).is_some_and(|of| self.packing.contains(&of))
                && !old.clusters().all(kept)
            {
                // Room was made.
                let packing: Vec<Name> = self.packing.iter().cloned().collect();
                packing.into_iter().for_each(|one| self.queue.add(one));
            }
            self.load.remove(old.clusters());
            before = placement_of(&name, &old);
            if let Some(placement) = &before
                && let Some(names) = self.of_placement.get_mut(placement)
            {
                names.remove(&name.1);
                if names.is_empty() {
                    self.of_placement.remove(placement);
                }
            }
        }
        if let Some(new) = new {
            self.load.add(new.clusters());
            if let Some(placement) = placement_of(&name, &new) {
                self.of_placement
                    .entry(placement)
                    .or_default()
                    .insert(name.1.clone());
            }
            self.decisions.insert(name, new);
        }
        before
    }

    fn observe_scores(&mut self, cluster: &str, object: &str, after: Option<&Stored>) {
        let of_cluster = self.scores.entry(cluster.to_owned()).or_default();
        match after
            .and_then(decode::typed::<AddOnPlacementScore>)
            .and_then(|scores| scores.status)
        {
            Some(status) => {
                let values = status
                    .scores
                    .into_iter()
                    .map(|item| (item.name, i64::from(item.value)))
                    .collect();
                let valid_until = status.valid_until.map(|time| time.0);
                of_cluster.insert(
                    object.to_owned(),
                    Scores {
                        values,
                        valid_until,
                    },
                );
            }
            None => {
                of_cluster.remove(object);
            }
        }
        self.conditions.forget(cluster);
        let scored = |entry: &Entry| {
            let policy = entry.policy.as_ref().as_ref();
            policy.is_ok_and(|policy| policy.looks_at_scores(object))
        };
        let concerned = self
            .placements
            .iter()
            .filter(|(_, entry)| scored(entry))
            .map(|(name, _)| name.clone());
        let concerned: Vec<Name> = concerned.collect();
        concerned.into_iter().for_each(|name| self.queue.add(name));
    }

    pub(super) fn add_on_score(
        &self,
        cluster: &str,
        object: &str,
        score: &str,
    ) -> Option<AddOnScore> {
        let scores = self.scores.get(cluster)?.get(object)?;
        Some(AddOnScore {
            value: *scores.values.get(score)?,
            valid_until: scores.valid_until,
        })
    }
}

fn name(stored: &Stored) -> Name {
    (
        stored.key.namespace.to_string(),
        stored.key.name.to_string(),
    )
}

fn placement_of(name: &Name, decision: &Decision) -> Option<Name> {
    decision
        .labels
        .get(label::PLACEMENT)
        .map(|placement| (name.0.clone(), placement.clone()))
}

fn scores(status: Option<&PlacementDecisionStatus>) -> Vec<i64> {
    let scores: Vec<i64> = status
        .into_iter()
        .flat_map(|status| &status.decisions)
        .map(|one| one.score)
        .collect();
    // Without scores at all, which is the ordinary case, nothing is kept.
    if scores.iter().all(|score| *score == 0) {
        return Vec::new();
    }
    scores
}
