//! The order of feasible clusters.

use std::collections::BinaryHeap;

use super::{Engine, fleet::Slot};

/// OCM's bound on the scores in an event.
const MOST_SAID: usize = 1000;
/// No more clusters than this fit into it.
pub(super) const MOST_NAMED: usize = MOST_SAID / 4;

/// A feasible cluster; the less, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ranked {
    pub(super) avoided: u32,
    /// The total, negated.
    pub(super) worth: i64,
    /// Position in the order of names.
    pub(super) order: u32,
    pub(super) slot: Slot,
}

impl Engine {
    /// As OCM's event `ScoreUpdate` has it.
    pub(super) fn ranking(&self, best: &[Ranked]) -> String {
        use std::fmt::Write as _;

        let mut text = String::new();
        for one in best {
            let (before, name) = (text.len(), self.fleet.name(one.slot));
            // Writing to a string does not fail.
            let _ = write!(text, "{name}:{} ", -one.worth);
            if text.len() > MOST_SAID {
                text.truncate(before);
                text.push_str("......");
                break;
            }
        }
        text
    }
}

/// The best of those that were offered.
pub(super) struct Leaders {
    /// The worst of them on top.
    best: BinaryHeap<Ranked>,
    wanted: usize,
}

impl Leaders {
    pub(super) fn of(wanted: usize) -> Self {
        Self {
            best: BinaryHeap::new(),
            wanted,
        }
    }

    pub(super) fn offer(&mut self, one: Ranked) {
        if self.best.len() < self.wanted {
            self.best.push(one);
        } else if let Some(mut worst) = self.best.peek_mut()
            && one < *worst
        {
            *worst = one;
        }
    }

    /// Whether there are enough, and all of them better than somebody who is not.
    pub(super) fn are_before(&self, other: &Ranked) -> bool {
        self.best.len() == self.wanted && self.best.peek().is_none_or(|worst| worst < other)
    }

    /// Best first.
    pub(super) fn in_order(self) -> Vec<Ranked> {
        self.best.into_sorted_vec()
    }
}
