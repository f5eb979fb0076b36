use super::*;

fn guard(works: usize, objects: usize) -> DeletionGuard {
    let guard = DeletionGuard::new(Allowance {
        percent: 50,
        objects: 3,
    });
    for n in 0..works {
        guard.applied(&format!("w{n}"), objects);
    }
    guard
}

fn granted(guard: &DeletionGuard, work: usize, objects: usize, told: i64, now: Instant) -> bool {
    guard.ask(&format!("w{work}"), objects, told, now) == Permit::Granted
}

#[test]
fn a_share_may_go_and_the_rest_waits_for_its_own_approval() {
    let (guard, now) = (guard(10, 2), Instant::now());
    let mut passed = 0;
    for n in 0..10 {
        passed += usize::from(granted(&guard, n, 2, 100, now));
    }
    assert_eq!(passed, 5);
    let hold = guard.hold().unwrap();
    assert_eq!(
        (hold.revision, hold.works, hold.objects, hold.applied),
        (100, 5, 10, 10)
    );
    // An older approval is not for these.
    guard.approve(99);
    assert!(!granted(&guard, 9, 2, 100, now));
    guard.approve(100);
    for n in 5..10 {
        assert!(granted(&guard, n, 2, 100, now));
    }
    assert_eq!(guard.hold(), None);
    // And this one is not for later ones.
    guard.applied("late", 100);
    assert_ne!(guard.ask("late", 100, 101, now), Permit::Granted);
}

/// Else each ordinary deletion of the next ten minutes would wait for a person again.
#[test]
fn what_was_approved_does_not_count_against_what_is_deleted_later() {
    let (guard, now) = (guard(2, 2), Instant::now());
    guard.applied("big", 20);
    let Permit::Held(why) = guard.ask("big", 20, 100, now) else {
        panic!()
    };
    assert!(
        why.starts_with("20 of 24 applied objects would go"),
        "{why}"
    );
    guard.approve(100);
    assert_eq!(guard.ask("big", 20, 100, now), Permit::Granted);
    assert!(guard.passed((1_000, now)).is_empty());
    assert!(granted(&guard, 0, 2, 101, now));
    let Permit::Held(why) = guard.ask("w1", 2, 101, now) else {
        panic!()
    };
    assert!(
        why.contains("4 of 4 applied") && why.contains("2 of them are deleted"),
        "{why}"
    );
}

#[test]
fn what_was_let_pass_counts_after_a_restart_as_long_as_before() {
    let (before, now) = (guard(4, 2), Instant::now());
    assert!(granted(&before, 0, 2, 1, now) && granted(&before, 1, 2, 1, now));
    let stored = before.passed((1_000, now + Duration::from_secs(5)));
    assert_eq!(stored, [(995, 4)]);
    let now = now + WINDOW;
    for (unix, left) in [
        (1_000, false),
        (995 + 599, false),
        (995 + 600, true),
        (10, false),
    ] {
        let after = guard(4, 2);
        after.applied("w0", 0);
        after.applied("w1", 0);
        after.restore(&stored, (unix, now));
        assert_eq!(granted(&after, 2, 2, 1, now), left, "{unix}");
    }
}

#[tokio::test]
async fn nothing_goes_before_it_is_stored_that_it_may() {
    let (guard, now) = (guard(10, 1), Instant::now());
    let waits = async |guard: &DeletionGuard| {
        tokio::select! {
            biased;
            () = guard.is_stored() => false,
            () = tokio::task::yield_now() => true,
        }
    };
    assert!(granted(&guard, 0, 1, 1, now));
    assert!(!waits(&guard).await, "nobody stores it");
    let passes = guard.passes();
    assert!(waits(&guard).await);
    guard.stored(*passes.borrow());
    assert!(!waits(&guard).await);
    assert!(granted(&guard, 1, 1, 1, now));
    assert!(waits(&guard).await);
}

