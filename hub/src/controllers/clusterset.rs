//! Cluster sets: their members counted, the default and the global one kept, bindings told whether their set exists.

mod act;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use koinon_api::{
    ManagedClusterSet, ManagedClusterSetBinding,
    cluster::{ManagedClusterSelector, SelectorType},
    labels::{annotation, condition, reason, well_known},
    meta::{Truth, condition as find_condition, new_condition},
};
use koinon_machinery::{ApiError, placement::Membership};
use koinon_store::{Event, Stored};
use serde::Deserialize;

use self::act::act;
use super::{
    Context,
    decode::{self, Read},
    keyed::{Again, Keyed},
    queue::Queue,
    resource,
};

/// Most namespaces that are asked of one cluster: its status and its agent's work have a bound.
const MOST_NAMESPACES: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Subject {
    Set(String),
    /// A cluster, whose status says which namespaces its sets want in it.
    Cluster(String),
    Binding {
        namespace: String,
        name: String,
    },
}

#[derive(Debug)]
struct Set {
    membership: Membership,
    selector: ManagedClusterSelector,
    /// An annotation says to leave the selector of a built-in set alone.
    unlocked: bool,
    members: BTreeSet<String>,
    /// Wanted in each member.
    namespaces: BTreeSet<String>,
    shown: Option<Condition>,
}

/// A namespace that a set wants in a cluster: set, name.
type Wanted = (String, String);

#[derive(Debug)]
struct Binding {
    set: String,
    shown: Option<Condition>,
}

#[derive(Debug, Default)]
pub(super) struct ClusterSets {
    labels: BTreeMap<String, Arc<BTreeMap<String, String>>>,
    /// What the statuses of clusters show, where they show any.
    namespaces: BTreeMap<String, BTreeSet<Wanted>>,
    sets: BTreeMap<String, Set>,
    bindings: BTreeMap<(String, String), Binding>,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plan {
    CreateSet(String, ManagedClusterSelector),
    RollBack(String, ManagedClusterSelector),
    ShowSet(String, Condition),
    ShowNamespaces(String, BTreeSet<Wanted>),
    ShowBinding {
        namespace: String,
        name: String,
        condition: Condition,
    },
}

impl Keyed for ClusterSets {
    type Key = Subject;
    type Plan = Vec<Plan>;

    fn resources(&self) -> Vec<Arc<str>> {
        [resource::CLUSTERS, resource::BINDINGS, resource::SETS]
            .map(Arc::from)
            .into()
    }

    fn period(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn observe(&mut self, event: &Event, queue: &mut Queue<Subject>) {
        let stored = event.latest();
        let name = stored.key.name.to_string();
        match &*stored.key.resource {
            resource::CLUSTERS => self.observe_cluster(name, event, queue),
            resource::SETS => self.observe_set(name, event, queue),
            _ => self.observe_binding(stored.key.namespace.to_string(), name, event, queue),
        }
    }

    fn mark_all(&self, queue: &mut Queue<Subject>) {
        for name in [well_known::DEFAULT_SET, well_known::GLOBAL_SET] {
            queue.add(Subject::Set(name.to_owned()));
        }
        self.sets
            .keys()
            .for_each(|name| queue.add(Subject::Set(name.clone())));
        let members = self.sets.values().filter(|set| !set.namespaces.is_empty());
        let members = members.flat_map(|set| &set.members);
        for cluster in members.chain(self.namespaces.keys()) {
            queue.add(Subject::Cluster(cluster.clone()));
        }
        for (namespace, name) in self.bindings.keys() {
            queue.add(Subject::Binding {
                namespace: namespace.clone(),
                name: name.clone(),
            });
        }
    }

    fn decide(&mut self, key: &Subject, now: Timestamp) -> Option<Vec<Plan>> {
        let plans = match key {
            Subject::Set(name) => self.decide_set(name, now),
            Subject::Cluster(name) => self.decide_cluster(name).into_iter().collect(),
            Subject::Binding { namespace, name } => self
                .decide_binding(namespace, name, now)
                .into_iter()
                .collect(),
        };
        (!plans.is_empty()).then_some(plans)
    }

    fn carry_out<'a>(
        plans: Vec<Plan>,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Again, ApiError>> {
        Box::pin(async move {
            for plan in plans {
                act(plan, context).await?;
            }
            Ok(Again::OnChange)
        })
    }
}

impl ClusterSets {
    fn observe_cluster(&mut self, name: String, event: &Event, queue: &mut Queue<Subject>) {
        let new = event
            .after
            .as_ref()
            .map(|stored| Arc::clone(&stored.labels));
        let shown = event
            .after
            .as_deref()
            .map(shown_namespaces)
            .unwrap_or_default();
        let before = if shown.is_empty() {
            self.namespaces.remove(&name)
        } else {
            self.namespaces.insert(name.clone(), shown.clone())
        };
        if before.unwrap_or_default() != shown {
            queue.add(Subject::Cluster(name.clone()));
        }
        if new.as_ref() == self.labels.get(&name) {
            return;
        }
        for (set_name, set) in &mut self.sets {
            let changed = match &new {
                Some(labels) if set.membership.includes(labels) => set.members.insert(name.clone()),
                _ => set.members.remove(&name),
            };
            if changed {
                queue.add(Subject::Set(set_name.clone()));
                if !set.namespaces.is_empty() {
                    queue.add(Subject::Cluster(name.clone()));
                }
            }
        }
        match new {
            Some(new) => self.labels.insert(name, new),
            None => self.labels.remove(&name),
        };
    }

