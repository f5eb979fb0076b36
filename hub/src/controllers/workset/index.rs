//! What replica sets depend on: their works, the decisions of their placements.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use koinon_api::{
    ManifestWork, ManifestWorkReplicaSet, Placement, PlacementDecision,
    labels::{annotation, condition, finalizer, label},
    meta::{condition as find_condition, is_true},
    work::ManifestWorkSpec,
    workset::{CascadeDeletionPolicy, ManifestWorkReplicaSetStatus, RolloutType},
};
use koinon_store::{Digest, Event, Stored};
use kube::Resource as _;
use tokio::time::Instant;

use super::super::{
    decode::{self, Read},
    queue::Queue,
    resource,
};

/// Namespace and name.
pub(super) type Name = (String, String);

/// Reports of works are summed up no more often than this: thousands of them arrive within a second.
const SUMMARY_PAUSE: Duration = Duration::from_millis(50);

/// A replica set.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) uid: String,
    pub(super) deleting: bool,
    pub(super) held: bool,
    pub(super) labels: BTreeMap<String, String>,
    /// What `Available` means of its works, if it says so.
    pub(super) availability: Option<String>,
    pub(super) refs: Vec<(String, RolloutType)>,
    pub(super) cascade: CascadeDeletionPolicy,
    pub(super) template: Arc<ManifestWorkSpec>,
    pub(super) status: ManifestWorkReplicaSetStatus,
    generation: i64,
}

/// A work, ours or not.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) set: Option<Name>,
    pub(super) placement: Option<String>,
    pub(super) deleting: bool,
    pub(super) availability: Option<String>,
    pub(super) report: Report,
    pub(super) stored: Arc<Stored>,
}

/// What a cluster reports of a work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) applied: bool,
    pub(super) available: bool,
    pub(super) progressing: bool,
    pub(super) degraded: bool,
    /// Applied at its current generation, and not on its way any more.
    pub(super) rolled_out: bool,
}

/// A placement and what it decided.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) exists: bool,
    pub(super) selected: usize,
    uid: String,
    /// It is being deleted: its decisions may go before it.
    pub(super) is_going: bool,
    /// Somebody else decides in its place, and says nothing in its status.
    by_others: bool,
    /// It says what it decided, so all of that is there.
    has_spoken: bool,
    objects: BTreeMap<String, Shard>,
}

#[derive(Debug, PartialEq)]
struct Shard {
    clusters: Option<BTreeSet<String>>,
    group: (String, String),
    /// Uid of the placement that it belongs to.
    owner: Option<String>,
    is_going: bool,
}

impl Chosen {
    /// The chosen clusters; `None` as long as there is no decision at all.
    ///
    /// A cluster that stays chosen is in some object at any time, also while the objects are being rewritten.
    pub(super) fn clusters(&self) -> Option<BTreeSet<&str>> {
        let decided = self
            .objects
            .values()
            .filter_map(|shard| shard.clusters.as_ref());
        let mut decided = decided.peekable();
        decided.peek()?;
        Some(decided.flatten().map(String::as_str).collect())
    }

    /// Says whether what is decided may be only a part of it: a placement that was made anew finds decisions of the one before, which
    /// go one after the other, and writes its own likewise; one that goes loses them. That takes nothing away.
    pub(super) fn is_partial(&self) -> bool {
        if self.is_going {
            return true;
        }
        let mut owned = self.objects.values().filter(|shard| shard.owner.is_some());
        let is_owned = owned.clone().next().is_some();
        let of_another = owned.any(|s| !s.is_going && s.owner.as_ref() != Some(&self.uid));
        of_another || is_owned && !self.has_spoken && !self.by_others
    }

    pub(super) fn groups(&self) -> usize {
        self.objects
            .values()
            .map(|shard| &shard.group)
            .collect::<BTreeSet<_>>()
            .len()
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) queue: Queue<Name>,
    pub(super) sets: BTreeMap<Name, Set>,
    /// All works by cluster and name: a new one must not take the name of another's.
    pub(super) works: BTreeMap<Name, Work>,
    /// Works by the set that their label names.
    of_set: HashMap<Name, BTreeSet<Name>>,
    placements: HashMap<Name, Chosen>,
    /// Clusters that are being deleted: nothing new is made for them.
    leaving: BTreeSet<String>,
    /// Whether a body is what the template of the set asks for; forgotten with the template.
    current: HashMap<Name, HashMap<Digest, bool>>,
}

impl Index {
    pub(super) fn observe(&mut self, event: &Event) {
        let stored = event.latest();
        let name = (
            stored.key.namespace.to_string(),
            stored.key.name.to_string(),
        );
        match &*stored.key.resource {
            resource::WORKSETS => self.observe_set(name, event.after.as_deref()),
            resource::WORKS => self.observe_work(name, event.after.as_ref()),
            resource::PLACEMENTS => self.observe_placement(name, event.after.as_deref()),
            resource::DECISIONS => self.observe_decision(event),
            resource::CLUSTERS => self.observe_cluster(name.1, event.after.as_deref()),
            _ => {}
        }
    }

