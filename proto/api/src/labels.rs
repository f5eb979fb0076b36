//! The well-known strings: labels, annotations, finalizers, taints, condition types and reasons.

/// Keys of labels.
pub mod label {
    /// On a cluster's namespace and what belongs to it: the cluster's name.
    pub const CLUSTER_NAME: &str = "open-cluster-management.io/cluster-name";
    /// On a ManagedCluster: the exclusive set that it is in.
    pub const CLUSTER_SET: &str = "cluster.open-cluster-management.io/clusterset";
    /// On a PlacementDecision: its placement.
    pub const PLACEMENT: &str = "cluster.open-cluster-management.io/placement";
    /// On a PlacementDecision: the position of its group.
    pub const DECISION_GROUP_INDEX: &str =
        "cluster.open-cluster-management.io/decision-group-index";
    /// On a PlacementDecision: the name of its group.
    pub const DECISION_GROUP_NAME: &str = "cluster.open-cluster-management.io/decision-group-name";
    /// On a work made by a replica set: `<namespace>.<name>` of the set.
    pub const REPLICA_SET: &str = "work.open-cluster-management.io/manifestworkreplicaset";
    /// On a work made by a replica set: the placement that chose the cluster.
    pub const REPLICA_SET_PLACEMENT: &str = "work.open-cluster-management.io/placementname";
    /// On a claim that is not for the hub.
    pub const SPOKE_ONLY: &str = "open-cluster-management.io/spoke-only";
    /// On works of an add-on: its name.
    pub const ADDON_NAME: &str = "open-cluster-management.io/addon-name";
    /// On what `koinon join` installs in a member.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
}

/// Keys of annotations.
pub mod annotation {
    /// On a Placement, `"true"`: leave its decisions alone.
    pub const SCHEDULING_DISABLE: &str =
        "cluster.open-cluster-management.io/experimental-scheduling-disable";
    /// On a Placement: what the workload requests of each cluster, and whether fuller or emptier clusters are better.
    pub const PACKING: &str = "koinon.dev/packing";
    /// On a PlacementDecision: the revision of the snapshot that the decision was made from.
    pub const SNAPSHOT: &str = "koinon.dev/snapshot";
    /// On the default or global set, `"false"`: do not roll its selector back.
    pub const AUTOUPDATE: &str = "cluster.open-cluster-management.io/autoupdate";
    /// On a ManagedCluster: when it was accepted without an admin.
    pub const AUTO_ACCEPTED_ON: &str = "open-cluster-management.io/automatically-accepted-on";
    /// On objects that are cleaned up with a cluster: 0 to 100, lowest first.
    pub const CLEANUP_PRIORITY: &str = "open-cluster-management.io/cleanup-priority";
    /// On an applied object: a hash of the spec that was applied.
    pub const CONFIG_SPEC_HASH: &str = "open-cluster-management.io/config-spec-hash";
    /// On a ManifestWork, `exists`: `Available` says only that the objects exist, as in OCM, and nothing is said of their progress.
    pub const AVAILABILITY: &str = "koinon.dev/availability";
    /// On a ManifestWork: Namespaces and definitions, as `namespaces/NAME`, that may be deleted with what others have in them.
    pub const APPROVE_DELETION: &str = "koinon.dev/approve-deletion";
    /// On an object in a ManifestWork: signatures of its images, as `cosign download signature` prints them.
    pub const IMAGE_SIGNATURES: &str = "koinon.dev/image-signatures";
    /// Annotations of a ManifestWork that its agent follows. All others stay on the hub.
    pub const DIRECTIVES: [&str; 2] = [AVAILABILITY, APPROVE_DELETION];
    /// Longest value of one of these, in bytes; the hub refuses longer ones. Room for a dozen of the longest names.
    pub const MOST_DIRECTIVE: usize = 4096;
    /// On a ManagedCluster in which a mass deletion waits: the revision up to which it was told.
    pub const DELETION_HOLD: &str = "koinon.dev/deletion-hold";
    /// On a ManagedCluster: the revision up to which an admin approved deletions.
    pub const APPROVE_DELETIONS: &str = "koinon.dev/approve-deletions";
    /// On a ManagedCluster that keeps works which the hub does not know: the token of exactly these.
    pub const UNMANAGED: &str = "koinon.dev/unmanaged";
    /// On a ManagedCluster: an admin's order to dispose of these, `delete:` or `orphan:` and the token.
    pub const DISPOSE_UNMANAGED: &str = "koinon.dev/dispose-unmanaged";
    /// On a CertificateSigningRequest: SHA-256 of the key that it is about, in hex.
    pub const PUBLIC_KEY: &str = "koinon.dev/public-key-sha256";
    /// On a ManagedCluster whose agent knows a later revision than the hub: `<incarnation>:<revision>` that the hub offers.
    pub const ROLLBACK_HOLD: &str = "koinon.dev/rollback-hold";
    /// On a ManagedCluster: the offer of the hub that an admin accepted.
    pub const ACCEPT_ROLLBACK: &str = "koinon.dev/accept-rollback";
}

