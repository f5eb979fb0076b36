//! Where the hub's registry stood when this cluster last listened to it (P4).
//!
//! A registry that was restored from a backup is behind what its clusters know, and one that was rebuilt has another
//! incarnation. Following either would delete or roll back what runs here. So the agent remembers the highest
//! position it saw and holds off any hub that offers less, until an admin accepted exactly that loss. A restored registry
//! that has since made more revisions than it lost offers more, but has another stamp at the revision that was seen.

use koinon_proto::v1;
use serde::{Deserialize, Serialize};

/// A point in a registry's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// UUID of the registry.
    pub incarnation: String,
    /// Revision in it.
    pub revision: i64,
    /// Stamp of the history that the revision belongs to; empty if none is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stamp: String,
}

impl Position {
    /// This position is part of what `other` already knows.
    fn within(&self, other: &Self) -> bool {
        self.incarnation == other.incarnation && self.revision <= other.revision
    }
}

impl From<v1::Position> for Position {
    fn from(position: v1::Position) -> Self {
        Self {
            incarnation: position.incarnation,
            revision: position.revision,
            stamp: position.stamp,
        }
    }
}

impl From<Position> for v1::Position {
    fn from(position: Position) -> Self {
        Self {
            incarnation: position.incarnation,
            revision: position.revision,
            stamp: position.stamp,
        }
    }
}

/// What the agent remembers across restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Highest position ever followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<Position>,
    /// The lesser position at which a hub was first held off, while it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_off: Option<Position>,
    /// How many rollbacks were accepted. What was stored before the last one does not raise `seen`.
    #[serde(default)]
    pub rollbacks: u64,
}

/// What a welcome leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The hub knows all that this cluster knows.
    Follow,
    /// The hub is behind, and an admin accepted that: its word counts from now on.
    FollowRollback,
    /// The hub is behind.
    HoldOff,
}

impl Memory {
    /// Judges a hub that stands at `offered`, and remembers the outcome.
    ///
    /// `stamp_at_seen` is the stamp that the hub has at the revision that was seen: another one than was seen there says that
    /// the hub went on from an older copy, however far.
    pub fn welcome(
        &mut self,
        offered: &Position,
        stamp_at_seen: &str,
        accepted: Option<&Position>,
    ) -> Verdict {
        let Some(seen) = &self.seen else {
            self.seen = Some(offered.clone());
            return Verdict::Follow;
        };
        let same_history = seen.stamp.is_empty() || seen.stamp == stamp_at_seen;
        if same_history && seen.within(offered) {
            self.seen = Some(offered.clone());
            self.held_off = None;
            return Verdict::Follow;
        }
        let first = match &self.held_off {
            // The registry moves on while it is held off; what was reported first is what the admin accepts.
            Some(first) if first.within(offered) => first.clone(),
            _ => offered.clone(),
        };
        // An acceptance of an older accident is behind what is offered now and counts for nothing.
        if accepted.is_some_and(|accepted| first.within(accepted) && accepted.within(offered)) {
            self.seen = Some(offered.clone());
            self.held_off = None;
            self.rollbacks += 1;
            return Verdict::FollowRollback;
        }
        self.held_off = Some(first);
        Verdict::HoldOff
    }

    /// Notes that a message of the followed hub carried `revision`, which belongs to the history with this stamp.
    pub fn advance(&mut self, revision: i64, stamp: &str) {
        if self.held_off.is_none()
            && let Some(seen) = &mut self.seen
            && seen.revision < revision
        {
            seen.revision = revision;
            stamp.clone_into(&mut seen.stamp);
        }
    }

    /// Adds a position that was stored together with a work, after so many accepted rollbacks.
    pub fn recall(&mut self, stored: Position, rollbacks: u64) {
        match rollbacks.cmp(&self.rollbacks) {
            std::cmp::Ordering::Less => return,
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => {
                self.rollbacks = rollbacks;
                self.seen = Some(stored);
                return;
            }
        }
        match &mut self.seen {
            Some(seen) if seen.incarnation == stored.incarnation => {
                if seen.revision < stored.revision {
                    *seen = stored;
                }
            }
            Some(_) => {}
            None => self.seen = Some(stored),
        }
    }