    fn observe_cluster(&mut self, name: String, after: Option<&Stored>) {
        if after.is_some_and(Stored::is_deleting) {
            self.leaving.insert(name);
        } else if self.leaving.remove(&name) {
            // Another one of its name may be there before anything else is decided.
            self.mark_all();
        }
    }

    pub(super) fn is_leaving(&self, cluster: &str) -> bool {
        self.leaving.contains(cluster)
    }

    pub(super) fn mark_all(&mut self) {
        let all: Vec<Name> = self.sets.keys().cloned().collect();
        all.into_iter().for_each(|name| self.queue.add(name));
    }

    fn observe_set(&mut self, name: Name, after: Option<&Stored>) {
        let set = match decode::read::<ManifestWorkReplicaSet>(after) {
            Read::Known(set) => set,
            Read::Gone => {
                self.sets.remove(&name);
                self.current.remove(&name);
                return;
            }
            Read::Unreadable(_) => return,
        };
        let meta = &set.metadata;
        let uid = decode::uid(meta).to_owned();
        let generation = meta.generation.unwrap_or_default();
        let same_spec = self
            .sets
            .get(&name)
            .filter(|old| old.uid == uid && old.generation == generation);
        let template = match same_spec {
            Some(old) => Arc::clone(&old.template),
            None => {
                self.current.remove(&name);
                Arc::new(set.spec.manifest_work_template)
            }
        };
        let refs = set
            .spec
            .placement_refs
            .into_iter()
            .map(|one| (one.name, one.rollout_strategy.type_))
            .collect();
        let held = meta
            .finalizers
            .iter()
            .flatten()
            .any(|one| one == finalizer::REPLICA_SET);
        let new = Set {
            uid,
            deleting: meta.deletion_timestamp.is_some(),
            held,
            labels: meta.labels.clone().unwrap_or_default(),
            availability: meta
                .annotations
                .as_ref()
                .and_then(|all| all.get(annotation::AVAILABILITY))
                .cloned(),
            refs,
            cascade: set.spec.cascade_deletion_policy,
            template,
            status: set.status.unwrap_or_default(),
            generation,
        };
        self.sets.insert(name.clone(), new);
        self.queue.add(name);
    }

    fn observe_work(&mut self, name: Name, after: Option<&Arc<Stored>>) {
        let new = after.map(Work::of);
        let old = match new.clone() {
            Some(new) => self.works.insert(name.clone(), new),
            None => self.works.remove(&name),
        };
        let only_report =
            matches!((&old, &new), (Some(old), Some(new)) if old.differs_in_report_only(new));
        for set in [&old, &new]
            .into_iter()
            .flatten()
            .filter_map(|work| work.set.clone())
        {
            if only_report {
                if old.as_ref().map(|work| work.report) != new.as_ref().map(|work| work.report) {
                    self.queue.add_at(set, Instant::now() + SUMMARY_PAUSE);
                }
                break;
            }
            self.queue.add(set);
        }
        if let Some(set) = old.and_then(|work| work.set)
            && let Some(works) = self.of_set.get_mut(&set)
        {
            works.remove(&name);
            if works.is_empty() {
                self.of_set.remove(&set);
            }
        }
        if let Some(set) = new.and_then(|work| work.set) {
            self.of_set.entry(set).or_default().insert(name);
        }
    }

    fn observe_placement(&mut self, name: Name, after: Option<&Stored>) {
        let placement = match decode::read::<Placement>(after) {
            Read::Known(placement) => Some(placement),
            Read::Gone => None,
            Read::Unreadable(_) => return,
        };
        let chosen = self.placements.entry(name.clone()).or_default();
        let facts = |chosen: &Chosen| {
            let decides = (chosen.is_going, chosen.by_others, chosen.has_spoken);
            (chosen.exists, chosen.selected, chosen.uid.clone(), decides)
        };
        let before = facts(chosen);
        chosen.exists = placement.is_some();
        let placement = placement.unwrap_or_default();
        let meta = placement.metadata;
        chosen.is_going = meta.deletion_timestamp.is_some();
        let disabled = meta.annotations.unwrap_or_default();
        let disabled = disabled.get(annotation::SCHEDULING_DISABLE);
        chosen.by_others = disabled.is_some_and(|value| value == "true");
        chosen.uid = meta.uid.unwrap_or_default();
        let status = placement.status.unwrap_or_default();
        chosen.selected = usize::try_from(status.number_of_selected_clusters).unwrap_or(0);
        chosen.has_spoken = !status.conditions.is_empty();
        if before != facts(chosen) {
            self.forget_if_empty(&name);
            self.mark_users(&name);
        }
    }

