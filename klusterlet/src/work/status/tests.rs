use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use koinon_api::work::{FieldValue, ValueType};

use super::{size::CUT, *};

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn outcome(ordinal: i32, name: &str, applied: Result<(), String>, presence: Presence) -> Outcome {
    let meta = ManifestResourceMeta {
        ordinal,
        name: name.into(),
        kind: "ConfigMap".into(),
        ..Default::default()
    };
    Outcome {
        meta: Meta::Unknown(Box::new(meta)),
        applied: applied.map_err(NotApplied::failed),
        presence,
        feedback: Feedback::default(),
        derived: Vec::new(),
    }
}

/// The status of a work of which all was applied that is to be.
fn status<'o>(
    previous: &ManifestWorkStatus,
    generation: i64,
    outcomes: impl IntoIterator<Item = &'o Outcome>,
    now: &Time,
) -> ManifestWorkStatus {
    super::status(previous, generation, outcomes, End::Complete, now)
}

fn good(ordinal: i32, name: &str) -> Outcome {
    outcome(ordinal, name, Ok(()), Presence::Present)
}

fn find<'a>(conditions: &'a [Condition], kind: &str) -> (&'a str, &'a str, &'a str) {
    let c = meta::condition(conditions, kind).unwrap();
    (&c.status, &c.reason, &c.message)
}

#[test]
fn one_bad_manifest_fails_the_work_and_itself_only() {
    let bad = outcome(1, "b", Err("boom".into()), Presence::Missing);
    let status = status(
        &ManifestWorkStatus::default(),
        3,
        &[good(0, "a"), bad],
        &at(1),
    );
    assert_eq!(
        find(&status.conditions, "Applied"),
        (
            "False",
            "AppliedManifestWorkFailed",
            "Failed to apply manifest work"
        )
    );
    assert_eq!(
        find(&status.conditions, "Available"),
        (
            "False",
            "ResourcesNotAvailable",
            "1 of 2 resources are not available"
        )
    );
    let manifests = &status.resource_status.manifests;
    assert_eq!(
        find(&manifests[0].conditions, "Applied"),
        ("True", "AppliedManifestComplete", "Apply manifest complete")
    );
    assert_eq!(
        find(&manifests[1].conditions, "Applied"),
        (
            "False",
            "AppliedManifestFailed",
            "Failed to apply manifest: boom"
        )
    );
    assert_eq!(
        find(&manifests[1].conditions, "Available"),
        ("False", "ResourceNotAvailable", "Resource is not available")
    );
    assert_eq!(
        meta::condition(&manifests[0].conditions, "Applied")
            .unwrap()
            .observed_generation,
        Some(3)
    );
    assert_eq!(
        meta::condition(&manifests[0].conditions, "Available")
            .unwrap()
            .observed_generation,
        None
    );
}

#[test]
fn unknown_presence_is_neither_there_nor_missing() {
    let unread = outcome(0, "a", Ok(()), Presence::Unknown("timeout".into()));
    let status = status(
        &ManifestWorkStatus::default(),
        1,
        &[unread, good(1, "b")],
        &at(1),
    );
    assert_eq!(
        find(&status.conditions, "Available"),
        (
            "Unknown",
            "ResourcesStatusUnknown",
            "1 of 2 resources have unknown status"
        )
    );
}

#[test]
fn an_empty_work_is_neither_applied_nor_available() {
    let status = status(&ManifestWorkStatus::default(), 1, &[], &at(1));
    assert!(meta::condition(&status.conditions, "Applied").is_none());
    assert_eq!(
        find(&status.conditions, "Available"),
        (
            "Unknown",
            "ResourcesStatusUnknown",
            "cannot get any available resource "
        )
    );
}

#[test]
fn nothing_changes_while_nothing_changes() {
    let first = status(&ManifestWorkStatus::default(), 1, &[good(0, "a")], &at(1));
    assert_eq!(status(&first, 1, &[good(0, "a")], &at(99)), first);
}

