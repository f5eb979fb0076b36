//! The order of feasible clusters.

use std::collections::BinaryHeap;

use super::{Engine, fleet::Slot};

/// OCM's bound on the scores in an event.
const MOST_SAID: usize = 1000;
/// No more clusters than this fit into it.
const MOST_NAMED: usize = MOST_SAID / 4;

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
    pub(super) fn ranking(&self, ranked: &[Ranked]) -> String {
        use std::fmt::Write as _;

        let mut text = String::new();
        for one in best(ranked, MOST_NAMED) {
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

/// The best, best first.
pub(super) fn best(ranked: &[Ranked], wanted: usize) -> Vec<Ranked> {
    if wanted >= ranked.len() {
        let mut all = ranked.to_vec();
        all.sort_unstable();
        return all;
    }
    let mut best: BinaryHeap<Ranked> = BinaryHeap::with_capacity(wanted + 1);
    for one in ranked {
        if best.len() < wanted {
            best.push(*one);
        } else if let Some(mut worst) = best.peek_mut()
            && *one < *worst
        {
            *worst = *one;
        }
    }
    best.into_sorted_vec()
}
