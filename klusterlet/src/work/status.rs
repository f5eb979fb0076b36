//! What is reported about a work. Pure.
//!
//! A manifest's conditions say what was done about it and what its live object is like; the work's conditions sum them
//! up. Types, reasons and words are OCM's (`pkg/work/spoke`) wherever OCM has any.

mod delayed;
mod manifest;
mod size;

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use koinon_api::{
    labels::{condition as kind, reason::work as reason},
    meta::{self, Truth, new_condition, set_condition},
    work::{FeedbackValue, ManifestCondition, ManifestResourceMeta, ManifestWorkStatus},
};

pub(super) use delayed::{Delayed, delay};
pub(super) use size::{MOST, fit};

use crate::{cluster::ObjectKey, feedback::Derived};

/// What was found out about one manifest.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    pub(super) meta: Meta,
    /// Why it could not be applied, if so.
    pub(super) applied: Result<(), NotApplied>,
    pub(super) presence: Presence,
    pub(super) feedback: Feedback,
    /// What its live object says, by rules of the work or of its kind. At most one of each type.
    pub(super) derived: Vec<Derived>,
}

/// Which manifest it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meta {
    /// Its place in the work, and its object's in the cluster.
    Known(i32, ObjectKey),
    /// As far as the manifest tells: the object has no place.
    Unknown(Box<ManifestResourceMeta>),
}

impl Meta {
    /// The object's place, once its kind is known.
    pub(super) fn key(&self) -> Option<&ObjectKey> {
        match self {
            Self::Known(_, key) => Some(key),
            Self::Unknown(_) => None,
        }
    }

    /// As it is reported.
    fn shown(&self) -> ManifestResourceMeta {
        let (ordinal, key) = match self {
            Self::Known(ordinal, key) => (*ordinal, key),
            Self::Unknown(meta) => return (**meta).clone(),
        };
        ManifestResourceMeta {
            ordinal,
            group: key.resource.group.clone(),
            version: key.resource.version.clone(),
            kind: key.resource.kind.clone(),
            resource: key.resource.plural.clone(),
            name: key.name.clone(),
            namespace: key.namespace.clone(),
        }
    }
}

/// Why a manifest could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotApplied {
    pub(super) reason: &'static str,
    /// Whole message of the condition.
    pub(super) message: String,
}

impl NotApplied {
    /// Failed for a reason that the server, or the manifest itself, gives.
    pub(super) fn failed(error: impl std::fmt::Display) -> Self {
        Self {
            reason: koinon_api::labels::reason::manifest::APPLY_FAILED,
            message: format!("Failed to apply manifest: {error}"),
        }
    }
}

/// Whether the object exists.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Presence {
    Present,
    Missing,
    /// It could not be read.
    Unknown(String),
    /// The work may not know.
    Withheld,
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

/// Whether there is anything left to apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// There may be.
    Open,
    /// All manifests with a rule for that are complete, and all the others were applied.
    Complete,
}

/// Returns the status of a work; `outcomes` are in the order of its manifests.
pub(super) fn status<'o>(
    previous: &ManifestWorkStatus,
    generation: i64,
    outcomes: impl IntoIterator<Item = &'o Outcome>,
    end: End,
    now: &Time,
) -> ManifestWorkStatus {
    let mut status = ManifestWorkStatus {
        conditions: previous.conditions.clone(),
        ..Default::default()
    };
    let index = manifest::Index::of(previous);
    let mut all_applied = true;
    status.resource_status.manifests = outcomes
        .into_iter()
        .map(|outcome| {
            all_applied &= outcome.applied.is_ok();
            let meta = outcome.meta.shown();
            manifest::condition(index.find(&meta), generation, meta, outcome, now)
        })
        .collect();
    let manifests = &status.resource_status.manifests;
    let mut conditions = Vec::new();
    if !manifests.is_empty() {
        let (truth, reason, message) = if all_applied {
            (
                Truth::True,
                reason::APPLY_COMPLETE,
                "Apply manifest work complete",
            )
        } else {
            (
                Truth::False,
                reason::APPLY_FAILED,
                "Failed to apply manifest work",
            )
        };
        conditions.push(new_condition(kind::APPLIED, truth, reason, message, now.0));
    }
    conditions.push(available(manifests, now));
    conditions.extend(others(manifests, end, now));
    // What no manifest has any more says nothing about the work.
    status.conditions.retain(|old| {
        matches!(old.type_.as_str(), kind::DELETING | kind::DELETION_HELD)
            || conditions.iter().any(|new| new.type_ == old.type_)
    });
    for mut condition in conditions {
        condition.observed_generation = Some(generation);
        if condition.type_ == kind::APPLIED {
            renew(&mut status.conditions, condition);
        } else {
            set_condition(&mut status.conditions, condition);
        }
    }
    status
}

fn available(manifests: &[ManifestCondition], now: &Time) -> Condition {
    let count = |truth: Truth| with(manifests, kind::AVAILABLE, truth).count();
    let total = manifests.len();
    let (truth, reason, message) = match (count(Truth::False), count(Truth::Unknown)) {
        (missing @ 1.., _) => (
            Truth::False,
            reason::NOT_AVAILABLE,
            format!("{missing} of {total} resources are not available"),
        ),
        (0, unknown @ 1..) => (
            Truth::Unknown,
            reason::STATUS_UNKNOWN,
            format!("{unknown} of {total} resources have unknown status"),
        ),
        (0, 0) if total == 0 => (
            Truth::Unknown,
            reason::STATUS_UNKNOWN,
            "cannot get any available resource ".to_owned(),
        ),
        (0, 0) => (
            Truth::True,
            reason::AVAILABLE,
            "All resources are available".to_owned(),
        ),
    };
    new_condition(kind::AVAILABLE, truth, reason, message, now.0)
}