/// Finalizers.
pub mod finalizer {
    /// On a ManagedCluster: its namespace still holds works.
    pub const CLUSTER_API_RESOURCES: &str =
        "cluster.open-cluster-management.io/api-resource-cleanup";
    /// On a ManagedCluster: resources of the cluster are still to be deleted.
    pub const CLUSTER_RESOURCES: &str = "cluster.open-cluster-management.io/resource-cleanup";
    /// On a ManifestWork: its objects are still in the member cluster.
    pub const MANIFEST_WORK: &str = "cluster.open-cluster-management.io/manifest-work-cleanup";
    /// On an AppliedManifestWork: its objects are still there.
    pub const APPLIED_MANIFEST_WORK: &str =
        "cluster.open-cluster-management.io/applied-manifest-work-cleanup";
    /// On a ManifestWorkReplicaSet: its works are still there.
    pub const REPLICA_SET: &str = "work.open-cluster-management.io/manifest-work-cleanup";
}

/// Keys of taints that the hub puts on clusters.
pub mod taint {
    /// The cluster says that it is not available.
    pub const UNAVAILABLE: &str = "cluster.open-cluster-management.io/unavailable";
    /// Nothing is heard of the cluster.
    pub const UNREACHABLE: &str = "cluster.open-cluster-management.io/unreachable";
}

/// Names of claims that every cluster has, and of other objects with a fixed name.
pub mod well_known {
    /// Signs client certificates; requests of agents name it, as OCM's do.
    pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
    /// Claim: the cluster's UID.
    pub const CLAIM_ID: &str = "id.k8s.io";
    /// Claim: the version of Kubernetes.
    pub const CLAIM_KUBE_VERSION: &str = "kubeversion.open-cluster-management.io";
    /// Claim: where the cluster runs.
    pub const CLAIM_PLATFORM: &str = "platform.open-cluster-management.io";
    /// Claim: whose Kubernetes it is.
    pub const CLAIM_PRODUCT: &str = "product.open-cluster-management.io";
    /// The set of clusters that name no other.
    pub const DEFAULT_SET: &str = "default";
    /// The set of all clusters.
    pub const GLOBAL_SET: &str = "global";
    /// The lease of a cluster, in its namespace on the hub.
    pub const CLUSTER_LEASE: &str = "managed-cluster-lease";
    /// The agent's namespace in a member cluster.
    pub const AGENT_NAMESPACE: &str = "open-cluster-management-agent";
    /// The Secret in it that a new agent joins with.
    pub const BOOTSTRAP_SECRET: &str = "bootstrap-hub-token";
    /// Field manager of OCM's work agent.
    pub const WORK_AGENT: &str = "work-agent";
}