#[test]
fn transition_times_move_with_the_status_and_with_the_generation_of_applied() {
    let time = |status: &ManifestWorkStatus, kind: &str| {
        meta::condition(&status.conditions, kind)
            .unwrap()
            .last_transition_time
            .clone()
    };
    let first = status(&ManifestWorkStatus::default(), 1, &[good(0, "a")], &at(1));
    let second = status(&first, 2, &[good(0, "a")], &at(2));
    assert_eq!(
        (time(&second, "Applied"), time(&second, "Available")),
        (at(2), at(1))
    );
    let third = status(
        &second,
        2,
        &[outcome(0, "a", Ok(()), Presence::Missing)],
        &at(3),
    );
    assert_eq!(
        (time(&third, "Applied"), time(&third, "Available")),
        (at(2), at(3))
    );
}

#[test]
fn conditions_follow_a_manifest_that_moved_within_the_work() {
    let first = status(
        &ManifestWorkStatus::default(),
        1,
        &[good(0, "a"), good(1, "b")],
        &at(1),
    );
    let second = status(&first, 1, &[good(0, "b")], &at(2));
    let available =
        meta::condition(&second.resource_status.manifests[0].conditions, "Available").unwrap();
    assert_eq!(available.last_transition_time, at(1));
    assert_eq!(second.resource_status.manifests.len(), 1);
}

#[test]
fn changed_feedback_moves_the_time_of_its_condition() {
    let with = |n: i64| {
        let mut outcome = good(0, "a");
        let value = FieldValue {
            type_: ValueType::Integer,
            integer: Some(n),
            string: None,
            boolean: None,
            json_raw: None,
        };
        outcome.feedback = Feedback {
            asked: true,
            values: vec![FeedbackValue {
                name: "n".into(),
                field_value: value,
            }],
            error: None,
        };
        outcome
    };
    let time = |status: &ManifestWorkStatus| {
        meta::condition(
            &status.resource_status.manifests[0].conditions,
            "StatusFeedbackSynced",
        )
        .unwrap()
        .last_transition_time
        .clone()
    };
    let first = status(&ManifestWorkStatus::default(), 1, &[with(1)], &at(1));
    let same = status(&first, 1, &[with(1)], &at(2));
    let changed = status(&same, 1, &[with(2)], &at(3));
    assert_eq!((time(&same), time(&changed)), (at(1), at(3)));
}

#[test]
fn endless_messages_are_cut() {
    let status = status(
        &ManifestWorkStatus::default(),
        1,
        &[outcome(
            0,
            "a",
            Err(format!("{}: field is immutable", "é".repeat(5000))),
            Presence::Missing,
        )],
        &at(1),
    );
    let message = &status.resource_status.manifests[0].conditions[0].message;
    assert!(
        message.len() < 2100 && message.ends_with("field is immutable"),
        "{message}"
    );
}

#[test]
fn a_work_that_is_being_deleted_says_so_and_keeps_the_rest() {
    let first = status(&ManifestWorkStatus::default(), 1, &[good(0, "a")], &at(1));
    let gone = deleting(&first, &at(2));
    assert_eq!(
        find(&gone.conditions, "Deleting"),
        ("True", "WorkDeleting", "ManifestWork is being deleted")
    );
    assert_eq!(gone.resource_status, first.resource_status);
}

fn derived(kind: &str, truth: Truth, message: &str) -> Derived {
    Derived {
        kind: kind.into(),
        truth,
        reason: "ConditionRuleEvaluated",
        message: message.into(),
    }
}

fn saying(ordinal: i32, name: &str, derived: Vec<Derived>) -> Outcome {
    Outcome {
        derived,
        ..good(ordinal, name)
    }
}

