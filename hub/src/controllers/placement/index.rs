//! What placements depend on, kept up to date change by change.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use koinon_api::{
    AddOnPlacementScore, ManagedCluster, ManagedClusterSet, Placement, PlacementDecision,
    labels::{annotation, label},
    placement::{PlacementDecisionStatus, PlacementSpec, PlacementStatus},
};
use koinon_machinery::placement::{Cluster, Engine, Membership, Misconfigured, Packing, Policy};
use koinon_store::{Event, Revision, Stored};

use super::{
    super::{
        decode::{self, Read},
        queue::Queue,
        resource,
    },
    conditions::Conditions,
    decide::because,
};

/// Namespace and name.
pub(super) type Name = (String, String);

/// A placement.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) uid: String,
    pub(super) policy: Arc<Result<Policy, Misconfigured>>,
    /// Its decisions are left alone: it is being deleted, or an annotation says so.
    pub(super) untouched: bool,
    pub(super) status: PlacementStatus,
    generation: i64,
    /// The annotation, which is part of the policy and not of the generation.
    packing: Option<String>,
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
    /// Why they were chosen, if it is the same for all of them and in words of ours; otherwise empty.
    pub(super) reason: &'static str,
}

impl Decision {
    /// Whether it has a label with this value.
    pub(super) fn has(&self, (name, value): (&String, &String)) -> bool {
        self.labels.get(name) == Some(value)
    }

    pub(super) fn clusters(&self) -> impl Iterator<Item = &str> {
        self.clusters.iter().flatten().map(String::as_str)
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) queue: Queue<Name>,
    pub(super) placements: BTreeMap<Name, Entry>,
    pub(super) decisions: BTreeMap<Name, Decision>,
    /// Decision objects by the placement that their label names.
    pub(super) of_placement: HashMap<Name, BTreeSet<String>>,
    pub(super) engine: Engine,
    pub(super) conditions: Conditions,
    /// What was last told about expired scores.
    pub(super) told_expired: HashMap<Name, String>,
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
                let (namespace, set) = (&stored.key.namespace, &stored.key.name);
                match after {
                    Some(_) => self.engine.bind(namespace, set),
                    None => self.engine.unbind(namespace, set),
                }
            }
            resource::PLACEMENTS => self.observe_placement(name(stored), after),
            resource::DECISIONS => self.observe_decision(name(stored), after),
            resource::SCORES => self.observe_scores(&stored.key.namespace, &stored.key.name, after),
            _ => {}
        }
        self.announce();
    }

    /// Wants a look at everything.
    pub(super) fn mark_all(&mut self) {
        self.conditions.forget_all();
        self.engine.mark_all();
        self.announce();
    }

    /// Puts what the engine has marked into the queue.
    fn announce(&mut self) {
        for name in self.engine.take_marked() {
            self.queue.add(name);
        }
    }

    fn observe_cluster(&mut self, name: &str, after: Option<&Arc<Stored>>) {
        let cluster = match decode::read::<ManagedCluster>(after.map(|after| &**after)) {
            Read::Known(cluster) => Some(cluster),
            Read::Gone => None,
            Read::Unreadable(_) => return,
        };
        let cluster = cluster.filter(|cluster| cluster.metadata.deletion_timestamp.is_none());
        self.conditions
            .observe_cluster(name, cluster.as_ref().and(after));
        match cluster {
            Some(cluster) => {
                self.engine.put_cluster(&Cluster::prepare(&cluster));
                self.engine.touch_cluster(name);
            }
            None => self.engine.remove_cluster(name),
        }
    }

    fn observe_set(&mut self, name: &str, after: Option<&Stored>) {
        match decode::read::<ManagedClusterSet>(after) {
            Read::Known(set) => self.engine.put_set(name, Membership::of(&set)),
            Read::Gone => self.engine.remove_set(name),
            Read::Unreadable(_) => {}
        }
    }

    fn observe_placement(&mut self, name: Name, after: Option<&Stored>) {
        let read = match decode::read::<Placement>(after) {
            Read::Known(placement) => Some((placement, None)),
            Read::Gone => None,
            // What it may choose from is not known any more, so all that it chose before may stay.
            Read::Unreadable(why) => Some((after.map(remains).unwrap_or_default(), Some(why))),
        };
        let Some((placement, unreadable)) = read else {
            self.told_expired.remove(&name);
            self.placements.remove(&name);
            self.engine.remove_placement(&name);
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
        let policy = match (same_spec, unreadable) {
            (Some(old), _) => Arc::clone(&old.policy),
            (None, Some(why)) => Arc::new(Err(Misconfigured::new(
                "",
                format!("the object cannot be read: {why}"),
            ))),
            (None, None) => Arc::new(Policy::of(&placement)),
        };
        // What is left alone holds what it holds, and nothing concerns it.
        let reserves = Packing::of(&placement);
        if untouched {
            self.engine.suspend_placement(&name, reserves.as_ref());
        } else {
            let sets = &placement.spec.cluster_sets;
            self.engine
                .put_placement(&name, sets, &policy, reserves.as_ref());
            // One that is seen for the first time was perhaps decided by another hub: then it is only looked at.
            if self.placements.contains_key(&name) {
                self.engine.mark(&name);
            }
        }
        let entry = Entry {
            uid,
            policy,
            untouched,
            status,
            generation,
            packing,
        };
        self.placements.insert(name, entry);
    }

    fn observe_decision(&mut self, name: Name, after: Option<&Stored>) {
        let new = match decode::read::<PlacementDecision>(after) {
            Read::Known(decision) => Some(decision),
            Read::Gone => None,
            Read::Unreadable(_) => return,
        };
        let new = new.map(|decision| Decision {
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
            reason: why(decision.status.as_ref()),
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
        for placement in before.into_iter().chain(after) {
            self.engine.mark(&placement);
        }
    }

    /// Puts a decision object's state; returns the placement that it belonged to before.
    pub(super) fn set_decision(&mut self, name: Name, new: Option<Decision>) -> Option<Name> {
        let old = self.decisions.remove(&name);
        let of = |decision: &Decision| placement_of(&name, decision);
        let (before, after) = (old.as_ref().and_then(of), new.as_ref().and_then(of));
        if before != after {
            self.file(&name, before.as_ref(), after.as_ref());
        }
        // Decisions that name no placement count, too.
        let nobody = || (name.0.clone(), String::new());
        let (from, to) = (
            before.clone().unwrap_or_else(nobody),
            after.unwrap_or_else(nobody),
        );
        let old: Vec<&str> = old.iter().flat_map(Decision::clusters).collect();
        let now: Vec<&str> = new.iter().flat_map(Decision::clusters).collect();
        if from == to {
            let (was, is) = (counted(&old), counted(&now));
            self.engine.hold(&to, beyond(&is, &was), beyond(&was, &is));
        } else {
            self.engine.hold(&from, [], old);
            self.engine.hold(&to, now, []);
        }
        if let Some(new) = new {
            self.decisions.insert(name, new);
        }
        self.announce();
        before
    }

    /// Brings the list of a placement's decision objects up to date.
    fn file(&mut self, name: &Name, before: Option<&Name>, after: Option<&Name>) {
        if let Some(placement) = before
            && let Some(names) = self.of_placement.get_mut(placement)
        {
            names.remove(&name.1);
            if names.is_empty() {
                self.of_placement.remove(placement);
            }
        }
        if let Some(placement) = after {
            let names = self.of_placement.entry(placement.clone()).or_default();
            names.insert(name.1.clone());
        }
    }

    fn observe_scores(&mut self, cluster: &str, object: &str, after: Option<&Stored>) {
        let new = match decode::read::<AddOnPlacementScore>(after) {
            // One that was not filled yet has no scores, and exists.
            Read::Known(scores) => Some(scores.status.unwrap_or_default()),
            Read::Gone => None,
            Read::Unreadable(_) => return,
        };
        self.conditions.forget(cluster);
        match new {
            Some(status) => {
                let values = status.scores.into_iter();
                let values = values.map(|item| (item.name, i64::from(item.value)));
                let valid_until = status.valid_until.map(|time| time.0);
                self.engine.put_scores(cluster, object, values, valid_until);
            }
            None => self.engine.remove_scores(cluster, object),
        }
    }
}

/// How often each cluster is named.
fn counted<'a>(clusters: &[&'a str]) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for cluster in clusters {
        *counts.entry(*cluster).or_default() += 1;
    }
    counts
}