#[test]
fn what_is_remembered_does_not_grow_with_what_goes() {
    let (guard, now) = (guard(10_000, 1), Instant::now());
    for n in 0..4_000_u32 {
        let at = now + Duration::from_millis(n.into());
        assert!(granted(&guard, n as usize, 1, 1, at));
    }
    let passed = guard.passed((1_000, now + Duration::from_secs(4)));
    assert_eq!(passed, [(996, 1000), (997, 1000), (998, 1000), (999, 1000)]);
}

#[test]
fn a_few_objects_may_always_go_and_time_heals() {
    let (small, now) = (guard(1, 3), Instant::now());
    assert!(granted(&small, 0, 3, 1, now));
    let guard = guard(4, 2);
    assert!(granted(&guard, 0, 2, 1, now) && granted(&guard, 1, 2, 1, now));
    assert!(!granted(&guard, 2, 2, 1, now));
    assert!(granted(&guard, 2, 2, 1, now + WINDOW));
}

#[test]
fn a_work_that_wants_its_objects_after_all_does_not_wait() {
    let (guard, now) = (guard(1, 50), Instant::now());
    assert!(!granted(&guard, 0, 50, 1, now));
    assert!(guard.hold().is_some());
    guard.content("w0");
    assert_eq!(guard.hold(), None);
}

#[test]
fn nothing_is_a_mass_before_it_is_known_how_much_there_is() {
    let (guard, now) = (guard(0, 0), Instant::now());
    for n in 0..20 {
        guard.expect(&format!("w{n}"));
    }
    // The works that go are looked at first: few go at once, the others wait without a word.
    for n in 0..4 {
        assert!(guard.expects(&format!("w{n}")));
        guard.applied(&format!("w{n}"), 2);
        guard.counted(&format!("w{n}"));
    }
    let ask = |n: usize| guard.ask(&format!("w{n}"), 2, 1, now);
    let first = [0, 1, 2].map(ask);
    assert_eq!(first, [Permit::Granted, Permit::Granted, Permit::Later]);
    assert_eq!(guard.hold(), None);
    for n in 4..19 {
        guard.applied(&format!("w{n}"), 2);
        guard.counted(&format!("w{n}"));
    }
    // It cannot be read; that is known, too.
    guard.counted("w19");
    assert_eq!([2, 3].map(ask), [Permit::Granted, Permit::Granted]);
    // What is too much is too much.
    let rest: Vec<_> = (4..19).map(ask).collect();
    assert!(matches!(rest.last(), Some(Permit::Held(_))), "{rest:?}");
    assert_eq!(guard.hold().unwrap().applied, 20);
}

#[test]
fn what_waits_is_told_when_it_need_not_any_more() {
    let (guard, now) = (guard(6, 2), Instant::now());
    assert!(granted(&guard, 0, 4, 1, now));
    let later = now + Duration::from_secs(100);
    assert!(granted(&guard, 1, 2, 1, later));
    assert!(!granted(&guard, 2, 2, 1, later));
    let room = guard.room();
    assert_eq!(
        (guard.room_at("w3", later), guard.may_go("w3", later)),
        (None, true)
    );
    assert!(!guard.may_go("w2", later));
    // Time: what passed first does not count for ever.
    let at = guard.room_at("w2", later).unwrap();
    assert_eq!(at, now + WINDOW);
    assert!(!room.has_changed().unwrap());
    // More is applied than was known.
    guard.applied("big", 1);
    assert!(!guard.may_go("w2", later) && !room.has_changed().unwrap());
    guard.applied("big", 20);
    assert!(guard.may_go("w2", later) && room.has_changed().unwrap());
    assert!(granted(&guard, 2, 2, 1, later));
    assert_eq!(guard.room_at("w2", later), None);
}

#[test]
fn everything_passes_where_that_is_wanted() {
    let guard = DeletionGuard::new(Allowance {
        percent: 100,
        objects: 0,
    });
    guard.applied("w0", 9);
    assert!(granted(&guard, 0, 9, 1, Instant::now()));
}