#[test]
fn derived_conditions_are_summed_up_by_type() {
    use Truth::{False, True, Unknown};
    // type, of the manifests, of the work
    for (kind, of, expected) in [
        ("Progressing", vec![True, False, Unknown], "True"),
        ("Progressing", vec![False, Unknown], "Unknown"),
        ("Progressing", vec![False, False], "False"),
        ("Degraded", vec![False, True], "True"),
        ("Degraded", vec![False, False], "False"),
        ("Complete", vec![True, True], "True"),
        ("Complete", vec![True, Unknown], "Unknown"),
        ("Complete", vec![Unknown, False, True], "False"),
        ("Own", vec![True, False], "False"),
    ] {
        let outcomes: Vec<_> = (0_i32..)
            .zip(&of)
            .map(|(n, truth)| saying(n, &format!("m{n}"), vec![derived(kind, *truth, "x")]))
            // Those that say nothing of it do not count.
            .chain([good(of.len() as i32, "silent")])
            .collect();
        let status = status(&ManifestWorkStatus::default(), 2, &outcomes, &at(1));
        let (truth, reason, _) = find(&status.conditions, kind);
        assert_eq!(
            (truth, reason),
            (expected, "ConditionRulesAggregated"),
            "{kind} {of:?}"
        );
    }
}

/// A work that says so is deleted, if it has a time to live.
#[test]
fn a_work_is_not_complete_before_all_of_it_was_applied() {
    let done = saying(0, "a", vec![derived("Complete", Truth::True, "done")]);
    let refused = outcome(1, "b", Err("quota".to_owned()), Presence::Missing);
    for (end, expected) in [(End::Open, "False"), (End::Complete, "True")] {
        let outcomes = [&done, &refused];
        let status = super::status(&ManifestWorkStatus::default(), 1, outcomes, end, &at(1));
        assert_eq!(find(&status.conditions, "Complete").0, expected, "{end:?}");
        let manifest = &status.resource_status.manifests[0].conditions;
        assert_eq!(find(manifest, "Complete").0, "True");
    }
}

#[test]
fn a_sum_has_the_words_of_its_only_part_or_names_the_first_that_matters() {
    let message = |outcomes: &[Outcome], kind: &str| {
        let status = status(&ManifestWorkStatus::default(), 1, outcomes, &at(1));
        find(&status.conditions, kind).2.to_owned()
    };
    let busy =
        |n: i32, name: &str| saying(n, name, vec![derived("Progressing", Truth::True, "1 of 3")]);
    assert_eq!(
        message(&[busy(0, "a"), good(1, "b")], "Progressing"),
        "1 of 3"
    );
    assert_eq!(
        message(&[busy(0, "a"), busy(1, "b"), busy(2, "c")], "Progressing"),
        "ConfigMap a: 1 of 3, and 2 more"
    );
    let done = |n: i32, name: &str| saying(n, name, vec![derived("Complete", Truth::True, "done")]);
    assert_eq!(
        message(&[done(0, "a"), done(1, "b")], "Complete"),
        "Aggregated from 2 manifest conditions"
    );
}

#[test]
fn what_an_object_said_goes_with_its_rule_or_with_the_generation() {
    let says = saying(0, "a", vec![derived("Complete", Truth::True, "done")]);
    let unread = outcome(0, "a", Ok(()), Presence::Unknown(String::new()));
    let gone = outcome(0, "a", Ok(()), Presence::Missing);
    let first = status(&ManifestWorkStatus::default(), 1, &[says], &at(1));
    let has = |status: &ManifestWorkStatus| {
        (
            meta::condition(&status.conditions, "Complete").is_some(),
            meta::condition(&status.resource_status.manifests[0].conditions, "Complete").is_some(),
        )
    };
    assert_eq!(has(&first), (true, true));
    assert_eq!(
        has(&status(&first, 1, std::slice::from_ref(&unread), &at(2))),
        (true, true)
    );
    assert_eq!(has(&status(&first, 2, &[unread], &at(2))), (false, false));
    assert_eq!(has(&status(&first, 1, &[gone], &at(2))), (false, false));
    assert_eq!(
        has(&status(&first, 1, &[good(0, "a")], &at(2))),
        (false, false)
    );
}

#[test]
fn a_rule_may_say_what_available_means() {
    let broken = saying(0, "a", vec![derived("Available", Truth::False, "no")]);
    let status = status(
        &ManifestWorkStatus::default(),
        1,
        &[broken, good(1, "b")],
        &at(1),
    );
    assert_eq!(
        find(&status.conditions, "Available"),
        (
            "False",
            "ResourcesNotAvailable",
            "1 of 2 resources are not available"
        )
    );
    assert_eq!(
        find(&status.resource_status.manifests[0].conditions, "Available"),
        ("False", "ConditionRuleEvaluated", "no")
    );
}

