//! Since when a condition has been as it is: the hub's memory counts.
//!
//! An agent that was started anew does not know when a condition turned, and says "now". Taken as it is, a restart would
//! write every status, and whatever counts from `lastTransitionTime` (times to live, deadlines of rollouts) would begin
//! again. Kubernetes moves that time only when the status of the condition changes; so does the hub.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use koinon_api::work::{ManifestCondition, ManifestResourceMeta, ManifestWorkStatus};

/// Conditions of a work or of one of its manifests that are taken: each is looked for among those of before, and nobody has so many.
pub(super) const MOST: usize = 64;

/// Whether a status has no list of more than [`MOST`] conditions.
pub(super) fn are_bearable(status: &ManifestWorkStatus) -> bool {
    let mut manifests = status.resource_status.manifests.iter();
    status.conditions.len() <= MOST && manifests.all(|entry| entry.conditions.len() <= MOST)
}

/// Gives conditions that stand as they stood before the time since when they have, and the others `at`, the time at which the hub heard
/// of it: the clock of a member may be wrong by years, and times to live count from these times. Both are bearable, or the work of
/// whoever writes statuses by hand is compared in part.
pub(super) fn keep(before: ManifestWorkStatus, now: &mut ManifestWorkStatus, at: Timestamp) {
    keep_each(&before.conditions, &mut now.conditions, at);
    let entries = before.resource_status.manifests.iter();
    // Of two that are about one object in two versions, the one in the same place comes first.
    let mut known: HashMap<Object<'_>, Vec<&ManifestCondition>> = HashMap::new();
    for entry in entries {
        let known = known.entry(object(&entry.resource_meta)).or_default();
        known.push(entry);
    }
    for entry in &mut now.resource_status.manifests {
        let before = known.get(&object(&entry.resource_meta));
        let mut before = before.into_iter().flatten();
        let same = before
            .clone()
            .find(|before| before.resource_meta.ordinal == entry.resource_meta.ordinal);
        let before = same.or_else(|| before.next());
        let before = before.map(|before| before.conditions.as_slice());
        keep_each(before.unwrap_or_default(), &mut entry.conditions, at);
    }
}

/// Group, kind, namespace and name: a manifest that moved within the work is about the same object.
type Object<'a> = (&'a str, &'a str, &'a str, &'a str);

fn object(meta: &ManifestResourceMeta) -> Object<'_> {
    (&meta.group, &meta.kind, &meta.namespace, &meta.name)
}

fn keep_each(before: &[Condition], now: &mut [Condition], at: Timestamp) {
    for condition in now {
        let same = before
            .iter()
            .take(MOST)
            .find(|b| b.type_ == condition.type_ && b.status == condition.status);
        condition.last_transition_time =
            same.map_or(Time(at), |same| same.last_transition_time.clone());
    }
}

#[cfg(test)]
mod tests {
    use koinon_api::meta::{Truth, new_condition};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn status(name: &str, ordinal: i32, truth: Truth, seconds: i64) -> ManifestWorkStatus {
        let conditions = vec![new_condition("Applied", truth, "Reason", "", at(seconds))];
        let mut status = ManifestWorkStatus {
            conditions: conditions.clone(),
            ..ManifestWorkStatus::default()
        };
        status.resource_status.manifests.push(ManifestCondition {
            resource_meta: ManifestResourceMeta {
                ordinal,
                kind: "ConfigMap".to_owned(),
                name: name.to_owned(),
                ..ManifestResourceMeta::default()
            },
            conditions,
            ..ManifestCondition::default()
        });
        status
    }

    /// The times of the work's condition and of its object's.
    fn times(status: &ManifestWorkStatus) -> [Timestamp; 2] {
        [
            status.conditions[0].last_transition_time.0,
            status.resource_status.manifests[0].conditions[0]
                .last_transition_time
                .0,
        ]
    }

    #[test]
    fn more_conditions_than_anybody_has_are_not_taken() {
        let many = |count: usize| {
            let condition = |n| new_condition(&format!("C{n}"), Truth::True, "R", "", at(1));
            (0..count).map(condition).collect::<Vec<_>>()
        };
        for (count, taken) in [(MOST, true), (MOST + 1, false)] {
            let mut of_work = status("a", 0, Truth::True, 1);
            of_work.conditions = many(count);
            assert_eq!(are_bearable(&of_work), taken);
            let mut of_manifest = status("a", 0, Truth::True, 1);
            of_manifest.resource_status.manifests[0].conditions = many(count);
            assert_eq!(are_bearable(&of_manifest), taken);
        }
    }

    #[test]
    fn two_manifests_of_one_object_have_times_of_their_own() {
        let both = |seconds: i64| {
            let mut both = status("a", 0, Truth::True, seconds);
            let second = status("a", 1, Truth::False, seconds + 1).resource_status;
            both.resource_status.manifests.extend(second.manifests);
            both
        };
        let mut now = both(9);
        keep(both(1), &mut now, at(20));
        let expected = both(1).resource_status;
        assert_eq!(now.resource_status, expected);
    }

    #[test]
    fn only_a_change_of_status_moves_the_time() {
        let before = status("a", 0, Truth::True, 1);
        for (mut now, want) in [
            (status("a", 0, Truth::True, 9), [at(1), at(1)]),
            (status("a", 3, Truth::True, 9), [at(1), at(1)]),
            (status("a", 0, Truth::False, 9), [at(20), at(20)]),
            (status("b", 0, Truth::True, 9), [at(1), at(20)]),
        ] {
            // Whatever the agent says: this is when the hub heard of it.
            keep(before.clone(), &mut now, at(20));
            assert_eq!(times(&now), want);
        }
    }
}