    fn observe_decision(&mut self, event: &Event) {
        let object = event.latest();
        let namespace = object.key.namespace.to_string();
        let of = |stored: &Stored| stored.labels.get(label::PLACEMENT).cloned();
        let before = event.before.as_deref().and_then(of);
        let after = event.after.as_deref().and_then(of);
        if let Some(old) = before.filter(|old| Some(old) != after.as_ref()) {
            let placement = (namespace.clone(), old);
            if let Some(chosen) = self.placements.get_mut(&placement) {
                chosen.objects.remove(&*object.key.name);
            }
            self.forget_if_empty(&placement);
            self.mark_users(&placement);
        }
        let Some(placement) = after.map(|after| (namespace, after)) else {
            return;
        };
        let label_of = |key: &str| object.labels.get(key).cloned().unwrap_or_default();
        // What cannot be read takes nobody's work away.
        let Read::Known(decision) = decode::read::<PlacementDecision>(Some(object)) else {
            return;
        };
        let status = decision.status;
        let owners = decision.metadata.owner_references.into_iter().flatten();
        let mut owners = owners.filter(|owner| owner.kind == Placement::kind(&()));
        let shard = Shard {
            is_going: decision.metadata.deletion_timestamp.is_some(),
            owner: owners
                .find(|owner| owner.controller == Some(true))
                .map(|owner| owner.uid),
            clusters: status.map(|status| {
                status
                    .decisions
                    .into_iter()
                    .map(|one| one.cluster_name)
                    .collect()
            }),
            group: (
                label_of(label::DECISION_GROUP_INDEX),
                label_of(label::DECISION_GROUP_NAME),
            ),
        };
        let objects = &mut self
            .placements
            .entry(placement.clone())
            .or_default()
            .objects;
        if objects.get(&*object.key.name) != Some(&shard) {
            objects.insert(object.key.name.to_string(), shard);
            self.mark_users(&placement);
        }
    }

    fn forget_if_empty(&mut self, placement: &Name) {
        if self
            .placements
            .get(placement)
            .is_some_and(|chosen| !chosen.exists && chosen.objects.is_empty())
        {
            self.placements.remove(placement);
        }
    }

    fn mark_users(&mut self, placement: &Name) {
        let from = (placement.0.clone(), String::new());
        let in_namespace = self
            .sets
            .range(from..)
            .take_while(|((namespace, _), _)| *namespace == placement.0);
        let users =
            in_namespace.filter(|(_, set)| set.refs.iter().any(|(name, _)| *name == placement.1));
        let users: Vec<Name> = users.map(|(name, _)| name.clone()).collect();
        users.into_iter().for_each(|name| self.queue.add(name));
    }

    pub(super) fn placement(&self, namespace: &str, name: &str) -> Option<&Chosen> {
        self.placements
            .get(&(namespace.to_owned(), name.to_owned()))
            .filter(|chosen| chosen.exists)
    }

    /// The works of a set, by cluster and name.
    pub(super) fn works_of(&self, set: &Name) -> impl Iterator<Item = (&Name, &Work)> {
        let names = self.of_set.get(set).into_iter().flatten();
        names.filter_map(|name| self.works.get_key_value(name))
    }

    /// Whether a work is what the template asks for. Bodies are compared once per digest: all works of a set share one.
    pub(super) fn is_current(
        &mut self,
        set_name: &Name,
        template: &ManifestWorkSpec,
        stored: &Stored,
    ) -> bool {
        let known = self.current.entry(set_name.clone()).or_default();
        *known.entry(stored.digest).or_insert_with(|| {
            decode::typed::<ManifestWork>(stored).is_some_and(|work| work.spec == *template)
        })
    }
}

impl Work {
    fn of(stored: &Arc<Stored>) -> Self {
        // A namespace is a DNS label, so the first dot ends it.
        let set = stored
            .labels
            .get(label::REPLICA_SET)
            .and_then(|value| value.split_once('.'));
        let set = set.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
        let report = if set.is_some() {
            Report::of(&decode::conditions(stored), stored.generation)
        } else {
            Report::default()
        };
        let mut meta = decode::Meta::of(stored);
        Self {
            set,
            placement: stored.labels.get(label::REPLICA_SET_PLACEMENT).cloned(),
            deleting: meta.deleting(),
            availability: meta.annotations.remove(annotation::AVAILABILITY),
            report,
            stored: Arc::clone(stored),
        }
    }

    fn differs_in_report_only(&self, new: &Self) -> bool {
        self.set == new.set
            && self.placement == new.placement
            && self.deleting == new.deleting
            && self.availability == new.availability
            && self.stored.digest == new.stored.digest
            && self.stored.labels == new.stored.labels
            && self.stored.uid == new.stored.uid
    }
}

impl Report {
    fn of(conditions: &[Condition], generation: i64) -> Self {
        let at_generation = |kind: &str| {
            let found = find_condition(conditions, kind)?;
            Some(
                found
                    .observed_generation
                    .is_none_or(|observed| observed == generation)
                    && found.status == "True",
            )
        };
        let progressing = find_condition(conditions, condition::PROGRESSING);
        let still_progressing = progressing.is_some_and(|found| {
            found.status != "False"
                || found
                    .observed_generation
                    .is_some_and(|observed| observed != generation)
        });
        Self {
            applied: is_true(conditions, condition::APPLIED),
            available: is_true(conditions, condition::AVAILABLE),
            progressing: is_true(conditions, condition::PROGRESSING),
            degraded: is_true(conditions, condition::DEGRADED),
            rolled_out: at_generation(condition::APPLIED) == Some(true) && !still_progressing,
        }
    }
}
