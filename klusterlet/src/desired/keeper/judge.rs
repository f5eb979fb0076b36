//! What a notice leads to. Pure.

use super::super::{Held, Notice};

/// What has to be done about a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is new.
    Known,
    /// A hub that is behind asks for it (P4).
    HoldBack,
    /// Another work has the name; the one that is meant is long gone.
    NotHere,
    /// The body is here already.
    Adopt,
    /// The body has to be fetched.
    Pull,
    /// The work is to be removed.
    Bury,
}

/// Judges a notice. Pure.
pub(super) fn judge(notice: &Notice, held: Option<&Held>, held_off: bool) -> Step {
    let same = held.filter(|held| held.uid == notice.uid);
    let unchanged = same.is_some_and(|held| {
        (
            held.generation,
            held.tombstone,
            held.digest.as_slice(),
            &held.directives,
        ) == (
            notice.generation,
            notice.tombstone,
            notice.digest.as_slice(),
            &notice.directives,
        )
    });
    // A work that the hub was known not to have, and has: that is to be written down.
    let found = same.is_some_and(|held| held.stray.is_some());
    if unchanged && (held_off || !found) {
        return Step::Known;
    }
    if held_off {
        // Also a higher generation: it may have been made from a state that this cluster has left behind.
        return Step::HoldBack;
    }
    match (notice.tombstone, held, same) {
        (true, Some(_), None) => Step::NotHere,
        // What stays when it goes is said in its body, which may be newer than what is here.
        (true, held, _)
            if held.is_none_or(|held| held.digest != notice.digest || held.body.is_empty()) =>
        {
            Step::Pull
        }
        (true, _, _) => Step::Bury,
        (false, _, Some(same)) if same.digest == notice.digest && !same.body.is_empty() => {
            Step::Adopt
        }
        (false, _, _) => Step::Pull,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::{super::work, *};
    use crate::desired::Origin;

    fn notice(uid: &str, generation: i64, digest: u8, tombstone: bool) -> Notice {
        Notice {
            name: "w".into(),
            uid: uid.into(),
            generation,
            digest: vec![digest],
            tombstone,
            directives: BTreeMap::new(),
            revision: 9,
            body: None,
        }
    }

    fn held(uid: &str, generation: i64, digest: u8, tombstone: bool) -> Held {
        work(
            &notice(uid, generation, digest, tombstone),
            BTreeMap::new(),
            Arc::from([1_u8].as_slice()),
            Origin::Member,
        )
    }

    /// held, notice, held off → step
    #[test]
    fn notices_are_judged_by_uid_generation_and_whether_the_hub_is_trusted() {
        use Step::{Adopt, Bury, HoldBack, Known, NotHere, Pull};
        let cases = [
            (None, notice("a", 1, 1, false), false, Pull),
            (None, notice("a", 1, 1, true), false, Pull),
            (
                Some(held("a", 1, 1, false)),
                notice("a", 2, 2, true),
                false,
                Pull,
            ),
            (
                Some(held("a", 1, 1, false)),
                notice("a", 1, 1, false),
                false,
                Known,
            ),
            (
                Some(held("a", 1, 1, false)),
                notice("a", 2, 2, false),
                false,
                Pull,
            ),
            (
                Some(held("a", 1, 1, false)),
                notice("a", 2, 1, false),
                false,
                Adopt,
            ),
            (
                Some(held("a", 1, 1, false)),
                notice("a", 1, 1, true),
                false,
                Bury,
            ),
            (
                Some(held("a", 1, 1, true)),
                notice("a", 1, 1, true),
                false,
                Known,
            ),
            (
                Some(held("a", 1, 1, true)),
                notice("b", 1, 2, false),
                false,
                Pull,
            ),
            // P3: a tombstone is for a uid, not for a name.
            (
                Some(held("b", 1, 1, false)),
                notice("a", 1, 1, true),
                false,
                NotHere,
            ),
            // After an accepted rollback the hub's word counts, also an older one.
            (
                Some(held("a", 7, 7, false)),
                notice("a", 5, 5, false),
                false,
                Pull,
            ),
            // P4
            (None, notice("a", 1, 1, false), true, HoldBack),
            (None, notice("a", 1, 1, true), true, HoldBack),
            (
                Some(held("a", 7, 7, false)),
                notice("a", 7, 7, true),
                true,
                HoldBack,
            ),
            (
                Some(held("a", 7, 7, false)),
                notice("a", 5, 5, false),
                true,
                HoldBack,
            ),
            (
                Some(held("a", 7, 7, false)),
                notice("b", 9, 9, false),
                true,
                HoldBack,
            ),
            (
                Some(held("a", 7, 7, false)),
                notice("a", 7, 7, false),
                true,
                Known,
            ),
            (
                Some(held("a", 7, 7, false)),
                notice("a", 8, 8, false),
                true,
                HoldBack,
            ),
        ];
        let stray = |held: Held| Held {
            stray: Some(1),
            ..held
        };
        let strays = [
            // The hub has it after all.
            (
                Some(stray(held("a", 1, 1, false))),
                notice("a", 1, 1, false),
                false,
                Adopt,
            ),
            // It was being disposed of; the hub's word counts.
            (
                Some(stray(held("a", 1, 1, true))),
                notice("a", 1, 1, false),
                false,
                Adopt,
            ),
            (
                Some(stray(held("a", 1, 1, true))),
                notice("a", 1, 1, true),
                false,
                Bury,
            ),
            // Another work of its name takes its place.
            (
                Some(stray(held("a", 1, 1, false))),
                notice("b", 1, 1, false),
                false,
                Pull,
            ),
            (
                Some(stray(held("a", 1, 1, false))),
                notice("a", 1, 1, false),
                true,
                Known,
            ),
        ];
        for (held, notice, held_off, expected) in cases.into_iter().chain(strays) {
            assert_eq!(
                judge(&notice, held.as_ref(), held_off),
                expected,
                "{held:?} {notice:?} {held_off}"
            );
        }
    }
}
