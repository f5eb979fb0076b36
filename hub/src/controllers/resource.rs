//! Keys of the resources that controllers read.

pub(super) const CLUSTERS: &str = "managedclusters.cluster.open-cluster-management.io";
pub(super) const SETS: &str = "managedclustersets.cluster.open-cluster-management.io";
pub(super) const BINDINGS: &str = "managedclustersetbindings.cluster.open-cluster-management.io";
pub(super) const PLACEMENTS: &str = "placements.cluster.open-cluster-management.io";
pub(super) const DECISIONS: &str = "placementdecisions.cluster.open-cluster-management.io";
pub(super) const SCORES: &str = "addonplacementscores.cluster.open-cluster-management.io";
pub(super) const WORKS: &str = "manifestworks.work.open-cluster-management.io";
pub(super) const WORKSETS: &str = "manifestworkreplicasets.work.open-cluster-management.io";
pub(super) const NAMESPACES: &str = "namespaces";
pub(super) const REQUESTS: &str = "certificatesigningrequests.certificates.k8s.io";
pub(super) const EVENTS: &str = "events";
pub(super) const TOKENS: &str = "jointokens.koinon.dev";
pub(super) const CLUSTER_ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