#[test]
fn a_status_that_is_too_large_shows_what_needs_attention_and_counts_the_rest() {
    let mut outcomes: Vec<_> = (0..100).map(|n| good(n, &format!("m{n}"))).collect();
    outcomes[97].applied = Err(NotApplied::failed("boom"));
    let whole = Arc::new(status(&ManifestWorkStatus::default(), 1, &outcomes, &at(1)));
    assert_eq!(fit(&whole, MOST), whole);
    let shown = fit(&whole, 16 * 1024);
    let bytes = serde_json::to_vec(&shown).unwrap().len();
    assert!(bytes <= 16 * 1024, "{bytes}");
    let names: Vec<_> = shown
        .resource_status
        .manifests
        .iter()
        .map(|m| m.resource_meta.name.as_str())
        .collect();
    assert_eq!((names.first(), names.last()), (Some(&"m0"), Some(&"m97")));
    let (truth, _, message) = find(&shown.conditions, "StatusTruncated");
    assert_eq!(truth, "True");
    assert!(
        message.starts_with(&format!("{} of 100 manifests are shown", names.len())),
        "{message}"
    );
    // The work's own conditions are of all of them.
    assert_eq!(find(&shown.conditions, "Applied").0, "False");
}

#[test]
fn neither_many_rules_nor_one_large_manifest_hide_the_rest() {
    let mut outcomes: Vec<_> = (0..20).map(|n| good(n, &format!("m{n}"))).collect();
    let derived = |kind: String, size: usize| Derived {
        kind,
        truth: Truth::False,
        reason: "ConditionRuleEvaluated",
        message: "x".repeat(size),
    };
    outcomes[3].derived = (0..2000)
        .map(|n| derived(format!("Rule{n:04}"), 2048))
        .chain([derived("Progressing".into(), 1)])
        .collect();
    let whole = status(&ManifestWorkStatus::default(), 1, &outcomes, &at(1));
    assert!(whole.conditions.len() < 70, "{}", whole.conditions.len());
    assert_eq!(find(&whole.conditions, "Progressing").0, "False");
    let (_, reason, message) = find(&whole.conditions, "StatusTruncated");
    assert_eq!(
        (reason, message),
        (
            "TooManyConditions",
            "64 of 2001 types of conditions are summed up"
        )
    );
    let shown = fit(&Arc::new(whole), MOST);
    let bytes = serde_json::to_vec(&shown).unwrap().len();
    assert!(bytes <= MOST, "{bytes}");
    assert_eq!(shown.resource_status.manifests.len(), 19);
    let message = find(&shown.conditions, "StatusTruncated").2;
    assert!(message.starts_with("19 of 20 manifests"), "{message}");
}

#[test]
fn no_message_makes_a_status_too_long_to_be_told() {
    for text in ["x", "\u{1}", "„"] {
        let previous = ManifestWorkStatus::default();
        let mut whole = status(&previous, 1, [&good(0, "a"), &good(1, "b")], &at(1));
        // As long as a message may be, and as many as are summed up.
        let long = text.repeat(32_768);
        whole.conditions.extend((0..64).map(|n| {
            new_condition(
                &format!("Rule{n:02}"),
                Truth::True,
                "Test",
                long.as_str(),
                at(1).0,
            )
        }));
        let whole = Arc::new(whole);
        let shown = fit(&whole, MOST);
        let bytes = serde_json::to_vec(&shown).unwrap().len();
        assert!(bytes <= MOST, "{bytes} of {text:?}");
        // All of them are there, and say how they begin.
        assert_eq!(shown.conditions.len(), whole.conditions.len());
        let message = find(&shown.conditions, "Rule63").2;
        assert!(
            message.starts_with(text) && message.ends_with(CUT),
            "{message}"
        );
        assert_eq!(shown.resource_status, whole.resource_status);
        assert_eq!(fit(&shown, MOST), shown);
    }
}
