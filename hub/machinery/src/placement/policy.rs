//! A placement's spec, compiled and checked once per generation.

use jiff::{SignedDuration, Timestamp};
use koinon_api::meta::clip;

use super::{
    Cluster, GroupPolicy, Order, Packing, Predicate, Prioritizer, Spread, Toleration, Weighted,
    filter::{Held, Tolerance, tolerance},
};

/// What a placement asks for, in a form that can be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Alternatives; none at all admits every cluster.
    pub predicates: Vec<Predicate>,
    pub tolerations: Vec<Toleration>,
    /// How many clusters are wanted; `None` = all.
    pub clusters: Option<usize>,
    /// Weights of 0 are left out; the order is that of the names, so that reports are stable.
    pub prioritizers: Vec<Weighted>,
    /// Earlier ones are more important.
    pub spread: Vec<Spread>,
    pub packing: Option<Packing>,
    pub groups: GroupPolicy,
    /// Order of the clusters in the decisions.
    pub order: Order,
    /// How long scores alone do not change the decisions again.
    pub score_rate_limit: SignedDuration,
}

/// OCM's default of `scoreRateLimit`.
pub(super) const SCORE_RATE_LIMIT: SignedDuration = SignedDuration::from_secs(60);

/// Characters of a message about a spec: it may quote the spec, which may be long. Events hold no more.
const MAX_MESSAGE: usize = 1_000;

/// A spec that cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{plugin}:{message}")]
pub struct Misconfigured {
    /// The part of the scheduler that refuses it, by OCM's name; empty for the policy as a whole.
    pub plugin: &'static str,
    pub message: String,
}

impl Misconfigured {
    #[must_use]
    pub fn new(plugin: &'static str, message: impl Into<String>) -> Self {
        Self {
            plugin,
            message: clip(message.into(), MAX_MESSAGE),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            predicates: Vec::new(),
            tolerations: Vec::new(),
            clusters: None,
            prioritizers: Vec::new(),
            spread: Vec::new(),
            packing: None,
            groups: GroupPolicy::default(),
            order: Order::default(),
            score_rate_limit: SCORE_RATE_LIMIT,
        }
    }
}

impl Policy {
    /// Whether a cluster that the placement does not hold may be chosen at all: by its labels and claims, and by its
    /// taints if every toleration still counted. Expressions are not looked at.
    #[must_use]
    pub fn may_choose(&self, cluster: &Cluster) -> bool {
        let selected =
            self.predicates.is_empty() || self.predicates.iter().any(|one| one.selects(cluster));
        let tolerated = || tolerance(&cluster.taints, &self.tolerations, Held::No, Timestamp::MIN);
        selected && matches!(tolerated(), Tolerance::Granted { .. })
    }

    /// Whether the decisions of others matter to which clusters are better.
    #[must_use]
    pub fn balances(&self) -> bool {
        let mut all = self.prioritizers.iter();
        all.any(|one| one.prioritizer == Prioritizer::Balance)
    }

    /// Whether a cluster that is not chosen can matter to which others are: where clusters are measured against each
    /// other, or counted by domain.
    #[must_use]
    pub fn compares_candidates(&self) -> bool {
        self.looks_at_resources() || !self.spread.is_empty()
    }

    /// Whether a change of any field of a cluster may matter.
    #[must_use]
    pub fn looks_at_objects(&self) -> bool {
        self.predicates
            .iter()
            .any(|one| !one.expressions.is_empty())
    }

    /// Whether what clusters can allocate matters.
    #[must_use]
    pub fn looks_at_resources(&self) -> bool {
        let resources = |one: &Weighted| matches!(one.prioritizer, Prioritizer::Allocatable(_));
        self.packing.is_some() || self.prioritizers.iter().any(resources)
    }

    /// Whether an expression looks at `AddOnPlacementScore`s, of whatever name.
    #[must_use]
    pub fn looks_at_scores(&self) -> bool {
        let mut expressions = self.predicates.iter().flat_map(|one| &one.expressions);
        // The name of the method must be in the text, whatever is around it.
        expressions.any(|expression| expression.source().contains("scores"))
    }
}