    /// Returns the hold to report, if a hub is held off.
    #[must_use]
    pub fn hold(&self) -> Option<v1::RollbackHold> {
        let (seen, offered) = (self.seen.clone()?, self.held_off.clone()?);
        Some(v1::RollbackHold {
            seen: Some(seen.into()),
            offered: Some(offered.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(incarnation: &str, revision: i64) -> Position {
        Position {
            incarnation: incarnation.to_owned(),
            revision,
            stamp: String::new(),
        }
    }

    /// seen, offered, accepted → verdict, seen afterwards
    #[test]
    fn a_hub_that_is_behind_is_held_off_until_exactly_that_is_accepted() {
        use Verdict::{Follow, FollowRollback, HoldOff};
        let cases = [
            (None, at("a", 5), None, Follow, at("a", 5)),
            (Some(at("a", 5)), at("a", 5), None, Follow, at("a", 5)),
            (Some(at("a", 5)), at("a", 9), None, Follow, at("a", 9)),
            (Some(at("a", 5)), at("a", 4), None, HoldOff, at("a", 5)),
            (Some(at("a", 5)), at("b", 900), None, HoldOff, at("a", 5)),
            (
                Some(at("a", 5)),
                at("a", 4),
                Some(at("a", 4)),
                FollowRollback,
                at("a", 4),
            ),
            (
                Some(at("a", 5)),
                at("b", 900),
                Some(at("b", 900)),
                FollowRollback,
                at("b", 900),
            ),
            (
                Some(at("a", 500)),
                at("a", 110),
                Some(at("a", 100)),
                HoldOff,
                at("a", 500),
            ),
            (
                Some(at("a", 500)),
                at("b", 110),
                Some(at("a", 110)),
                HoldOff,
                at("a", 500),
            ),
            (
                Some(at("a", 500)),
                at("a", 110),
                Some(at("a", 400)),
                HoldOff,
                at("a", 500),
            ),
        ];
        for (seen, offered, accepted, verdict, after) in cases {
            let mut memory = Memory {
                seen: seen.clone(),
                ..Default::default()
            };
            assert_eq!(
                memory.welcome(&offered, "", accepted.as_ref()),
                verdict,
                "{seen:?} {offered:?} {accepted:?}"
            );
            assert_eq!(memory.seen, Some(after));
            assert_eq!(memory.hold().is_some(), verdict == HoldOff);
        }
    }

    #[test]
    fn acceptance_counts_although_the_hub_moved_on_meanwhile() {
        let mut memory = Memory {
            seen: Some(at("a", 500)),
            ..Default::default()
        };
        assert_eq!(memory.welcome(&at("a", 90), "", None), Verdict::HoldOff);
        assert_eq!(memory.welcome(&at("a", 95), "", None), Verdict::HoldOff);
        assert_eq!(memory.hold().unwrap().offered.unwrap().revision, 90);
        assert_eq!(
            memory.welcome(&at("a", 97), "", Some(&at("a", 90))),
            Verdict::FollowRollback
        );
        assert_eq!(memory.hold(), None);
    }

    #[test]
    fn works_that_were_stored_before_an_accepted_rollback_do_not_bring_the_hold_back() {
        let mut memory = Memory {
            seen: Some(at("a", 500)),
            ..Default::default()
        };
        memory.welcome(&at("a", 90), "", Some(&at("a", 90)));
        memory.recall(at("a", 500), 0);
        assert_eq!(memory.seen, Some(at("a", 90)));
        memory.recall(at("a", 95), 1);
        assert_eq!(memory.seen, Some(at("a", 95)));
    }

    #[test]
    fn a_hub_that_is_held_off_does_not_advance_what_was_seen() {
        let mut memory = Memory {
            seen: Some(at("a", 500)),
            ..Default::default()
        };
        memory.welcome(&at("b", 90), "", None);
        memory.advance(9000, "");
        assert_eq!(memory.seen, Some(at("a", 500)));
    }

    #[test]
    fn a_restored_hub_that_went_past_what_was_seen_is_told_by_the_stamp() {
        let stamped = |revision: i64, stamp: &str| Position {
            stamp: stamp.to_owned(),
            ..at("a", revision)
        };
        let memory = Memory {
            seen: Some(stamped(500, "s1")),
            ..Default::default()
        };
        for (stamp_at_seen, expected) in [
            ("s1", Verdict::Follow),
            ("s2", Verdict::HoldOff),
            ("", Verdict::HoldOff),
        ] {
            let verdict = memory
                .clone()
                .welcome(&stamped(900, "s2"), stamp_at_seen, None);
            assert_eq!(verdict, expected, "{stamp_at_seen}");
        }
        // Accepted, it is the history that counts.
        let (mut memory, offered) = (memory, stamped(900, "s2"));
        memory.welcome(&offered, "s2", None);
        assert_eq!(
            memory.welcome(&stamped(910, "s2"), "s2", Some(&at("a", 900))),
            Verdict::FollowRollback
        );
        assert_eq!(
            memory.welcome(&stamped(920, "s3"), "s2", None),
            Verdict::Follow
        );
        memory.advance(930, "s3");
        memory.advance(925, "s9");
        assert_eq!(memory.seen, Some(stamped(930, "s3")));
    }
}
