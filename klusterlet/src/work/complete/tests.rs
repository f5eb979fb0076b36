//! When nothing of a work is applied any more.

use std::sync::Arc;

use super::*;
use crate::{
    cluster::known::CONFIG_MAPS,
    feedback::Derived,
    work::{
        pass::Stake,
        status::{Feedback, Meta, NotApplied, Outcome, Presence},
    },
};

fn key(name: &str) -> ObjectKey {
    ObjectKey {
        resource: Arc::new(CONFIG_MAPS.clone()),
        namespace: "n".into(),
        name: name.into(),
    }
}

/// A manifest whose rule says so much, if it has one.
fn slot(name: &str, complete: Option<Truth>) -> Slot {
    let derived = complete.map(|truth| Derived {
        kind: condition::COMPLETE.to_owned(),
        truth,
        reason: "Test",
        message: String::new(),
    });
    Slot {
        outcome: Outcome {
            meta: Meta::Known(0, key(name)),
            applied: Ok(()),
            presence: Presence::Present,
            feedback: Feedback::default(),
            derived: derived.into_iter().collect(),
        },
        uid: Box::default(),
        unmapped: None,
        writes: 0,
        created: false,
        completes: complete.is_some(),
        stake: Stake::Own,
        rival: None,
        perhaps_made: true,
        homeless: false,
    }
}

/// One that was not applied; nothing of its object is known.
fn failed(name: &str, completes: bool) -> Slot {
    let mut slot = slot(name, None);
    slot.outcome.applied = Err(NotApplied::failed("no answer"));
    slot.completes = completes;
    slot
}

#[test]
fn a_work_is_complete_when_all_its_rules_are_true_and_all_of_it_was_applied() {
    let unknown = || {
        let mut slot = failed("x", false);
        slot.outcome.meta = Meta::Unknown(Box::default());
        slot
    };
    let done = || slot("a", Some(Truth::True));
    let refused = || {
        let mut slot = slot("b", Some(Truth::True));
        slot.outcome.applied = Err(NotApplied::failed("field is immutable"));
        slot
    };
    for (slots, expected) in [
        (vec![done()], Some(7)),
        (vec![done(), slot("b", None)], Some(7)),
        (vec![slot("b", None)], None),
        (vec![done(), slot("b", Some(Truth::False))], None),
        (vec![done(), slot("b", Some(Truth::Unknown))], None),
        // Not applied: with a rule, without one, and of a kind that is not known.
        (vec![done(), failed("b", true)], None),
        (vec![done(), failed("b", false)], None),
        (vec![done(), unknown()], None),
        // An earlier one is done, this one was never let in.
        (vec![done(), refused()], None),
        // What was complete before stays so, whatever can be read of it now.
        (vec![failed("a", true)], Some(7)),
    ] {
        let before = Completed::default()
            .of("u")
            .after([done(), slot("z", Some(Truth::False))].iter(), 6);
        assert!(before.has(&key("a")) && before.all().is_none());
        let after = before.after(slots.iter(), 7);
        assert_eq!(after.all(), expected, "{slots:?}");
        // For good, and across a restart.
        let read = Completed::parse(&after.render()).of("u");
        assert_eq!(
            read.after([failed("b", true)].iter(), 8).all(),
            expected,
            "{slots:?}"
        );
        assert!(read.of("another").is_empty());
    }
}
