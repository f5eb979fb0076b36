//! Sets of clusters, one bit for each.

use super::fleet::Slot;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn has(&self, slot: Slot) -> bool {
        let (word, bit) = place(slot);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Puts a cluster in or takes it out; says whether that changed anything.
    pub(super) fn set(&mut self, slot: Slot, value: bool) -> bool {
        let (word, bit) = place(slot);
        if word >= self.0.len() {
            if !value {
                return false;
            }
            self.0.resize(word + 1, 0);
        }
        let before = self.0[word] & bit != 0;
        if value {
            self.0[word] |= bit;
        } else {
            self.0[word] &= !bit;
        }
        before != value
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(super) fn or(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (one, other) in self.0.iter_mut().zip(&other.0) {
            *one |= other;
        }
    }

    pub(super) fn and(&mut self, other: &Self) {
        self.0.truncate(other.0.len());
        for (one, other) in self.0.iter_mut().zip(&other.0) {
            *one &= other;
        }
    }

    /// Takes out whoever is in `other`.
    pub(super) fn without(&mut self, other: &Self) {
        for (one, other) in self.0.iter_mut().zip(&other.0) {
            *one &= !other;
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(Slot::at(at * 64 + bit as usize))
            })
        })
    }

    pub(super) fn footprint(&self) -> usize {
        self.0.capacity() * size_of::<u64>()
    }
}

fn place(slot: Slot) -> (usize, u64) {
    (slot.index() / 64, 1 << (slot.index() % 64))
}
