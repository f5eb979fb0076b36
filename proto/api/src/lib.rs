//! The resource kinds of Koinon: Open Cluster Management's, field by field, and the few of our own.
//!
//! ```text
//!   hub (registry, controllers)   klusterlet   koinon (cli)   tests
//!                 └──────────────────┴──────────────┴───────────┘
//!                                koinon-api
//! ```
//!
//! Each kind is a Rust type at the version that OCM serves. [`kube::CustomResourceExt::crd`] gives its structural
//! schema with OCM's defaults, enums, patterns, bounds and list keys, its short names and its printer columns: the
//! hub serves from that, and the member cluster's CRDs are generated from it.
//!
//! Reading is lenient (a missing list is an empty list), writing leaves empty fields out as Go's `omitempty` does.
//! This crate does no I/O and knows no server.

// Each `printcolumn(...)` has a type and a path of its own; the lint takes them for repeats.
#![allow(clippy::duplicated_attributes)]

mod kind;

pub mod applied;
pub mod audit;
pub mod cluster;
pub mod labels;
pub mod meta;
pub mod names;
pub mod placement;
pub mod policy;
pub mod schema;
pub mod token;
pub mod work;
pub mod workset;

/// API groups.
pub mod group {
    /// Clusters, sets, placements.
    pub const CLUSTER: &str = "cluster.open-cluster-management.io";
    /// Works and replica sets of works.
    pub const WORK: &str = "work.open-cluster-management.io";
    /// What OCM has no kind for.
    pub const KOINON: &str = "koinon.dev";
}

pub use applied::AppliedManifestWork;
pub use cluster::{ClusterClaim, ManagedCluster, ManagedClusterSet, ManagedClusterSetBinding};
pub use placement::{AddOnPlacementScore, Placement, PlacementDecision};
pub use policy::WorkPolicy;
pub use token::JoinToken;
pub use work::ManifestWork;
pub use workset::ManifestWorkReplicaSet;
