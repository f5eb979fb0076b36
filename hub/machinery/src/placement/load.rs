//! How many decisions name each cluster: what the `Balance` prioritizer levels out.

use std::collections::{BTreeMap, HashMap};

/// Decision counts per cluster, with the maximum at hand.
///
/// `Balance` leaves the decisions of the placement in question out: take them off with [`Load::remove`] before
/// the evaluation, add the new ones after it.
#[derive(Clone, Debug, Default)]
pub struct Load {
    counts: HashMap<String, u32>,
    /// How many clusters have each count; its last key is the maximum.
    clusters_by_count: BTreeMap<u32, u32>,
}

impl Load {
    /// Decisions that name `cluster`.
    #[must_use]
    pub fn count(&self, cluster: &str) -> u32 {
        self.counts.get(cluster).copied().unwrap_or(0)
    }

    /// The highest count of any cluster.
    #[must_use]
    pub fn max(&self) -> u32 {
        self.clusters_by_count
            .last_key_value()
            .map_or(0, |(count, _)| *count)
    }

    /// The highest count if one decision less named each of these clusters, which are different ones.
    #[must_use]
    pub fn max_without<'a>(&self, clusters: impl IntoIterator<Item = &'a str>) -> u32 {
        let mut counts: BTreeMap<u32, i64> = BTreeMap::new();
        for cluster in clusters {
            let count = self.count(cluster);
            if count > 0 {
                *counts.entry(count).or_default() -= 1;
                *counts.entry(count - 1).or_default() += 1;
            }
        }
        // What is left of each count, from the highest on.
        let of = |count: &u32| self.clusters_by_count.get(count).copied().unwrap_or(0);
        let left = |count: &u32| i64::from(of(count)) + counts.get(count).copied().unwrap_or(0);
        let known = self
            .clusters_by_count
            .keys()
            .rev()
            .find(|one| left(one) > 0);
        let moved = counts.keys().rev().find(|one| **one > 0 && left(one) > 0);
        known.max(moved).copied().unwrap_or(0)
    }

    pub fn add<'a>(&mut self, clusters: impl IntoIterator<Item = &'a str>) {
        for cluster in clusters {
            let count = self.count(cluster);
            self.set(cluster, count, count + 1);
        }
    }

    pub fn remove<'a>(&mut self, clusters: impl IntoIterator<Item = &'a str>) {
        for cluster in clusters {
            let count = self.count(cluster);
            if count > 0 {
                self.set(cluster, count, count - 1);
            }
        }
    }

    fn set(&mut self, cluster: &str, from: u32, to: u32) {
        if from > 0
            && let Some(clusters) = self.clusters_by_count.get_mut(&from)
        {
            *clusters -= 1;
            if *clusters == 0 {
                self.clusters_by_count.remove(&from);
            }
        }
        if to > 0 {
            *self.clusters_by_count.entry(to).or_default() += 1;
            self.counts.insert(cluster.to_owned(), to);
        } else {
            self.counts.remove(cluster);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn the_highest_without_some_is_that_after_they_are_gone(
            own in vec(0..6u8, 0..6), others in vec(0..6u8, 0..12),
        ) {
            let names = |all: &[u8]| all.iter().map(|n| format!("c{n}")).collect::<Vec<_>>();
            let own: BTreeSet<String> = names(&own).into_iter().collect();
            let mut load = Load::default();
            load.add(own.iter().map(String::as_str));
            load.add(names(&others).iter().map(String::as_str));
            let without = load.max_without(own.iter().map(String::as_str));
            load.remove(own.iter().map(String::as_str));
            prop_assert_eq!(without, load.max());
        }
    }
}
