//! The conditions of one manifest.

use std::{cell::OnceCell, collections::HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use koinon_api::{
    labels::{condition as kind, reason::manifest as reason},
    meta::{self, Truth, new_condition, set_condition},
    work::{ManifestCondition, ManifestResourceMeta, ManifestWorkStatus, StatusFeedbackResult},
};

use super::{Outcome, Presence, renew};

/// The entries of an earlier status: by all of their meta, else by all but the ordinal if that is unique.
pub(super) struct Index<'a> {
    entries: &'a [ManifestCondition],
    /// By meta without ordinal; `None` for more than one. Made when it is needed: where no manifest has moved it is not.
    moved: OnceCell<HashMap<ManifestResourceMeta, Option<usize>>>,
}

impl<'a> Index<'a> {
    pub(super) fn of(previous: &'a ManifestWorkStatus) -> Self {
        Self {
            entries: previous.resource_status.manifests.as_slice(),
            moved: OnceCell::new(),
        }
    }

    fn moved(&self) -> &HashMap<ManifestResourceMeta, Option<usize>> {
        self.moved.get_or_init(|| {
            let mut moved = HashMap::with_capacity(self.entries.len());
            for (at, entry) in self.entries.iter().enumerate() {
                moved
                    .entry(unplaced(&entry.resource_meta))
                    .and_modify(|found| *found = None)
                    .or_insert(Some(at));
            }
            moved
        })
    }

    pub(super) fn find(&self, meta: &ManifestResourceMeta) -> Option<&'a ManifestCondition> {
        // Entries are in the order of their manifests, so nearly always this is the one.
        let at = usize::try_from(meta.ordinal).ok();
        if let Some(entry) = at.and_then(|at| self.entries.get(at))
            && entry.resource_meta == *meta
        {
            return Some(entry);
        }
        self.moved()
            .get(&unplaced(meta))
            .copied()
            .flatten()
            .and_then(|at| self.entries.get(at))
    }
}

fn unplaced(meta: &ManifestResourceMeta) -> ManifestResourceMeta {
    ManifestResourceMeta {
        ordinal: 0,
        ..meta.clone()
    }
}

/// Returns the entry of one manifest.
pub(super) fn condition(
    before: Option<&ManifestCondition>,
    generation: i64,
    resource_meta: ManifestResourceMeta,
    outcome: &Outcome,
    now: &Time,
) -> ManifestCondition {
    let mut conditions = before.map(|b| b.conditions.clone()).unwrap_or_default();
    conditions.retain(|c| {
        match c.type_.as_str() {
            kind::STATUS_FEEDBACK_SYNCED => {
                !matches!(outcome.presence, Presence::Missing | Presence::Withheld)
            }
            kind::APPLIED | kind::AVAILABLE => true,
            type_ if outcome.derived.iter().any(|d| d.kind == type_) => true,
            // What the object last said stays while it cannot be read, but not for another generation of the work.
            _ => {
                matches!(
                    outcome.presence,
                    Presence::Unknown(_) | Presence::Incomplete
                ) && c.observed_generation == Some(generation)
            }
        }
    });
    let (truth, reason, message) = match &outcome.applied {
        Ok(()) => (
            Truth::True,
            reason::APPLY_COMPLETE,
            "Apply manifest complete".to_owned(),
        ),
        Err(error) => (Truth::False, error.reason, error.message.clone()),
    };
    let mut applied = new_condition(kind::APPLIED, truth, reason, message, now.0);
    applied.observed_generation = Some(generation);
    renew(&mut conditions, applied);

    let (truth, reason, message) = match &outcome.presence {
        Presence::Present => (
            Truth::True,
            reason::AVAILABLE,
            "Resource is available".to_owned(),
        ),
        Presence::Missing => (
            Truth::False,
            reason::NOT_AVAILABLE,
            "Resource is not available".to_owned(),
        ),
        Presence::Unknown(error) => (
            Truth::Unknown,
            reason::FETCHING_FAILED,
            format!("Failed to fetch resource: {error}"),
        ),
        Presence::Withheld => (
            Truth::Unknown,
            reason::FETCHING_FAILED,
            "Failed to fetch resource: the work may not look at it".to_owned(),
        ),
        Presence::Incomplete => (
            Truth::Unknown,
            reason::INCOMPLETE_META,
            "Resource meta is incomplete".to_owned(),
        ),
    };
    if !outcome.derived.iter().any(|d| d.kind == kind::AVAILABLE) {
        set_condition(
            &mut conditions,
            new_condition(kind::AVAILABLE, truth, reason, message, now.0),
        );
    }
    let mut values = before
        .map(|b| b.status_feedback.clone())
        .unwrap_or_default();
    if matches!(outcome.presence, Presence::Missing | Presence::Withheld) {
        values = StatusFeedbackResult::default();
    }
    if outcome.presence == Presence::Present {
        let changed = values.values != outcome.feedback.values;
        values = StatusFeedbackResult {
            values: outcome.feedback.values.clone(),
        };
        let (truth, reason, message) = match (&outcome.feedback.error, outcome.feedback.asked) {
            (Some(error), _) => (
                Truth::False,
                reason::FEEDBACK_FAILED,
                format!("Sync status feedback failed with error {error}"),
            ),
            (None, true) => (Truth::True, reason::FEEDBACK, String::new()),
            (None, false) => (Truth::True, reason::NO_FEEDBACK, String::new()),
        };
        if changed {
            // So that the time of the condition tells when the values last changed.
            meta::remove_condition(&mut conditions, kind::STATUS_FEEDBACK_SYNCED);
        }
        set_condition(
            &mut conditions,
            new_condition(kind::STATUS_FEEDBACK_SYNCED, truth, reason, message, now.0),
        );
    }
    for derived in &outcome.derived {
        let mut new = new_condition(
            &derived.kind,
            derived.truth,
            derived.reason,
            derived.message.as_str(),
            now.0,
        );
        // `Available` has none, neither here nor in OCM.
        if derived.kind != kind::AVAILABLE {
            new.observed_generation = Some(generation);
        }
        set_condition(&mut conditions, new);
    }
    for condition in &mut conditions {
        clip(&mut condition.message);
    }
    ManifestCondition {
        resource_meta,
        conditions,
        status_feedback: values,
    }
}

/// The API allows 32 KiB; a status with hundreds of manifests should stay far below what one message carries. What is cut is the middle: an
/// API server prints whole objects before it says what is wrong with them.
fn clip(message: &mut String) {
    const MOST: usize = 2048;
    if message.len() > MOST {
        let mut ends = (MOST / 2, message.len() - MOST / 2);
        while !message.is_char_boundary(ends.0) {
            ends.0 -= 1;
        }
        while !message.is_char_boundary(ends.1) {
            ends.1 += 1;
        }
        message.replace_range(ends.0..ends.1, " … ");
    }
}
