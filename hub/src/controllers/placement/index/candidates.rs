//! Which clusters a placement may choose from.

use std::{collections::BTreeSet, sync::Arc};

use super::{super::pool::Pool, Index};

impl Index {
    /// The sets that are bound to a namespace and exist, in order.
    pub(in crate::controllers::placement) fn bound_sets(&self, namespace: &str) -> Vec<String> {
        let from = (namespace.to_owned(), String::new());
        let bound = self
            .bindings
            .range(from..)
            .take_while(|(of, _)| of == namespace);
        bound
            .filter(|(_, set)| self.sets.contains_key(set))
            .map(|(_, set)| set.clone())
            .collect()
    }

    /// The clusters of these sets, each once, by name.
    pub(in crate::controllers::placement) fn candidates(&mut self, sets: &[String]) -> Arc<Pool> {
        if let Some(known) = self.candidates.get(sets) {
            return Arc::clone(known);
        }
        let names: BTreeSet<&String> = sets
            .iter()
            .filter_map(|set| self.sets.get(set))
            .flat_map(|set| &set.members)
            .collect();
        let clusters = names
            .into_iter()
            .filter_map(|name| self.clusters.get(name))
            .map(Arc::clone);
        let clusters = Arc::new(Pool::new(clusters.collect()));
        self.candidates.insert(sets.to_vec(), Arc::clone(&clusters));
        clusters
    }
}
