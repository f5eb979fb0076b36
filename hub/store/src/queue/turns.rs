//! Whose writes make up the next batch. Pure.

use std::collections::{HashSet, VecDeque};

use crate::{key::Key, mutation::Share};

/// A batch is full at this weight: 128 objects, or 512 statuses.
pub(super) const BATCH_WEIGHT: usize = 512;
/// …or at this many bytes, which keeps a few large bodies from holding up everybody for long.
pub(super) const BATCH_BYTES: usize = 8 << 20;

/// What takes turns.
pub(super) trait Write {
    /// The object that it changes.
    fn key(&self) -> &Key;
    /// What it takes of [`BATCH_WEIGHT`].
    fn weight(&self) -> usize;
    /// What it takes of [`BATCH_BYTES`].
    fn bytes(&self) -> usize;
}

/// Writes that wait, those of each share in the order in which they came.
///
/// A batch takes from the share that it holds least of, so each share gets a third of every batch while it has so much waiting, and what
/// others leave. However many writes of one share wait, a write of another goes with the next batch if nothing of its own is before it.
/// Who is first goes round: a write that fills a batch alone has its turn too.
#[derive(Debug)]
pub(super) struct Turns<T> {
    waiting: [VecDeque<T>; Share::ALL.len()],
    first: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            waiting: Default::default(),
            first: 0,
        }
    }
}

impl<T> Turns<T> {
    pub(super) fn push(&mut self, share: Share, write: T) {
        self.waiting[share as usize].push_back(write);
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    /// Takes those that match, all in all shares.
    pub(super) fn extract(&mut self, matches: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for waiting in &mut self.waiting {
            if waiting.iter().any(&matches) {
                let (out, stay): (Vec<T>, _) =
                    std::mem::take(waiting).into_iter().partition(&matches);
                *waiting = stay.into();
                taken.extend(out);
            }
        }
        taken
    }
}

impl<T: Write> Turns<T> {
    /// Takes the next batch: of each key one write, of each share the oldest.
    pub(super) fn take(&mut self) -> Vec<T> {
        let mut batch: Vec<T> = Vec::new();
        let mut later: [Vec<T>; Share::ALL.len()] = Default::default();
        let mut keys = HashSet::new();
        let mut spent = [0; Share::ALL.len()];
        let mut open = [true; Share::ALL.len()];
        let (mut weight, mut bytes) = (0, 0);
        while let Some((at, write)) = self.next(&spent, open) {
            if keys.contains(write.key()) {
                later[at].push(write);
                continue;
            }
            let (heavier, larger) = (weight + write.weight(), bytes + write.bytes());
            if !batch.is_empty() && (heavier > BATCH_WEIGHT || larger > BATCH_BYTES) {
                self.waiting[at].push_front(write);
                open[at] = false;
                continue;
            }
            (weight, bytes) = (heavier, larger);
            spent[at] += write.weight() * (BATCH_BYTES / BATCH_WEIGHT) + write.bytes();
            keys.insert(write.key().clone());
            batch.push(write);
        }
        for (waiting, later) in self.waiting.iter_mut().zip(later) {
            for write in later.into_iter().rev() {
                waiting.push_front(write);
            }
        }
        self.first = (self.first + 1) % Share::ALL.len();
        batch
    }

    /// The oldest write of the share that has had least of a batch.
    fn next(
        &mut self,
        spent: &[usize; Share::ALL.len()],
        open: [bool; Share::ALL.len()],
    ) -> Option<(usize, T)> {
        let shares = (0..Share::ALL.len()).map(|turn| (self.first + turn) % Share::ALL.len());
        let at = shares
            .filter(|at| open[*at] && !self.waiting[*at].is_empty())
            .min_by_key(|at| spent[*at])?;
        let write = self.waiting[at].pop_front()?;
        Some((at, write))
    }
}

#[cfg(test)]
mod tests;
