//! Scheduling as a pure function: which clusters a placement chooses, and why.
//!
//! ```text
//!  candidates ─► predicates ─► taints ─► fit ─► scores × weights ─► first n, spread ─► groups ─► shards of 100
//!                    │           │        │           │                │
//!                    └───────────┴────────┴─ Verdict ─┴────────────────┘      one per candidate (P14)
//! ```
//!
//! Same snapshot, same decisions: nothing here reads a clock, iterates a hash map or knows what a store is.
//! A policy is compiled once per generation of its placement, a cluster is prepared once per change, so that
//! an evaluation over 1,000 clusters parses and allocates nothing per cluster but its verdict and its scores.
//!
//! Two ways lead to a choice over the same filters and scores: [`evaluate`] keeps all that is needed to explain it, the
//! [`Engine`] keeps up to date what a choice takes, and remembers nothing of those who are not chosen. Tests hold them
//! to the same answers.

pub mod admit;
mod bounds;
mod compile;
mod engine;
mod evaluate;
mod explain;
pub mod expression;
mod filter;
mod group;
mod hypothesis;
mod load;
mod membership;
mod pack;
mod policy;
mod score;
mod selector;
mod spread;
mod world;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use self::{
    engine::{Ahead, Choice, Conditions, Decided, Engine, Footprint},
    evaluate::{Evaluation, Facts, Ranked, Scored, Snapshot, Verdict, evaluate},
    explain::{
        ClusterExplanation, Explanation, FilterExplanation, GroupExplanation, ScoreExplanation,
        step,
    },
    filter::{Predicate, Refusal, Toleration},
    group::{
        Group, GroupPolicy, GroupSize, MAX_DECISIONS_PER_OBJECT, Order, Shard, groups, shards,
    },
    hypothesis::{Difference, Impact, Loss, Standing, State},
    load::Load,
    membership::Membership,
    pack::{Amount, Amounts, Lacking, Packing, Strategy},
    policy::{Misconfigured, Policy},
    score::{AddOnScore, Prioritizer, Resource, Weighted},
    selector::{Invalid, Operator, Requirement, Selector},
    spread::{Spread, Topology, Unsatisfiable},
    world::{Answer, MayName, NOT_FOUND, Name, NoClusters, World},
};

/// What the engine needs to know of a cluster, prepared once per change of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub claims: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    /// Allocatable CPU; absent unless the cluster reports both allocatable and capacity.
    pub cpu: Option<Amount>,
    /// Allocatable memory, under the same condition.
    pub memory: Option<Amount>,
    /// All that is allocatable, by resource name.
    pub allocatable: Amounts,
}

impl Cluster {
    /// How much of a resource can be allocated.
    #[must_use]
    pub fn amount(&self, resource: &str) -> Option<Amount> {
        self.allocatable.get(resource).copied()
    }
}

/// A taint of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: Effect,
    pub added: Option<Timestamp>,
}

/// What a taint does to placements that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The cluster is not selected, and leaves decisions that hold it.
    NoSelect,
    /// The cluster is selected only when those without such a taint do not suffice.
    PreferNoSelect,
    /// The cluster is not selected unless a decision already holds it.
    NoSelectIfNew,
}

#[cfg(test)]
mod tests;