/// Types of conditions of manifests that are summed up for the work, besides the agent's own.
const MOST_TYPES: usize = 64;

/// Those of them that come first.
const FIRST: [&str; 4] = [
    kind::PROGRESSING,
    kind::DEGRADED,
    kind::COMPLETE,
    kind::CONTESTED,
];

/// Sums up every other type of condition that some manifest has.
///
/// OCM takes `Progressing` for true when any manifest's is, and every other type only when all are. For `Degraded` that
/// would hide nine sound manifests' broken neighbour, so it is summed up as `Progressing` is.
fn others(manifests: &[ManifestCondition], end: End, now: &Time) -> Vec<Condition> {
    let own = [kind::APPLIED, kind::AVAILABLE, kind::STATUS_FEEDBACK_SYNCED];
    let types: BTreeSet<&str> = manifests
        .iter()
        .flat_map(|m| &m.conditions)
        .map(|c| c.type_.as_str())
        .filter(|t| !own.contains(t))
        .collect();
    let total = types.len();
    let mut types: Vec<&str> = types.into_iter().collect();
    // Rules may make any number of types: those that rollouts wait for are never left out.
    types.sort_by_key(|type_| !FIRST.contains(type_));
    types.truncate(MOST_TYPES);
    let left_out = (total > types.len()).then(|| {
        let message = format!(
            "{} of {total} types of conditions are summed up",
            types.len()
        );
        let reason = "TooManyConditions";
        new_condition(kind::STATUS_TRUNCATED, Truth::True, reason, message, now.0)
    });
    let summed = types.into_iter().map(|type_| {
        let any = |truth: Truth| with(manifests, type_, truth).next().is_some();
        let truth = if matches!(type_, kind::PROGRESSING | kind::DEGRADED) {
            match (any(Truth::True), any(Truth::Unknown)) {
                (true, _) => Truth::True,
                (false, true) => Truth::Unknown,
                (false, false) => Truth::False,
            }
        } else {
            match (any(Truth::False), any(Truth::Unknown)) {
                (true, _) => Truth::False,
                (false, true) => Truth::Unknown,
                (false, false) => Truth::True,
            }
        };
        let all: Vec<_> = manifests
            .iter()
            .filter_map(|m| meta::condition(&m.conditions, type_))
            .collect();
        if type_ == kind::COMPLETE && truth == Truth::True && end == End::Open {
            // Whoever waits for it takes the work away then.
            let message = "not all of the work was applied";
            return new_condition(type_, Truth::False, reason::AGGREGATED, message, now.0);
        }
        let message = match all.as_slice() {
            [only] => only.message.clone(),
            all => summary(manifests, type_, truth)
                .unwrap_or_else(|| format!("Aggregated from {} manifest conditions", all.len())),
        };
        new_condition(type_, truth, reason::AGGREGATED, message, now.0)
    });
    summed.chain(left_out).collect()
}

/// Names the first manifest that makes the work progress or degraded: nobody wants to search ten thousand for it.
fn summary(manifests: &[ManifestCondition], type_: &str, truth: Truth) -> Option<String> {
    if truth != Truth::True || !matches!(type_, kind::PROGRESSING | kind::DEGRADED) {
        return None;
    }
    let mut holding = with(manifests, type_, truth);
    let first = holding.next()?;
    let more = match holding.count() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let meta = &first.resource_meta;
    let name = if meta.namespace.is_empty() {
        meta.name.clone()
    } else {
        format!("{}/{}", meta.namespace, meta.name)
    };
    let message = &meta::condition(&first.conditions, type_)?.message;
    Some(format!("{} {name}: {message}{more}", meta.kind))
}

/// The manifests with a condition of that type and status.
fn with<'a>(
    manifests: &'a [ManifestCondition],
    type_: &'a str,
    truth: Truth,
) -> impl Iterator<Item = &'a ManifestCondition> {
    manifests.iter().filter(move |m| {
        meta::condition(&m.conditions, type_).is_some_and(|c| c.status == truth.as_str())
    })
}

/// Returns the status of a work that a later agent has gone on with: what it was before is what was last seen here.
pub(super) fn left(previous: &ManifestWorkStatus, now: &Time) -> ManifestWorkStatus {
    let mut status = previous.clone();
    let message = "a later agent of this cluster works on this work, so this one does not";
    set_condition(
        &mut status.conditions,
        new_condition(
            kind::OVERTAKEN,
            Truth::True,
            reason::LATER_AGENT,
            message,
            now.0,
        ),
    );
    status
}

/// Returns the status of a work of which nothing could be tried: its body makes no sense to the agent, or the cluster refuses its record.
pub(super) fn not_begun(
    previous: &ManifestWorkStatus,
    generation: i64,
    why: &str,
    now: &Time,
) -> ManifestWorkStatus {
    let mut status = previous.clone();
    let mut applied = new_condition(
        kind::APPLIED,
        Truth::False,
        reason::APPLY_FAILED,
        why,
        now.0,
    );
    applied.observed_generation = Some(generation);
    renew(&mut status.conditions, applied);
    status
}

/// Returns the status of a work that is being deleted.
pub(super) fn deleting(previous: &ManifestWorkStatus, now: &Time) -> ManifestWorkStatus {
    let mut status = previous.clone();
    set_condition(
        &mut status.conditions,
        new_condition(
            kind::DELETING,
            Truth::True,
            reason::DELETING,
            "ManifestWork is being deleted",
            now.0,
        ),
    );
    status
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

#[cfg(test)]
mod tests;