/// Those of `one` that `other` does not have, as often as it does not have them.
fn beyond<'a>(one: &BTreeMap<&'a str, usize>, other: &BTreeMap<&'a str, usize>) -> Vec<&'a str> {
    let more = |(cluster, count): (&&'a str, &usize)| {
        let missing = count.saturating_sub(other.get(cluster).copied().unwrap_or(0));
        std::iter::repeat_n(*cluster, missing)
    };
    one.iter().flat_map(more).collect()
}

fn name(stored: &Stored) -> Name {
    (
        stored.key.namespace.to_string(),
        stored.key.name.to_string(),
    )
}

/// What can be read of a placement that as a whole cannot: enough to leave its decisions alone and to say so.
fn remains(stored: &Stored) -> Placement {
    Placement {
        metadata: serde_json::from_slice(&stored.metadata).unwrap_or_default(),
        spec: PlacementSpec::default(),
        status: serde_json::from_slice(&stored.status).ok(),
    }
}

fn placement_of(name: &Name, decision: &Decision) -> Option<Name> {
    decision
        .labels
        .get(label::PLACEMENT)
        .map(|placement| (name.0.clone(), placement.clone()))
}

/// The one of our reasons that all of the clusters have.
fn why(status: Option<&PlacementDecisionStatus>) -> &'static str {
    let decisions = status.map_or([].as_slice(), |status| &status.decisions);
    let all = |reason: &&&str| decisions.iter().all(|one| one.reason == **reason);
    let known = [because::EVERY, because::BEST, because::KEPT];
    known.iter().find(all).copied().unwrap_or("")
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
