//! Which placements name a cluster: an index over all decisions.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use koinon_api::labels::label;
use koinon_proto::v1;
use koinon_store::{Event, Snapshot, Stored};
use parking_lot::RwLock;
use serde::Deserialize;

/// Namespace and name of a placement.
type Placement = (Arc<str>, Arc<str>);

/// Placements by cluster.
#[derive(Debug, Default)]
pub(super) struct Placements(RwLock<Index>);

#[derive(Debug, Default)]
struct Index {
    revision: i64,
    /// How many decision objects of the placement name the cluster: a placement has one per hundred clusters.
    by_cluster: HashMap<Arc<str>, BTreeMap<Placement, usize>>,
}

impl Placements {
    /// Starts over from a snapshot of all decisions.
    pub(super) fn load(&self, snapshot: &Snapshot) {
        let mut index = Index {
            revision: snapshot.revision().0,
            ..Index::default()
        };
        for stored in snapshot.iter() {
            index.add(stored);
        }
        *self.0.write() = index;
    }

    /// Takes note of a changed decision; returns the clusters that have something new to hear.
    pub(super) fn changed(&self, event: &Event) -> BTreeSet<Arc<str>> {
        let names =
            |stored: &Option<Arc<Stored>>| stored.as_deref().map(clusters).unwrap_or_default();
        let (before, after) = (names(&event.before), names(&event.after));
        let mut index = self.0.write();
        if let Some(stored) = &event.before {
            index.remove(stored);
        }
        if let Some(stored) = &event.after {
            index.add(stored);
        }
        index.revision = event.revision.0;
        before.symmetric_difference(&after).cloned().collect()
    }

    /// Lists the placements that name `cluster`.
    pub(super) fn of(&self, cluster: &str) -> v1::Decisions {
        let index = self.0.read();
        let placements = index
            .by_cluster
            .get(cluster)
            .into_iter()
            .flat_map(BTreeMap::keys);
        v1::Decisions {
            revision: index.revision,
            stamp: String::new(),
            placements: placements
                .map(|(namespace, name)| v1::PlacementRef {
                    namespace: namespace.to_string(),
                    name: name.to_string(),
                })
                .collect(),
        }
    }
}

impl Index {
    fn add(&mut self, stored: &Stored) {
        let Some(placement) = placement(stored) else {
            return;
        };
        for cluster in clusters(stored) {
            *self
                .by_cluster
                .entry(cluster)
                .or_default()
                .entry(placement.clone())
                .or_default() += 1;
        }
    }

    fn remove(&mut self, stored: &Stored) {
        let Some(placement) = placement(stored) else {
            return;
        };
        for cluster in clusters(stored) {
            let Some(placements) = self.by_cluster.get_mut(&cluster) else {
                continue;
            };
            if let Some(count) = placements.get_mut(&placement) {
                *count -= 1;
                if *count == 0 {
                    placements.remove(&placement);
                }
            }
            if placements.is_empty() {
                self.by_cluster.remove(&cluster);
            }
        }
    }
}

fn placement(stored: &Stored) -> Option<Placement> {
    let name = stored.labels.get(label::PLACEMENT)?;
    Some((stored.key.namespace.clone(), name.as_str().into()))
}

fn clusters(stored: &Stored) -> BTreeSet<Arc<str>> {
    #[derive(Deserialize)]
    struct Status {
        #[serde(default)]
        decisions: Vec<Decision>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Decision {
        cluster_name: Arc<str>,
    }
    match serde_json::from_slice::<Status>(&stored.status) {
        Ok(status) => status
            .decisions
            .into_iter()
            .map(|decision| decision.cluster_name)
            .collect(),
        // Without decisions yet, or not ours to judge.
        Err(_) => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use koinon_store::{Digest, Key, Revision};
    use uuid::Uuid;

    use super::*;

    fn decision(name: &str, placement: &str, clusters: &[&str]) -> Arc<Stored> {
        let decisions: Vec<_> = clusters
            .iter()
            .map(|c| serde_json::json!({"clusterName": c, "reason": ""}))
            .collect();
        let labels = BTreeMap::from([(label::PLACEMENT.to_owned(), placement.to_owned())]);
        Arc::new(Stored {
            key: Key::new(super::super::resource::DECISIONS, "apps", name),
            uid: Uuid::nil(),
            revision: Revision(1),
            generation: 1,
            labels: Arc::new(labels),
            metadata: "{}".into(),
            body: "{}".into(),
            digest: Digest::of(b"{}"),
            status: serde_json::json!({ "decisions": decisions })
                .to_string()
                .into(),
        })
    }

    fn event(revision: i64, before: Option<&Arc<Stored>>, after: Option<&Arc<Stored>>) -> Event {
        Event {
            revision: Revision(revision),
            before: before.cloned(),
            after: after.cloned(),
        }
    }

    fn names(placements: &Placements, cluster: &str) -> Vec<String> {
        placements
            .of(cluster)
            .placements
            .into_iter()
            .map(|p| p.name)
            .collect()
    }

    #[test]
    fn only_clusters_whose_decisions_differ_hear_of_a_change() {
        let placements = Placements::default();
        let one = decision("web-1", "web", &["east", "west"]);
        let two = decision("web-1", "web", &["east", "north"]);
        let hear: Vec<_> = placements
            .changed(&event(1, None, Some(&one)))
            .into_iter()
            .collect();
        assert_eq!(hear, ["east".into(), "west".into()] as [Arc<str>; 2]);
        let hear: Vec<_> = placements
            .changed(&event(2, Some(&one), Some(&two)))
            .into_iter()
            .collect();
        assert_eq!(hear, ["north".into(), "west".into()] as [Arc<str>; 2]);
        assert_eq!(names(&placements, "east"), ["web"]);
        assert!(names(&placements, "west").is_empty());
        assert_eq!(placements.of("north").revision, 2);
    }

    #[test]
    fn a_placement_in_two_decision_objects_stays_until_both_are_gone() {
        let placements = Placements::default();
        let (one, two) = (
            decision("web-1", "web", &["east"]),
            decision("web-2", "web", &["east"]),
        );
        placements.changed(&event(1, None, Some(&one)));
        placements.changed(&event(2, None, Some(&two)));
        placements.changed(&event(3, Some(&one), None));
        assert_eq!(names(&placements, "east"), ["web"]);
        placements.changed(&event(4, Some(&two), None));
        assert!(names(&placements, "east").is_empty());
        assert!(placements.0.read().by_cluster.is_empty());
    }
}
