//! Resources of the store that the agent plane reads.

/// Works; their namespace is the cluster's name.
pub(super) const WORKS: &str = "manifestworks.work.open-cluster-management.io";
/// Decisions of placements.
pub(super) const DECISIONS: &str = "placementdecisions.cluster.open-cluster-management.io";
/// Clusters.
pub(super) const CLUSTERS: &str = "managedclusters.cluster.open-cluster-management.io";
