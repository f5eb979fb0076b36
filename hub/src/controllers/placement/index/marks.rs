//! Which placements a change concerns: those are decided again, all others are left alone.

use koinon_machinery::placement::Cluster;

use super::{Entry, Index, Name};

/// Which placements a change of a cluster concerns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Concerns {
    All,
    /// Those that look at what clusters can allocate, or at whole objects.
    Resources,
    /// Those that look at whole objects.
    Objects,
}

impl Concerns {
    fn includes(self, entry: &Entry) -> bool {
        let Ok(policy) = entry.policy.as_ref() else {
            return self == Self::All;
        };
        match self {
            Self::All => true,
            Self::Resources => policy.looks_at_resources() || policy.looks_at_objects(),
            Self::Objects => policy.looks_at_objects(),
        }
    }
}

impl Index {
    /// Marks the placements that a change in a set concerns; `changed` is the cluster if it is one that stays a member.
    pub(super) fn mark_set(&mut self, set: &str, concerns: Concerns, changed: Option<&Cluster>) {
        let namespaces: Vec<String> = self
            .bindings
            .iter()
            .filter(|(_, bound)| bound == set)
            .map(|(namespace, _)| namespace.clone())
            .collect();
        for namespace in namespaces {
            self.mark_namespace(&namespace, set, concerns, changed);
        }
    }

    pub(super) fn mark_namespace(
        &mut self,
        namespace: &str,
        set: &str,
        concerns: Concerns,
        changed: Option<&Cluster>,
    ) {
        let from = (namespace.to_owned(), String::new());
        let in_namespace = self
            .placements
            .range(from..)
            .take_while(|((of, _), _)| of == namespace);
        let wants = |entry: &Entry| {
            (entry.cluster_sets.is_empty() || entry.cluster_sets.iter().any(|wanted| wanted == set))
                && concerns.includes(entry)
        };
        let concerned: Vec<Name> = in_namespace
            .filter(|(name, entry)| {
                wants(entry) && changed.is_none_or(|cluster| self.matters(name, entry, cluster))
            })
            .map(|(name, _)| name.clone())
            .collect();
        concerned.into_iter().for_each(|name| self.queue.add(name));
    }

    /// Whether a candidate in its new state can change what a placement decides.
    fn matters(&self, name: &Name, entry: &Entry, cluster: &Cluster) -> bool {
        let Ok(policy) = entry.policy.as_ref() else {
            return true;
        };
        policy.compares_candidates()
            || policy.looks_at_objects()
            || policy.may_choose(cluster)
            || self.holds(name, &cluster.name)
    }

    fn holds(&self, name: &Name, cluster: &str) -> bool {
        let objects = self.of_placement.get(name).into_iter().flatten();
        let mut decisions =
            objects.filter_map(|object| self.decisions.get(&(name.0.clone(), object.clone())));
        decisions.any(|decision| decision.clusters().any(|one| one == cluster))
    }
}

pub(super) fn only_resources_differ(old: &Cluster, new: &Cluster) -> bool {
    old.labels == new.labels && old.claims == new.claims && old.taints == new.taints
}
