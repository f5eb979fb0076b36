//! Objects that many journeys need.

/// The namespace `apps`, in which placements may choose from the set `default`; more may follow.
pub const APPS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: apps}
---
apiVersion: cluster.open-cluster-management.io/v1beta2
kind: ManagedClusterSetBinding
metadata: {name: default, namespace: apps}
spec: {clusterSet: default}
---
";
