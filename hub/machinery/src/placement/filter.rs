//! The two filters: predicates, then taints.

use jiff::{SignedDuration, Timestamp};

use super::{Cluster, Effect, Requirement, Selector, Taint};
use crate::cel::Program;

/// One alternative of a placement: labels, claims and expressions must all match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predicate {
    pub labels: Selector,
    pub claims: Selector,
    /// Looked at only for clusters whose labels and claims match.
    pub expressions: Vec<Program>,
}

/// Which half of a predicate failed, and on what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Unmet<'a> {
    Label(&'a Requirement),
    Claim(&'a Requirement),
}

impl Predicate {
    /// Whether labels and claims match; expressions are not looked at.
    #[must_use]
    pub fn selects(&self, cluster: &Cluster) -> bool {
        self.labels.matches(&cluster.labels) && self.claims.matches(&cluster.claims)
    }

    pub(super) fn unmet(&self, cluster: &Cluster) -> Option<Unmet<'_>> {
        let label = self.labels.unmet(&cluster.labels).map(Unmet::Label);
        label.or_else(|| self.claims.unmet(&cluster.claims).map(Unmet::Claim))
    }
}

/// A compiled toleration; one whose operator is unknown tolerates nothing and is dropped when compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Toleration {
    /// `None` tolerates every key.
    pub key: Option<String>,
    /// `None` is the operator `Exists`.
    pub value: Option<String>,
    /// `None` tolerates every effect.
    pub effect: Option<Effect>,
    /// How long after the taint was added the toleration counts.
    pub seconds: Option<i64>,
}

/// A taint, wherever its strings are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct TaintRef<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a str,
    pub(super) effect: Effect,
    pub(super) added: Option<Timestamp>,
}

impl<'a> From<&'a Taint> for TaintRef<'a> {
    fn from(taint: &'a Taint) -> Self {
        Self {
            key: &taint.key,
            value: &taint.value,
            effect: taint.effect,
            added: taint.added,
        }
    }
}

impl Toleration {
    fn matches(&self, taint: TaintRef<'_>) -> bool {
        self.effect.is_none_or(|effect| effect == taint.effect)
            && self.key.as_ref().is_none_or(|key| *key == taint.key)
            && self
                .value
                .as_ref()
                .is_none_or(|value| *value == taint.value)
    }

    /// When the toleration of `taint` ends; `None` = never.
    fn until(&self, taint: TaintRef<'_>) -> Option<Timestamp> {
        let seconds = self.seconds?;
        let added = taint.added.unwrap_or(Timestamp::UNIX_EPOCH);
        Some(
            added
                .saturating_add(SignedDuration::from_secs(seconds))
                .unwrap_or(Timestamp::MAX),
        )
    }
}

/// Why a taint was not tolerated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No toleration matches.
    NotTolerated,
    /// A toleration matched and its `tolerationSeconds` have passed.
    Expired,
}

/// Outcome of the taint filter for one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tolerance {
    Granted {
        /// When a toleration that counts ends.
        until: Option<Timestamp>,
        /// `PreferNoSelect` taints that are not tolerated.
        avoided: usize,
    },
    Refused {
        taint: usize,
        why: Refusal,
    },
}

/// Whether the decisions of the placement already name the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Yes,
    No,
}

pub(super) fn tolerance<'a>(
    taints: impl IntoIterator<Item = impl Into<TaintRef<'a>>>,
    tolerations: &[Toleration],
    held: Held,
    now: Timestamp,
) -> Tolerance {
    let mut until: Option<Timestamp> = None;
    let mut avoided = 0;
    for (index, taint) in taints.into_iter().enumerate() {
        let taint: TaintRef<'a> = taint.into();
        if taint.effect == Effect::NoSelectIfNew && held == Held::Yes {
            continue;
        }
        match taint_tolerance(taint, tolerations, now) {
            Ok(end) => until = end.map_or(until, |end| Some(until.map_or(end, |at| at.min(end)))),
            Err(_) if taint.effect == Effect::PreferNoSelect => avoided += 1,
            Err(why) => return Tolerance::Refused { taint: index, why },
        }
    }
    Tolerance::Granted { until, avoided }
}

/// How long `taint` is tolerated: `None` for good. Of several tolerations the longest counts.
fn taint_tolerance(
    taint: TaintRef<'_>,
    tolerations: &[Toleration],
    now: Timestamp,
) -> Result<Option<Timestamp>, Refusal> {
    let mut refusal = Refusal::NotTolerated;
    let mut latest: Option<Timestamp> = None;
    for toleration in tolerations
        .iter()
        .filter(|toleration| toleration.matches(taint))
    {
        match toleration.until(taint) {
            None => return Ok(None),
            Some(until) if now < until => latest = latest.max(Some(until)),
            Some(_) => refusal = Refusal::Expired,
        }
    }
    latest.map(Some).ok_or(refusal)
}
