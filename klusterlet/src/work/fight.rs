//! Notices that somebody else keeps undoing what a work declares.

use std::{collections::VecDeque, time::Duration};

use koinon_api::{
    labels::{condition, reason::readiness as reason},
    meta::Truth,
};
use tokio::time::Instant;

use crate::feedback::Derived;

/// Repairs of one object within [`WINDOW`] that are still taken for chance.
const MOST: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);

/// Counts the repairs of one object.
#[derive(Debug, Default)]
pub(super) struct Fight {
    repairs: VecDeque<Instant>,
    last: Option<Instant>,
    rests: u32,
}

impl Fight {
    /// Notes a repair. Returns how long to leave the object alone if there were too many.
    pub(super) fn repaired(&mut self, now: Instant) -> Option<Duration> {
        self.repairs.retain(|at| now.duration_since(*at) < WINDOW);
        // Peace for longer than the rest that was taken ends the matter.
        let peace = WINDOW * 2_u32.pow(self.rests) + WINDOW;
        if self
            .last
            .is_some_and(|last| now.duration_since(last) > peace)
        {
            self.rests = 0;
        }
        self.last = Some(now);
        self.repairs.push_back(now);
        if self.repairs.len() < MOST {
            return None;
        }
        self.repairs.clear();
        self.rests = (self.rests + 1).min(4);
        Some(WINDOW * 2_u32.pow(self.rests - 1))
    }
}

/// Says on a manifest that its object is left alone, and because of whom.
pub(super) fn contested(rival: &str, rest: Duration) -> Derived {
    Derived {
        kind: condition::CONTESTED.to_owned(),
        truth: Truth::True,
        reason: reason::CHANGED_BY_OTHERS,
        message: format!(
            "{rival} keeps changing what is declared; the object is left alone for {} s",
            rest.as_secs()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fight_is_left_for_longer_and_longer_but_chance_is_not_punished() {
        let start = Instant::now();
        let mut fight = Fight::default();
        for n in 0..50 {
            assert_eq!(fight.repaired(start + WINDOW * n), None);
        }
        let start = start + WINDOW * 100;
        let rests: Vec<_> = (0..MOST * 2)
            .filter_map(|n| fight.repaired(start + Duration::from_millis(n as u64)))
            .collect();
        assert_eq!(rests, [WINDOW, WINDOW * 2]);
    }
}
