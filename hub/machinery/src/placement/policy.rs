//! A placement's spec, compiled and checked once per generation.

use super::{Cluster, GroupPolicy, Predicate, Toleration, Weighted};

/// What a placement asks for, in a form that can be evaluated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// Alternatives; none at all admits every cluster.
    pub predicates: Vec<Predicate>,
    pub tolerations: Vec<Toleration>,
    /// How many clusters are wanted; `None` = all.
    pub clusters: Option<usize>,
    /// Weights of 0 are left out; the order is that of the names, so that reports are stable.
    pub prioritizers: Vec<Weighted>,
    pub groups: GroupPolicy,
}

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
            message: message.into(),
        }
    }
}

impl Policy {
    pub(super) fn admits(&self, cluster: &Cluster) -> bool {
        self.predicates.is_empty()
            || self
                .predicates
                .iter()
                .any(|predicate| predicate.matches(cluster))
    }
}
