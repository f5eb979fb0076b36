//! Why a placement chose what it chose, from the objects as they are or as they were.
//!
//! Pure: whoever asks brings the objects, and says which clusters may be named.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use koinon_api::{
    AddOnPlacementScore, ManagedCluster, ManagedClusterSet, ManagedClusterSetBinding, Placement,
    PlacementDecision,
    labels::{annotation, label},
};
use koinon_machinery::placement::{MayName, Membership, Name, World};
use koinon_store::Stored;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What placements depend on, as the registry names the kinds.
pub(crate) const RESOURCES: [&str; 6] = [CLUSTERS, SETS, BINDINGS, SCORES, DECISIONS, PLACEMENTS];
const CLUSTERS: &str = "managedclusters.cluster.open-cluster-management.io";
const SETS: &str = "managedclustersets.cluster.open-cluster-management.io";
const BINDINGS: &str = "managedclustersetbindings.cluster.open-cluster-management.io";
const SCORES: &str = "addonplacementscores.cluster.open-cluster-management.io";
pub(crate) const DECISIONS: &str = "placementdecisions.cluster.open-cluster-management.io";
const PLACEMENTS: &str = "placements.cluster.open-cluster-management.io";

/// What is asked.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) placement: Name,
    /// The only cluster that is asked about.
    pub(crate) cluster: Option<String>,
    /// Instead of the placement of that name, or beside all others.
    pub(crate) hypothesis: Option<Box<Placement>>,
    pub(crate) now: Timestamp,
}

/// A world in which one placement can be explained: clusters that it cannot choose from are not in it, but the one that
/// is asked about.
#[derive(Debug)]
pub(crate) struct Scene {
    world: World,
    question: Question,
}

impl Scene {
    /// Builds the world from objects of [`RESOURCES`]; others are passed over.
    pub(crate) fn new<'a>(
        question: Question,
        objects: impl IntoIterator<Item = &'a Stored> + Clone,
    ) -> Self {
        let mut world = World::default();
        let namespace = question.placement.0.as_str();
        let mut bound = BTreeSet::new();
        let mut sets = BTreeMap::new();
        for stored in objects.clone() {
            match &*stored.key.resource {
                BINDINGS if *stored.key.namespace == *namespace => {
                    if let Some(binding) = typed::<ManagedClusterSetBinding>(stored) {
                        bound.insert(stored.key.name.to_string());
                        world.put_binding(&binding);
                    }
                }
                SETS => {
                    if let Some(set) = typed::<ManagedClusterSet>(stored) {
                        sets.insert(stored.key.name.to_string(), Membership::of(&set));
                        world.put_set(&set);
                    }
                }
                _ => {}
            }
        }
        let mut members = BTreeSet::new();
        for stored in objects.clone() {
            let in_reach = || {
                let mut sets = bound.iter().filter_map(|set| sets.get(set));
                sets.any(|set| set.includes(&stored.labels))
            };
            let is_asked = || question.cluster.as_deref() == Some(&*stored.key.name);
            if &*stored.key.resource == CLUSTERS
                && (in_reach() || is_asked())
                && let Some(cluster) = typed::<ManagedCluster>(stored)
            {
                members.insert(&stored.key.name);
                world.put_cluster_as(&cluster, json_of::<ManagedCluster>(stored));
            }
        }
        for stored in objects {
            let is_asked = || {
                (&*stored.key.namespace, &*stored.key.name)
                    == (namespace, question.placement.1.as_str())
            };
            match &*stored.key.resource {
                SCORES if members.contains(&stored.key.namespace) => {
                    typed::<AddOnPlacementScore>(stored)
                        .iter()
                        .for_each(|scores| world.put_scores(scores));
                }
                DECISIONS => {
                    typed::<PlacementDecision>(stored)
                        .iter()
                        .for_each(|decision| world.put_decision(decision));
                }
                // Of the others only what they reserve matters.
                PLACEMENTS if is_asked() || mentions(&stored.metadata, annotation::PACKING) => {
                    if let Some(placement) = typed::<Placement>(stored) {
                        world.put_placement(&placement);
                    }
                }
                _ => {}
            }
        }
        if let Some(hypothesis) = &question.hypothesis {
            world.put_placement(hypothesis);
        }
        Self { world, question }
    }

    /// Everything about each candidate that may be named, and counts of the others; `None` when there is no such
    /// placement. Where one cluster is asked about, that one alone, whether it is a candidate or not.
    pub(crate) fn explain(&self, may_name: MayName<'_>) -> Option<Value> {
        let Question {
            placement,
            now,
            cluster,
            ..
        } = &self.question;
        self.world
            .report(placement, cluster.as_deref(), *now, may_name)
    }

    /// The answer of OCM's debug endpoint.
    pub(crate) fn debug(&self, may_name: MayName<'_>) -> Option<Value> {
        let Question { placement, now, .. } = &self.question;
        self.world.debug_report(placement, *now, may_name)
    }
}

/// The placement that a decision object belongs to, and the revision of the snapshot it was made from.
pub(crate) fn decided_from(stored: &Stored) -> Option<(Name, i64)> {
    let placement = stored.labels.get(label::PLACEMENT)?;
    let metadata: Value = serde_json::from_slice(&stored.metadata).ok()?;
    let revision = metadata["annotations"][annotation::SNAPSHOT].as_str()?;
    let name = (stored.key.namespace.to_string(), placement.clone());
    Some((name, revision.parse().ok()?))
}

/// What says in the metadata of a decision that it was made from a revision.
pub(crate) fn stamp(revision: i64) -> String {
    format!(r#""{}":"{revision}""#, annotation::SNAPSHOT)
}

fn mentions(metadata: &[u8], text: &str) -> bool {
    metadata
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

fn json_of<K: Resource<DynamicType = ()>>(stored: &Stored) -> Value {
    let mut json = Vec::new();
    stored.render_into(&mut json, &K::api_version(&()), &K::kind(&()));
    serde_json::from_slice(&json).unwrap_or_default()
}

/// What cannot be read is not there, as for the controllers.
fn typed<K: Resource<DynamicType = ()> + DeserializeOwned>(stored: &Stored) -> Option<K> {
    serde_json::from_value(json_of::<K>(stored)).ok()
}
