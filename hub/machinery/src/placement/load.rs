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