/// Condition types.
pub mod condition {
    /// ManagedCluster: an admin accepted it.
    pub const HUB_ACCEPTED: &str = "HubAcceptedManagedCluster";
    /// ManagedCluster: its agent joined.
    pub const JOINED: &str = "ManagedClusterJoined";
    /// ManagedCluster: its API server answers.
    pub const CLUSTER_AVAILABLE: &str = "ManagedClusterConditionAvailable";
    /// ManagedCluster: its clock agrees with the hub's.
    pub const CLOCK_SYNCED: &str = "ManagedClusterConditionClockSynced";
    /// ManagedCluster: it has claims that are not reported; there only while that is so.
    pub const CLAIMS_TRUNCATED: &str = "ClusterClaimsTruncated";
    /// Namespace wanted by a cluster set, in the status of a ManagedCluster: it is there.
    pub const NAMESPACE_AVAILABLE: &str = "NamespaceAvailable";
    /// ManagedCluster: it keeps works that the hub does not know; there only while that is so.
    pub const UNMANAGED_WORKS: &str = "UnmanagedWorks";
    /// ManagedCluster: it is being deleted.
    pub const DELETING: &str = "Deleting";
    /// ManagedClusterSet: it has no cluster.
    pub const CLUSTER_SET_EMPTY: &str = "ClusterSetEmpty";
    /// ManagedClusterSetBinding: its set exists.
    pub const BOUND: &str = "Bound";
    /// Placement: it has the clusters that it wants.
    pub const PLACEMENT_SATISFIED: &str = "PlacementSatisfied";
    /// Placement: its spec is wrong.
    pub const PLACEMENT_MISCONFIGURED: &str = "PlacementMisconfigured";
    /// Work and manifest: applied in the member cluster.
    pub const APPLIED: &str = "Applied";
    /// Work and manifest: there in the member cluster.
    pub const AVAILABLE: &str = "Available";
    /// Work and manifest: on its way to its new state.
    pub const PROGRESSING: &str = "Progressing";
    /// Work and manifest: not well.
    pub const DEGRADED: &str = "Degraded";
    /// Work and manifest: done for good.
    pub const COMPLETE: &str = "Complete";
    /// Work: a deletion in the member cluster waits until somebody approves it.
    pub const DELETION_HELD: &str = "DeletionHeld";
    /// Work: its status does not show all manifests.
    pub const STATUS_TRUNCATED: &str = "StatusTruncated";
    /// Manifest: somebody else keeps changing the object.
    pub const CONTESTED: &str = "Contested";
    /// Work: another agent of the cluster has gone on with it.
    pub const OVERTAKEN: &str = "Overtaken";
    /// Manifest: values were read for the hub.
    pub const STATUS_FEEDBACK_SYNCED: &str = "StatusFeedbackSynced";
    /// Replica set: its placements exist and have decided.
    pub const PLACEMENT_VERIFIED: &str = "PlacementVerified";
    /// Replica set: all chosen clusters have the current template.
    pub const PLACEMENT_ROLLED_OUT: &str = "PlacementRolledOut";
    /// Replica set: its works are applied.
    pub const MANIFESTWORK_APPLIED: &str = "ManifestworkApplied";
}

