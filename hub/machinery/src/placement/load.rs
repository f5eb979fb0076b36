//! How many decisions name each cluster: what the `Balance` prioritizer levels out.

use std::collections::{BTreeMap, HashMap};

use super::Cluster;

/// Where a [`Load`] keeps the count of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u32);

/// Decision counts per cluster, with the maximum at hand.
///
/// `Balance` leaves the decisions of the placement in question out: take them off with [`Load::remove`] before
/// the evaluation, add the new ones after it.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// The place of each name in `counts`. Names stay: there are as many as there ever were clusters.
    slots: HashMap<String, Slot>,
    counts: Vec<u32>,
    /// How many clusters have each count; its last key is the maximum.
    clusters_by_count: BTreeMap<u32, u32>,
}

impl Load {
    /// Decisions that name `cluster`.
    #[must_use]
    pub fn count(&self, cluster: &str) -> u32 {
        self.slots
            .get(cluster)
            .map_or(0, |slot| self.counts[slot.0 as usize])
    }

    /// The same for a prepared cluster, without a look-up by name if it knows its slot.
    #[must_use]
    pub fn count_of(&self, cluster: &Cluster) -> u32 {
        match cluster.slot {
            Some(slot) => self.counts.get(slot.0 as usize).copied().unwrap_or(0),
            None => self.count(&cluster.name),
        }
    }

    /// The slot of a name, for [`Cluster::slot`].
    pub fn slot(&mut self, cluster: &str) -> Slot {
        if let Some(slot) = self.slots.get(cluster) {
            return *slot;
        }
        let slot = Slot(u32::try_from(self.counts.len()).unwrap_or(u32::MAX));
        self.counts.push(0);
        self.slots.insert(cluster.to_owned(), slot);
        slot
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
        }
        let slot = self.slot(cluster);
        self.counts[slot.0 as usize] = to;
    }
}
