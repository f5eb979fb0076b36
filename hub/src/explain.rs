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
use koinon_machinery::placement::{Answer, ClusterExplanation, Membership, Name, World};
use koinon_store::Stored;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

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
    object: Option<Box<Placement>>,
}

/// Which clusters whoever asks may be told of.
pub(crate) type MayName<'a> = &'a (dyn Fn(&str) -> bool + Sync);

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
        let mut object = None;
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
                        if is_asked() {
                            object = Some(Box::new(placement));
                        }
                    }
                }
                _ => {}
            }
        }
        if let Some(hypothesis) = &question.hypothesis {
            world.put_placement(hypothesis);
            object = Some(hypothesis.clone());
        }
        Self {
            world,
            question,
            object,
        }
    }

    /// Everything about each candidate that may be named, and counts of the others; `None` when there is no such
    /// placement. Where one cluster is asked about, that one alone, whether it is a candidate or not.
    pub(crate) fn explain(&self, may_name: MayName<'_>) -> Option<Value> {
        let Question {
            placement,
            now,
            cluster: only,
            ..
        } = &self.question;
        let mut answer = json!({
            "apiVersion": "koinon.dev/v1alpha1", "kind": "PlacementExplanation",
            "metadata": { "namespace": placement.0, "name": placement.1 },
            "selected": 0, "unscheduled": 0, "clusters": [],
        });
        match self.world.answer(placement, *now)? {
            Answer::Misconfigured(error) => {
                nothing(&mut answer, "Misconfigured", &error.to_string());
            }
            Answer::NoClusters(none) => nothing(&mut answer, none.reason(), &none.to_string()),
            Answer::Untouched => nothing(
                &mut answer,
                "Untouched",
                "it is being deleted, or its annotation disables scheduling",
            ),
            Answer::Evaluated(evaluation) => {
                let explanation = self.world.explain(placement, *now)?;
                let all = explanation.clusters.len();
                let (named, hidden): (Vec<ClusterExplanation>, Vec<ClusterExplanation>) =
                    explanation
                        .clusters
                        .into_iter()
                        .partition(|one| may_name(&one.cluster));
                answer["selected"] = evaluation.selected.into();
                answer["unscheduled"] = evaluation.unscheduled.into();
                answer["candidates"] = all.into();
                answer["recheckAt"] = json!(explanation.recheck_at);
                if !hidden.is_empty() {
                    answer["hidden"] = json!({
                        "clusters": hidden.len(),
                        "selected": hidden.iter().filter(|one| one.selected).count(),
                    });
                }
                let Some(only) = only else {
                    answer["clusters"] = json!(named);
                    return Some(answer);
                };
                let one = may_name(only)
                    .then(|| self.world.explain_cluster(placement, only, *now))
                    .flatten();
                if one.is_none() {
                    let why = format!("there is no cluster {only}, or it may not be shown");
                    nothing(&mut answer, "NotFound", &why);
                }
                answer["clusters"] = json!(one.as_slice());
            }
        }
        Some(answer)
    }

    /// The answer of OCM's debug endpoint.
    pub(crate) fn debug(&self, may_name: MayName<'_>) -> Option<Value> {
        let Question { placement, now, .. } = &self.question;
        let mut answer = match self.world.answer(placement, *now)? {
            Answer::Evaluated(evaluation) => evaluation.debug(),
            Answer::Misconfigured(error) => json!({ "error": error.to_string() }),
            Answer::NoClusters(none) => json!({ "error": none.to_string() }),
            Answer::Untouched => json!({ "error": "scheduling is disabled" }),
        };
        hide(&mut answer, may_name);
        if let Some(object) = &self.object {
            let metadata = &object.metadata;
            answer["placement"] = json!({
                "metadata": {
                    "namespace": placement.0, "name": placement.1,
                    "labels": metadata.labels, "annotations": metadata.annotations,
                },
                "spec": object.spec,
            });
        }
        Some(answer)
    }
}

fn nothing(answer: &mut Value, reason: &str, message: &str) {
    answer["reason"] = reason.into();
    answer["message"] = message.into();
}

/// Takes clusters that may not be named out of a debug answer.
fn hide(answer: &mut Value, may_name: MayName<'_>) {
    let list = |value: &mut Value, keep: &dyn Fn(&Value) -> bool| {
        if let Some(list) = value.as_array_mut() {
            list.retain(|one| keep(one));
        }
    };
    let named = |name: &Value| name.as_str().is_some_and(may_name);
    for result in answer["filteredPipelineResults"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        list(&mut result["filteredClusters"], &named);
    }
    for result in answer["prioritizeResults"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        if let Some(scores) = result["scores"].as_object_mut() {
            scores.retain(|name, _| may_name(name));
        }
    }
    if answer.get("aggregatedScores").is_some() {
        list(&mut answer["aggregatedScores"], &|one| {
            named(&one["clusterName"])
        });
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