/// Condition reasons.
pub mod reason {
    /// Of `HubAcceptedManagedCluster`.
    pub mod hub_accepted {
        pub const ACCEPTED: &str = "HubClusterAdminAccepted";
        pub const DENIED: &str = "HubClusterAdminDenied";
        pub const ERROR: &str = "Error";
    }
    /// Of `ManagedClusterJoined`.
    pub mod joined {
        pub const JOINED: &str = "ManagedClusterJoined";
    }
    /// Of `ManagedClusterConditionAvailable`.
    pub mod cluster_available {
        pub const AVAILABLE: &str = "ManagedClusterAvailable";
        pub const API_SERVER_UNAVAILABLE: &str = "ManagedClusterKubeAPIServerUnavailable";
        pub const LEASE_UPDATE_STOPPED: &str = "ManagedClusterLeaseUpdateStopped";
    }
    /// Of `ManagedClusterConditionClockSynced`.
    pub mod clock_synced {
        pub const SYNCED: &str = "ManagedClusterClockSynced";
        pub const OUT_OF_SYNC: &str = "ManagedClusterClockOutOfSync";
    }
    /// Of `ClusterClaimsTruncated`; the first is the reason of OCM's event.
    pub mod claims_truncated {
        pub const TOO_MANY: &str = "CustomClusterClaimsTruncated";
        pub const UNFIT: &str = "ClusterClaimsUnfit";
    }
    /// Of `NamespaceAvailable`.
    pub mod namespace {
        pub const APPLIED: &str = "NamespaceApplied";
        pub const FAILED: &str = "NamespaceApplyFailed";
    }
    /// Of `UnmanagedWorks` on a ManagedCluster.
    pub mod unmanaged {
        pub const NOT_ON_HUB: &str = "NotOnHub";
        pub const DISPOSING: &str = "Disposing";
    }
    /// Of `Deleting` on a ManagedCluster.
    pub mod deleting {
        pub const RESOURCE_REMAINING: &str = "ResourceRemaining";
        pub const ERROR: &str = "DeletingError";
        pub const NO_RESOURCE: &str = "NoResource";
    }
    /// Of `ClusterSetEmpty`.
    pub mod cluster_set {
        pub const NO_CLUSTER_MATCHED: &str = "NoClusterMatched";
        pub const CLUSTERS_SELECTED: &str = "ClustersSelected";
    }
    /// Of `Bound`.
    pub mod binding {
        pub const BOUND: &str = "ClusterSetBound";
        pub const NOT_FOUND: &str = "ClusterSetNotFound";
    }
    /// Of `PlacementSatisfied` and `PlacementMisconfigured`.
    pub mod placement {
        pub const NO_BINDINGS: &str = "NoManagedClusterSetBindings";
        pub const NO_INTERSECTION: &str = "NoIntersection";
        pub const ALL_SETS_EMPTY: &str = "AllManagedClusterSetsEmpty";
        pub const NO_CLUSTER_MATCHED: &str = "NoManagedClusterMatched";
        pub const ALL_SCHEDULED: &str = "AllDecisionsScheduled";
        pub const NOT_ALL_SCHEDULED: &str = "NotAllDecisionsScheduled";
        pub const MISCONFIGURED: &str = "Misconfigured";
        pub const SUCCEED_CONFIGURED: &str = "Succeedconfigured";
    }
    /// Of a manifest's conditions.
    pub mod manifest {
        pub const APPLY_COMPLETE: &str = "AppliedManifestComplete";
        pub const APPLY_FAILED: &str = "AppliedManifestFailed";
        pub const SSA_IGNORE_FIELD_ERROR: &str = "AppliedManifestSSAIgnoreFieldError";
        pub const AVAILABLE: &str = "ResourceAvailable";
        pub const NOT_AVAILABLE: &str = "ResourceNotAvailable";
        pub const FETCHING_FAILED: &str = "FetchingResourceFailed";
        pub const INCOMPLETE_META: &str = "IncompleteResourceMeta";
        pub const NO_FEEDBACK: &str = "NoStatusFeedbackSynced";
        pub const FEEDBACK: &str = "StatusFeedbackSynced";
        pub const FEEDBACK_FAILED: &str = "StatusFeedbackSyncFailed";
    }
    /// Of a work's conditions.
    pub mod work {
        pub const APPLY_COMPLETE: &str = "AppliedManifestWorkComplete";
        pub const APPLY_FAILED: &str = "AppliedManifestWorkFailed";
        pub const AVAILABLE: &str = "ResourcesAvailable";
        pub const NOT_AVAILABLE: &str = "ResourcesNotAvailable";
        pub const STATUS_UNKNOWN: &str = "ResourcesStatusUnknown";
        pub const DELETING: &str = "WorkDeleting";
        pub const LATER_AGENT: &str = "LaterAgent";
        /// A condition that sums up those of the manifests.
        pub const AGGREGATED: &str = "ConditionRulesAggregated";
    }
    /// Of `DeletionHeld` on a work, and `DeletionHold` on a cluster.
    pub mod deletion_held {
        pub const MASS: &str = "MassDeletion";
        pub const CONTENT: &str = "ContentOfOthers";
        pub const POLICY: &str = "RefusedByPolicy";
        pub const FAILED: &str = "DeletionFailed";
        pub const WANTED: &str = "WantedByAnotherWork";
        pub const UNSERVED: &str = "KindNotServed";
        pub const FINALIZERS: &str = "WaitsForFinalizers";
    }
    /// Of conditions that a work's `conditionRules` derive.
    pub mod rule {
        pub const EVALUATED: &str = "ConditionRuleEvaluated";
        pub const INVALID: &str = "ConditionRuleInvalid";
        pub const EXPRESSION_ERROR: &str = "ConditionRuleExpressionError";
        pub const INTERNAL_ERROR: &str = "ConditionRuleInternalError";
    }
    /// Of conditions that the agent derives from what it knows of a kind; OCM has none of them.
    pub mod readiness {
        pub const STATUS_UNKNOWN: &str = "ResourceStatusUnknown";
        pub const PROGRESSING: &str = "ResourceProgressing";
        pub const SETTLED: &str = "ResourceSettled";
        pub const DEGRADED: &str = "ResourceDegraded";
        pub const WELL: &str = "ResourceWell";
        /// Of `Contested`.
        pub const CHANGED_BY_OTHERS: &str = "ChangedByOthers";
    }
    /// Of a replica set's conditions.
    pub mod replica_set {
        pub const DECISION_NOT_FOUND: &str = "PlacementDecisionNotFound";
        pub const DECISION_EMPTY: &str = "PlacementDecisionEmpty";
        pub const AS_EXPECTED: &str = "AsExpected";
        pub const NOT_AS_EXPECTED: &str = "NotAsExpected";
        pub const PROCESSING: &str = "Processing";
        pub const COMPLETE: &str = "Complete";
        pub const PROGRESSING: &str = "Progressing";
        pub const INVALID_WORK_NAME: &str = "InvalidManifestWorkName";
    }
}

/// Names and groups of users.
pub mod user {
    /// Prefix of the common name of an agent's certificate: `<prefix><cluster>:<agent>`.
    pub const AGENT_PREFIX: &str = "system:open-cluster-management:";
    /// Group of all agents.
    pub const AGENTS: &str = "system:open-cluster-management:managed-clusters";
    /// Group that may do everything.
    pub const MASTERS: &str = "system:masters";
    /// The admin whose kubeconfig the hub writes.
    pub const ADMIN: &str = "koinon-admin";
}