    fn observe_set(&mut self, name: String, event: &Event, queue: &mut Queue<Subject>) {
        let existed = self.sets.contains_key(&name);
        let new = match decode::read::<ManagedClusterSet>(event.after.as_deref()) {
            Read::Known(set) => Some(set),
            Read::Gone => None,
            Read::Unreadable(_) => return,
        };
        queue.add(Subject::Set(name.clone()));
        if existed != new.is_some() {
            for (at, _) in self
                .bindings
                .iter()
                .filter(|(_, binding)| binding.set == name)
            {
                queue.add(Subject::Binding {
                    namespace: at.0.clone(),
                    name: at.1.clone(),
                });
            }
        }
        let old = self.sets.remove(&name);
        let wanted = |set: &Set| (!set.namespaces.is_empty()).then(|| set.members.clone());
        let mut concerned = old.as_ref().and_then(wanted).unwrap_or_default();
        let Some(set) = new else {
            self.mark_clusters(concerned, queue);
            return;
        };
        let membership = Membership::of(&set);
        let members = match old {
            Some(old) if old.membership == membership => old.members,
            _ => {
                let members = self
                    .labels
                    .iter()
                    .filter(|(_, labels)| membership.includes(labels));
                members.map(|(cluster, _)| cluster.clone()).collect()
            }
        };
        let conditions = set
            .status
            .map(|status| status.conditions)
            .unwrap_or_default();
        let annotations = set.metadata.annotations.as_ref();
        let unlocked = annotations
            .and_then(|all| all.get(annotation::AUTOUPDATE))
            .is_some_and(|value| value == "false");
        let shown = find_condition(&conditions, condition::CLUSTER_SET_EMPTY).cloned();
        let namespaces = set.spec.managed_namespaces.into_iter();
        let namespaces: BTreeSet<String> = namespaces.map(|one| one.name).collect();
        if !namespaces.is_empty() {
            concerned.extend(BTreeSet::clone(&members));
        }
        self.mark_clusters(concerned, queue);
        self.sets.insert(
            name,
            Set {
                namespaces,
                membership,
                selector: set.spec.cluster_selector,
                unlocked,
                members,
                shown,
            },
        );
    }

    fn observe_binding(
        &mut self,
        namespace: String,
        name: String,
        event: &Event,
        queue: &mut Queue<Subject>,
    ) {
        let at = (namespace, name);
        match decode::read::<ManagedClusterSetBinding>(event.after.as_deref()) {
            Read::Unreadable(_) => {}
            Read::Known(binding) => {
                let conditions = binding
                    .status
                    .map(|status| status.conditions)
                    .unwrap_or_default();
                let shown = find_condition(&conditions, condition::BOUND).cloned();
                queue.add(Subject::Binding {
                    namespace: at.0.clone(),
                    name: at.1.clone(),
                });
                self.bindings.insert(
                    at,
                    Binding {
                        set: binding.spec.cluster_set,
                        shown,
                    },
                );
            }
            Read::Gone => {
                self.bindings.remove(&at);
            }
        }
    }

