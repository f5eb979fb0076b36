//! What is reported about a work. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use koinon_api::{
    meta::{self, Truth, new_condition, set_condition},
    work::{
        FeedbackValue, ManifestCondition, ManifestResourceMeta, ManifestWorkStatus,
        StatusFeedbackResult,
    },
};

/// Condition types and reasons of OCM's work agent.
mod word {
    pub(super) const APPLIED: &str = "Applied";
    pub(super) const AVAILABLE: &str = "Available";
    pub(super) const DELETING: &str = "Deleting";
    pub(super) const FEEDBACK: &str = "StatusFeedbackSynced";
}

/// What was found out about one manifest.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    pub(super) meta: ManifestResourceMeta,
    /// Why it could not be applied, if so.
    pub(super) applied: Result<(), String>,
    pub(super) presence: Presence,
    pub(super) feedback: Feedback,
}

/// Whether the object exists.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Presence {
    Present,
    Missing,
    /// It could not be read.
    Unknown(String),
    /// Its kind or name is unknown.
    Incomplete,
}

/// Values that the work wants to know.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Feedback {
    /// Whether any value was asked for.
    pub(super) asked: bool,
    pub(super) values: Vec<FeedbackValue>,
    pub(super) error: Option<String>,
}

/// Returns the status of a work; `outcomes` are in the order of its manifests.
pub(super) fn status(
    previous: &ManifestWorkStatus,
    generation: i64,
    outcomes: &[Outcome],
    now: &Time,
) -> ManifestWorkStatus {
    let mut status = ManifestWorkStatus {
        conditions: previous.conditions.clone(),
        ..Default::default()
    };
    for outcome in outcomes {
        let before = before(previous, &outcome.meta);
        status
            .resource_status
            .manifests
            .push(manifest(before, generation, outcome, now));
    }
    let total = outcomes.len();
    if total > 0 {
        let (truth, reason, message) = if outcomes.iter().all(|o| o.applied.is_ok()) {
            (
                Truth::True,
                "AppliedManifestWorkComplete",
                "Apply manifest work complete",
            )
        } else {
            (
                Truth::False,
                "AppliedManifestWorkFailed",
                "Failed to apply manifest work",
            )
        };
        renew(
            &mut status.conditions,
            observed(
                new_condition(word::APPLIED, truth, reason, message, now.0),
                generation,
            ),
        );
    }
    let missing = outcomes
        .iter()
        .filter(|o| o.presence == Presence::Missing)
        .count();
    let unknown = outcomes
        .iter()
        .filter(|o| matches!(o.presence, Presence::Unknown(_) | Presence::Incomplete))
        .count();
    let (truth, reason, message) = match (missing, unknown) {
        (1.., _) => (
            Truth::False,
            "ResourcesNotAvailable",
            format!("{missing} of {total} resources are not available"),
        ),
        (0, 1..) => (
            Truth::Unknown,
            "ResourcesStatusUnknown",
            format!("{unknown} of {total} resources have unknown status"),
        ),
        (0, 0) if total == 0 => (
            Truth::Unknown,
            "ResourcesStatusUnknown",
            "cannot get any available resource ".to_owned(),
        ),
        (0, 0) => (
            Truth::True,
            "ResourcesAvailable",
            "All resources are available".to_owned(),
        ),
    };
    set_condition(
        &mut status.conditions,
        observed(
            new_condition(word::AVAILABLE, truth, reason, message, now.0),
            generation,
        ),
    );
    status
}

/// Returns the status of a work that is being deleted.
pub(super) fn deleting(previous: &ManifestWorkStatus, now: &Time) -> ManifestWorkStatus {
    let mut status = previous.clone();
    set_condition(
        &mut status.conditions,
        new_condition(
            word::DELETING,
            Truth::True,
            "WorkDeleting",
            "ManifestWork is being deleted",
            now.0,
        ),
    );
    status
}

