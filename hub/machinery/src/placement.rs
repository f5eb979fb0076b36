//! Scheduling as a pure function: which clusters a placement chooses, and why.
//!
//! ```text
//!  candidates ──► predicates ──► taints ──► scores × weights ──► first n ──► decision groups ──► shards of 100
//!                     │            │              │                 │
//!                     └────────────┴── Verdict ───┴─────────────────┘      one per candidate (P14)
//! ```
//!
//! Same snapshot, same decisions: nothing here reads a clock, iterates a hash map or knows what a store is.
//! A policy is compiled once per generation of its placement, a cluster is prepared once per change, so that
//! an evaluation over 1,000 clusters parses and allocates nothing per cluster but its verdict and its scores.

mod amount;
mod compile;
mod evaluate;
mod explain;
mod filter;
mod group;
mod load;
mod policy;
mod score;
mod selector;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use self::{
    evaluate::{Evaluation, Facts, Ranked, Scored, Snapshot, Verdict, evaluate},
    explain::{ClusterExplanation, Explanation, ScoreExplanation},
    filter::{Predicate, Refusal, Toleration},
    group::{Group, GroupPolicy, GroupSize, MAX_DECISIONS_PER_OBJECT, Shard, groups, shards},
    load::Load,
    policy::{Misconfigured, Policy},
    score::{AddOnScore, Prioritizer, Resource, Weighted},
    selector::{Invalid, Operator, Requirement, Selector},
};

/// What the engine needs to know of a cluster, prepared once per change of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub claims: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    /// Allocatable CPU; absent unless the cluster reports both allocatable and capacity.
    pub cpu: Option<f64>,
    /// Allocatable memory, under the same condition.
    pub memory: Option<f64>,
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
    /// Tolerated always; OCM gives it no weight in the scores either.
    PreferNoSelect,
    /// The cluster is not selected unless a decision already holds it.
    NoSelectIfNew,
}

#[cfg(test)]
mod tests;
