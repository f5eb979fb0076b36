//! What a replica set's status says.

use jiff::Timestamp;
use koinon_api::{
    labels::{condition, reason::replica_set as reason},
    meta::{Truth, new_condition, set_condition},
    workset::{
        ManifestWorkReplicaSetStatus, ManifestWorkReplicaSetSummary, PlacementSummary, RolloutType,
    },
};

use super::index::Report;

/// The works of one placement, counted. Only those count as applied and so on that have the current template.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PlacementFacts {
    pub(super) name: String,
    pub(super) groups: usize,
    pub(super) selected: usize,
    pub(super) total: usize,
    applied: usize,
    available: usize,
    progressing: usize,
    degraded: usize,
    rolled_out: usize,
}

/// Whether the placements could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Verified {
    #[default]
    Yes,
    NotFound,
}

/// All that goes into the status.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Summary {
    pub(super) placements: Vec<PlacementFacts>,
    pub(super) verified: Verified,
    pub(super) unsupported_strategy: Option<RolloutType>,
    /// The label that names the set would not be valid.
    unnameable: Option<String>,
    /// Works that could not be written, and why.
    pub(super) failed: Option<(usize, String)>,
}

impl PlacementFacts {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn count(&mut self, report: Report) {
        self.applied += usize::from(report.applied);
        self.available += usize::from(report.available);
        self.progressing += usize::from(report.progressing);
        self.degraded += usize::from(report.degraded);
        self.rolled_out += usize::from(report.rolled_out);
    }
}

impl Summary {
    pub(super) fn unnameable(owner: &str) -> Self {
        Self {
            unnameable: Some(owner.to_owned()),
            ..Self::default()
        }
    }

    /// Takes off a work that was planned and could not be created.
    pub(super) fn not_created(&mut self, placement: &str) {
        if let Some(facts) = self
            .placements
            .iter_mut()
            .find(|facts| facts.name == placement)
        {
            facts.total = facts.total.saturating_sub(1);
        }
    }

    /// Writes the summary into `status`; says whether that changed it.
    pub(super) fn apply(&self, status: &mut ManifestWorkReplicaSetStatus, now: Timestamp) -> bool {
        let before = status.clone();
        let mut set = |kind: &str, truth: Truth, reason: &str, message: String| {
            set_condition(
                &mut status.conditions,
                new_condition(kind, truth, reason, message, now),
            );
        };
        if let Some(owner) = &self.unnameable {
            let message = format!(
                "the label value {owner:?} for its works must be no more than 63 characters"
            );
            set(
                condition::MANIFESTWORK_APPLIED,
                Truth::False,
                reason::INVALID_WORK_NAME,
                message,
            );
            return *status != before;
        }
        let sum = |of: fn(&PlacementFacts) -> usize| self.placements.iter().map(of).sum::<usize>();
        let total = sum(|facts| facts.total);

        let (truth, why) = match self.verified {
            Verified::NotFound => (Truth::False, reason::DECISION_NOT_FOUND),
            Verified::Yes if total == 0 => (Truth::False, reason::DECISION_EMPTY),
            Verified::Yes => (Truth::True, reason::AS_EXPECTED),
        };
        set(condition::PLACEMENT_VERIFIED, truth, why, String::new());
        if self.verified == Verified::Yes {
            let done = sum(|facts| facts.selected) == sum(|facts| facts.rolled_out);
            let (truth, why) = if done {
                (Truth::True, reason::COMPLETE)
            } else {
                (Truth::False, reason::PROGRESSING)
            };
            let message = self.unsupported_strategy.map(|strategy| {
                format!("rollout strategy {strategy:?} is not supported yet, the rollout goes to all clusters at once")
            });
            set(
                condition::PLACEMENT_ROLLED_OUT,
                truth,
                why,
                message.unwrap_or_default(),
            );
            let (truth, why) = self.applied(total);
            let message = self
                .failed
                .as_ref()
                .map(|(works, error)| format!("{works} works could not be written: {error}"));
            set(
                condition::MANIFESTWORK_APPLIED,
                truth,
                why,
                message.unwrap_or_default(),
            );
            status.summary = self
                .placements
                .iter()
                .fold(ManifestWorkReplicaSetSummary::default(), |sum, facts| {
                    add(sum, facts)
                });
            status.placement_summary = self.placements.iter().map(placement_summary).collect();
        }
        *status != before
    }

    fn applied(&self, total: usize) -> (Truth, &'static str) {
        let sum = |of: fn(&PlacementFacts) -> usize| self.placements.iter().map(of).sum::<usize>();
        let (progressing, degraded) = (sum(|facts| facts.progressing), sum(|facts| facts.degraded));
        if self.failed.is_some() {
            return (Truth::False, reason::NOT_AS_EXPECTED);
        }
        match (total, degraded) {
            (0, _) => (Truth::False, reason::DECISION_EMPTY),
            (_, 0) if progressing > 0 => (Truth::False, reason::PROCESSING),
            (_, 0) if sum(|facts| facts.available) == total => (Truth::True, reason::AS_EXPECTED),
            _ => (Truth::False, reason::NOT_AS_EXPECTED),
        }
    }
}

fn placement_summary(facts: &PlacementFacts) -> PlacementSummary {
    PlacementSummary {
        name: facts.name.clone(),
        available_decision_groups: format!(
            "{} ({} / {} clusters applied)",
            facts.groups, facts.total, facts.selected
        ),
        summary: add(ManifestWorkReplicaSetSummary::default(), facts),
    }
}

fn add(
    mut sum: ManifestWorkReplicaSetSummary,
    facts: &PlacementFacts,
) -> ManifestWorkReplicaSetSummary {
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    sum.total += count(facts.total);
    sum.applied += count(facts.applied);
    sum.available += count(facts.available);
    sum.progressing += count(facts.progressing);
    sum.degraded += count(facts.degraded);
    sum
}
