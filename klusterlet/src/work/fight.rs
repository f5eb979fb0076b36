//! Notices that somebody else keeps undoing what a work declares.

use std::time::Duration;

use koinon_api::{
    labels::{condition, reason::readiness as reason},
    meta::Truth,
};
use tokio::time::Instant;

use super::{rival::Rival, status::Presence};
use crate::feedback::Derived;

/// So many repairs of one object within [`WINDOW`] are no chance: an autoscaler looks every 15 s, other tools every few minutes.
const MOST: usize = 8;
/// The same when it was left alone before.
const MOST_AGAIN: usize = 3;
const WINDOW: Duration = Duration::from_secs(30 * 60);
/// So long counts that an object was made anew. It may go again and again in peace: a Pod is evicted, a finished Job is cleaned up.
const BRIEFLY: Duration = Duration::from_secs(60);

/// How long an object is left alone at first; twice as long each further time, up to eight times.
const REST: Duration = Duration::from_secs(60);

/// Counts the repairs of one object.
#[derive(Debug, Default)]
pub(super) struct Fight {
    /// Until when each counts; fewer than are too many.
    repairs: Vec<Instant>,
    rests: u32,
    /// What was done last, and against whom.
    last: Option<(Repair, Option<Rival>)>,
}

/// What was done about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repair {
    /// It was put right.
    Changed,
    /// It was gone, and was made anew.
    Made,
}

impl Fight {
    /// Notes a repair. Returns how long to leave the object alone if there were too many.
    pub(super) fn repaired(
        &mut self,
        repair: Repair,
        rival: Option<&Rival>,
        now: Instant,
    ) -> Option<Duration> {
        self.last = Some((repair, rival.cloned()));
        self.repairs.retain(|until| now < *until);
        if self.repairs.is_empty() {
            // Peace ends the matter.
            self.rests = 0;
        }
        let counts = match repair {
            Repair::Changed => WINDOW,
            Repair::Made => BRIEFLY,
        };
        self.repairs.push(now + counts);
        let most = if self.rests == 0 { MOST } else { MOST_AGAIN };
        if self.repairs.len() < most {
            return None;
        }
        // One stands for the fight.
        self.repairs = vec![now + WINDOW];
        self.rests = (self.rests + 1).min(4);
        Some(REST * 2_u32.pow(self.rests - 1))
    }
}

impl Fight {
    /// Says whether there is nothing to fight about any more with an object that is left alone, as it is now: it is gone, though it was not
    /// its deletion that was fought about, or the work that wanted something else has let go of it.
    pub(super) fn is_over(&self, presence: &Presence, other: Option<&Rival>) -> bool {
        match (&self.last, presence) {
            (Some((Repair::Changed, _)), Presence::Missing) => true,
            (Some((_, Some(rival @ Rival::Work(_)))), Presence::Present) => other != Some(rival),
            _ => false,
        }
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

    fn changed(fight: &mut Fight, now: Instant) -> Option<Duration> {
        fight.repaired(Repair::Changed, None, now)
    }

    #[test]
    fn a_fight_is_over_with_what_it_was_about() {
        let work = |name: &str| Rival::Work(name.to_owned());
        let manager = Rival::Manager("scaler".to_owned());
        let (gone, there) = (Presence::Missing, Presence::Present);
        for (repair, rival, presence, other, over) in [
            (Repair::Changed, Some(&manager), &there, None, false),
            (Repair::Changed, Some(&manager), &gone, None, true),
            (Repair::Changed, None, &gone, None, true),
            (Repair::Made, None, &gone, None, false),
            (
                Repair::Changed,
                Some(&work("b")),
                &there,
                Some(work("b")),
                false,
            ),
            (
                Repair::Changed,
                Some(&work("b")),
                &there,
                Some(work("c")),
                true,
            ),
            (Repair::Changed, Some(&work("b")), &there, None, true),
            (
                Repair::Changed,
                Some(&work("b")),
                &Presence::Withheld,
                None,
                false,
            ),
        ] {
            let mut fight = Fight::default();
            let _ = fight.repaired(repair, rival, Instant::now());
            assert_eq!(
                fight.is_over(presence, other.as_ref()),
                over,
                "{rival:?} {presence:?}"
            );
        }
    }

    #[test]
    fn what_goes_now_and_then_is_made_anew_in_peace_but_not_what_is_deleted_at_once() {
        let start = Instant::now();
        let mut fight = Fight::default();
        for n in 1..200 {
            let now = start + Duration::from_secs(20) * n;
            assert_eq!(fight.repaired(Repair::Made, None, now), None);
        }
        let mut now = start + WINDOW * 100;
        let mut rests = Vec::new();
        for _ in 0..20 {
            now += Duration::from_secs(2);
            if let Some(rest) = fight.repaired(Repair::Made, None, now) {
                rests.push(rest);
                now += rest;
            }
        }
        assert_eq!(rests[..3], [REST, REST * 2, REST * 4]);
    }

    #[test]
    fn a_fight_is_left_for_longer_and_longer_but_chance_is_not_punished() {
        let start = Instant::now();
        let mut fight = Fight::default();
        for n in 0..50 {
            assert_eq!(changed(&mut fight, start + WINDOW / 6 * n), None);
        }
        let mut now = start + WINDOW * 100;
        // An autoscaler.
        let mut rests = Vec::new();
        for n in 0..40 {
            now += Duration::from_secs(15);
            if let Some(rest) = changed(&mut fight, now) {
                rests.push((n, rest));
                now += rest;
            }
        }
        let after = |n: u32| REST * 2_u32.pow(n);
        let expected = [
            (7, after(0)),
            (9, after(1)),
            (11, after(2)),
            (13, after(3)),
            (15, after(3)),
        ];
        assert_eq!(rests[..5], expected);
        // Peace.
        now += WINDOW;
        let again = (0..MOST).map(|_| changed(&mut fight, now));
        assert_eq!(again.flatten().collect::<Vec<_>>(), [after(0)]);
    }
}
