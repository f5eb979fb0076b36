use super::*;

fn lease(holder: &str, process: &str, challenger: Option<&str>) -> Value {
    let mut lease = json!({"metadata": {"annotations": {PROCESS: process}}, "spec": {"holderIdentity": holder}});
    if let Some(challenger) = challenger {
        lease["metadata"]["annotations"][CHALLENGER] = json!(challenger);
    }
    lease
}

#[test]
fn a_lease_is_anothers_unless_it_certainly_is_not() {
    let (me, other) = (Holder::here(), Holder::here());
    let dead = me.process().replace("begun=", "begun=1");
    for (lease, expected) in [
        (lease(me.name(), &me.process(), None), Says::Yours),
        (lease(me.name(), &me.process(), Some("x")), Says::Challenged),
        (
            lease(other.name(), &other.process(), None),
            Says::Others { challenged: false },
        ),
        (
            lease(other.name(), &other.process(), Some(me.name())),
            Says::Others { challenged: true },
        ),
        (
            lease("elsewhere", "", None),
            Says::Others { challenged: false },
        ),
        (lease("elsewhere", &dead, Some("x")), Says::Free),
        (lease("", "", Some("x")), Says::Free),
        (json!({}), Says::Free),
    ] {
        assert_eq!(says(&lease, &me), expected, "{lease}");
    }
}

#[test]
fn patience_begins_anew_with_each_answer() {
    let (mut seen, start) = (Seen::default(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(seen.unchanged("5", at(0)), Duration::ZERO);
    assert!(seen.unchanged("5", at(19)) < PATIENCE);
    // Answered, and challenged by somebody else.
    assert_eq!(seen.unchanged("7", at(19)), Duration::ZERO);
    assert!(seen.unchanged("7", at(38)) < PATIENCE);
    assert!(seen.unchanged("7", at(39)) >= PATIENCE);
    assert!(seen.may_challenge(at(0)));
    seen.challenged = Some(at(40));
    assert!(!seen.may_challenge(at(69)) && seen.may_challenge(at(70)));
}

/// The holder asks before the newcomer's challenge and may write until `VALID` after; whatever happens in between, and however
/// long messages take, that is before the newcomer takes over.
#[test]
fn the_right_to_write_ends_before_another_one_begins() {
    assert!(VALID + ASK < PATIENCE);
    assert!(ASK < VALID);
}
