//! How many decisions name each cluster: what the `Balance` prioritizer levels out.

use super::fleet::Slot;

/// Counts by cluster, with the maximum at hand.
#[derive(Debug, Default)]
pub(super) struct Counts {
    by_slot: Vec<u32>,
    /// How many clusters have each count from 1 on.
    histogram: Vec<u32>,
}

impl Counts {
    pub(super) fn of(&self, slot: Slot) -> u32 {
        self.by_slot.get(slot.index()).copied().unwrap_or(0)
    }

    /// The highest count of any cluster.
    pub(super) fn max(&self) -> u32 {
        u32::try_from(self.histogram.len()).unwrap_or(u32::MAX)
    }

    /// No cluster of so many has a lower count.
    pub(super) fn least_of(&self, clusters: usize) -> u32 {
        let counted: usize = self.histogram.iter().map(|some| *some as usize).sum();
        if counted < clusters {
            return 0;
        }
        let lowest = self.histogram.iter().position(|clusters| *clusters > 0);
        lowest.map_or(0, |at| u32::try_from(at + 1).unwrap_or(u32::MAX))
    }

    /// The highest count if these decisions were not there; they are in the order of their clusters.
    pub(super) fn max_without(&self, slots: &[Slot]) -> u32 {
        let max = self.max();
        let Some(at_max) = self.histogram.last() else {
            return 0;
        };
        let each = || slots.chunk_by(|one, other| one == other);
        let leaving = each().filter(|run| self.of(run[0]) == max).count();
        if leaving < *at_max as usize {
            return max;
        }
        // All of the highest are among them: what is left is the highest of the others, or of these less their own.
        let mut histogram = self.histogram.clone();
        for run in each() {
            let count = self.of(run[0]);
            let left = count.saturating_sub(u32::try_from(run.len()).unwrap_or(u32::MAX));
            if count > 0 {
                histogram[count as usize - 1] -= 1;
            }
            if left > 0 {
                histogram[left as usize - 1] += 1;
            }
        }
        let highest = histogram.iter().rposition(|clusters| *clusters > 0);
        highest.map_or(0, |at| u32::try_from(at + 1).unwrap_or(u32::MAX))
    }

    pub(super) fn add(&mut self, slots: &[Slot]) {
        for slot in slots {
            let count = self.of(*slot);
            self.set(*slot, count, count + 1);
        }
    }

    pub(super) fn remove(&mut self, slots: &[Slot]) {
        for slot in slots {
            let count = self.of(*slot);
            self.set(*slot, count, count.saturating_sub(1));
        }
    }

    fn set(&mut self, slot: Slot, from: u32, to: u32) {
        if from > 0 {
            self.histogram[from as usize - 1] -= 1;
        }
        if to > 0 {
            let at = to as usize - 1;
            if at >= self.histogram.len() {
                self.histogram.resize(at + 1, 0);
            }
            self.histogram[at] += 1;
        }
        while self.histogram.last() == Some(&0) {
            self.histogram.pop();
        }
        if slot.index() >= self.by_slot.len() {
            let missing = slot.index() + 1 - self.by_slot.len();
            self.by_slot
                .reserve_exact(missing.max(self.by_slot.len() / 8));
            self.by_slot.resize(slot.index() + 1, 0);
        }
        self.by_slot[slot.index()] = to;
    }

    pub(super) fn footprint(&self) -> usize {
        (self.by_slot.capacity() + self.histogram.capacity()) * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn the_highest_without_some_is_that_after_they_are_gone(
            own in vec(0..6usize, 0..12), others in vec(0..6usize, 0..12),
        ) {
            let slots = |of: &[usize]| of.iter().map(|at| Slot::at(*at)).collect::<Vec<_>>();
            let (mut own, others) = (slots(&own), slots(&others));
            own.sort_unstable();
            let mut counts = Counts::default();
            counts.add(&own);
            counts.add(&others);
            let without = counts.max_without(&own);
            counts.remove(&own);
            prop_assert_eq!(without, counts.max());
        }
    }
}