    fn mark_clusters(&self, clusters: BTreeSet<String>, queue: &mut Queue<Subject>) {
        for cluster in clusters {
            queue.add(Subject::Cluster(cluster));
        }
    }

    /// Brings a cluster's status to what its sets want in it.
    fn decide_cluster(&self, name: &str) -> Option<Plan> {
        if !self.labels.contains_key(name) {
            return None;
        }
        let sets = self
            .sets
            .iter()
            .filter(|(_, set)| set.members.contains(name));
        let each = |(set_name, set): (&String, &Set)| {
            let with_set = |namespace: &String| (set_name.clone(), namespace.clone());
            set.namespaces.iter().map(with_set).collect::<Vec<_>>()
        };
        let wanted: BTreeSet<Wanted> = sets.flat_map(each).take(MOST_NAMESPACES).collect();
        let shown = self.namespaces.get(name);
        let same = shown.map_or(wanted.is_empty(), |shown| *shown == wanted);
        (!same).then(|| Plan::ShowNamespaces(name.to_owned(), wanted))
    }

    fn decide_set(&self, name: &str, now: Timestamp) -> Vec<Plan> {
        let built_in = built_in(name);
        let Some(set) = self.sets.get(name) else {
            return built_in
                .map(|selector| Plan::CreateSet(name.to_owned(), selector))
                .into_iter()
                .collect();
        };
        let mut plans = Vec::new();
        if let Some(selector) = built_in
            && !set.unlocked
            && set.selector != selector
        {
            plans.push(Plan::RollBack(name.to_owned(), selector));
        }
        let shown = match set.members.len() {
            0 => new_condition(
                condition::CLUSTER_SET_EMPTY,
                Truth::True,
                reason::cluster_set::NO_CLUSTER_MATCHED,
                "No ManagedCluster selected",
                now,
            ),
            n => new_condition(
                condition::CLUSTER_SET_EMPTY,
                Truth::False,
                reason::cluster_set::CLUSTERS_SELECTED,
                format!("{n} ManagedClusters selected"),
                now,
            ),
        };
        if !same(set.shown.as_ref(), &shown) {
            plans.push(Plan::ShowSet(name.to_owned(), shown));
        }
        plans
    }

    fn decide_binding(&self, namespace: &str, name: &str, now: Timestamp) -> Option<Plan> {
        let binding = self
            .bindings
            .get(&(namespace.to_owned(), name.to_owned()))?;
        let (truth, why) = if self.sets.contains_key(&binding.set) {
            (Truth::True, reason::binding::BOUND)
        } else {
            (Truth::False, reason::binding::NOT_FOUND)
        };
        let condition = new_condition(condition::BOUND, truth, why, "", now);
        (!same(binding.shown.as_ref(), &condition)).then(|| Plan::ShowBinding {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            condition,
        })
    }
}

/// The namespaces in a cluster's status.
fn shown_namespaces(stored: &Stored) -> BTreeSet<Wanted> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Status {
        managed_namespaces: Vec<Entry>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        name: String,
        cluster_set: String,
    }
    // Statuses change all the time, and few have any.
    let marker: &[u8] = b"managedNamespaces";
    if !stored
        .status
        .windows(marker.len())
        .any(|part| part == marker)
    {
        return BTreeSet::new();
    }
    let status: Status = serde_json::from_slice(&stored.status).unwrap_or_default();
    let entries = status.managed_namespaces.into_iter();
    entries.map(|one| (one.cluster_set, one.name)).collect()
}

/// The selector that a built-in set is kept at.
fn built_in(name: &str) -> Option<ManagedClusterSelector> {
    match name {
        well_known::DEFAULT_SET => Some(ManagedClusterSelector::default()),
        well_known::GLOBAL_SET => Some(ManagedClusterSelector {
            selector_type: SelectorType::LabelSelector,
            label_selector: Some(LabelSelector::default()),
        }),
        _ => None,
    }
}

fn same(shown: Option<&Condition>, new: &Condition) -> bool {
    shown.is_some_and(|old| {
        old.status == new.status && old.reason == new.reason && old.message == new.message
    })
}

#[cfg(test)]
mod tests;