/// Finds the earlier entry of a manifest: by all of its meta, else by all but the ordinal if that is unique.
fn before<'a>(
    previous: &'a ManifestWorkStatus,
    meta: &ManifestResourceMeta,
) -> Option<&'a ManifestCondition> {
    let entries = &previous.resource_status.manifests;
    if let Some(exact) = entries.iter().find(|e| e.resource_meta == *meta) {
        return Some(exact);
    }
    let mut moved = entries.iter().filter(|e| {
        ManifestResourceMeta {
            ordinal: meta.ordinal,
            ..e.resource_meta.clone()
        } == *meta
    });
    match (moved.next(), moved.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

fn manifest(
    before: Option<&ManifestCondition>,
    generation: i64,
    outcome: &Outcome,
    now: &Time,
) -> ManifestCondition {
    let mut conditions = before.map(|b| b.conditions.clone()).unwrap_or_default();
    let applied = match &outcome.applied {
        Ok(()) => new_condition(
            word::APPLIED,
            Truth::True,
            "AppliedManifestComplete",
            "Apply manifest complete",
            now.0,
        ),
        Err(error) => new_condition(
            word::APPLIED,
            Truth::False,
            "AppliedManifestFailed",
            format!("Failed to apply manifest: {error}"),
            now.0,
        ),
    };
    renew(&mut conditions, observed(applied, generation));

    let (truth, reason, message) = match &outcome.presence {
        Presence::Present => (
            Truth::True,
            "ResourceAvailable",
            "Resource is available".to_owned(),
        ),
        Presence::Missing => (
            Truth::False,
            "ResourceNotAvailable",
            "Resource is not available".to_owned(),
        ),
        Presence::Unknown(error) => (
            Truth::Unknown,
            "FetchingResourceFailed",
            format!("Failed to fetch resource: {error}"),
        ),
        Presence::Incomplete => (
            Truth::Unknown,
            "IncompleteResourceMeta",
            "Resource meta is incomplete".to_owned(),
        ),
    };
    set_condition(
        &mut conditions,
        new_condition(word::AVAILABLE, truth, reason, message, now.0),
    );

    let mut values = before
        .map(|b| b.status_feedback.clone())
        .unwrap_or_default();
    if outcome.presence == Presence::Present {
        let changed = values.values != outcome.feedback.values;
        values = StatusFeedbackResult {
            values: outcome.feedback.values.clone(),
        };
        let (truth, reason, message) = match (&outcome.feedback.error, outcome.feedback.asked) {
            (Some(error), _) => (
                Truth::False,
                "StatusFeedbackSyncFailed",
                format!("Sync status feedback failed with error {error}"),
            ),
            (None, true) => (Truth::True, "StatusFeedbackSynced", String::new()),
            (None, false) => (Truth::True, "NoStatusFeedbackSynced", String::new()),
        };
        if changed {
            // So that the time of the condition tells when the values last changed.
            meta::remove_condition(&mut conditions, word::FEEDBACK);
        }
        set_condition(
            &mut conditions,
            new_condition(word::FEEDBACK, truth, reason, message, now.0),
        );
    }
    for condition in &mut conditions {
        clip(&mut condition.message);
    }
    ManifestCondition {
        resource_meta: outcome.meta.clone(),
        conditions,
        status_feedback: values,
    }
}

/// Sets a condition; its transition time also moves when it speaks of another generation.
fn renew(conditions: &mut Vec<Condition>, new: Condition) {
    if meta::condition(conditions, &new.type_)
        .is_some_and(|old| old.observed_generation != new.observed_generation)
    {
        meta::remove_condition(conditions, &new.type_);
    }
    set_condition(conditions, new);
}

fn observed(mut condition: Condition, generation: i64) -> Condition {
    condition.observed_generation = Some(generation);
    condition
}

/// The API allows 32 KiB; a status with hundreds of manifests should stay far below what one message carries.
fn clip(message: &mut String) {
    const MOST: usize = 2048;
    if message.len() > MOST {
        let mut end = MOST;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push_str(" …");
    }
}

#[cfg(test)]
mod tests;
