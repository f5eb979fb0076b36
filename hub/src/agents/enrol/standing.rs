//! Where a cluster stands with the hub: waiting, accepted, denied.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use koinon_api::{
    ManagedCluster,
    cluster::{ManagedClusterSpec, ManagedClusterStatus},
    labels::{annotation, condition, reason},
    meta,
};
use kube::core::ObjectMeta;
use uuid::Uuid;

use crate::clock;

/// The object of a cluster that asks for the first time.
pub(super) fn new_cluster(name: &str) -> ManagedCluster {
    let spec = ManagedClusterSpec {
        lease_duration_seconds: 60,
        ..ManagedClusterSpec::default()
    };
    ManagedCluster {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

/// Accepts a cluster automatically, which happens once; says whether it did.
pub(super) fn accept_once(cluster: &mut ManagedCluster) -> bool {
    let annotations = cluster.metadata.annotations.get_or_insert_default();
    if annotations.contains_key(annotation::AUTO_ACCEPTED_ON)
        || standing_is_denied(cluster.status.as_ref())
    {
        return false;
    }
    annotations.insert(
        annotation::AUTO_ACCEPTED_ON.to_owned(),
        clock::now().to_string(),
    );
    cluster.spec.hub_accepts_client = true;
    true
}

/// Where a cluster stands with the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agents) enum Standing {
    /// Accepted, and the hub is ready for it.
    Accepted,
    /// Accepted; the hub has not made its namespace yet.
    Settling,
    /// Nobody has decided.
    Waiting,
    /// Accepted once, and not any more.
    Denied,
}

/// Reads where a cluster stands.
pub(in crate::agents) fn standing(cluster: &ManagedCluster) -> Standing {
    let status = cluster.status.as_ref();
    if cluster.spec.hub_accepts_client {
        let ready = status.is_some_and(|status| is_taken_in(&status.conditions));
        return if ready {
            Standing::Accepted
        } else {
            Standing::Settling
        };
    }
    let was_accepted =
        status.is_some_and(|status| meta::is_true(&status.conditions, condition::HUB_ACCEPTED));
    if was_accepted || standing_is_denied(status) {
        Standing::Denied
    } else {
        Standing::Waiting
    }
}

/// Says whether the hub has accepted a cluster and is ready for it, or was: while its namespace goes, its agent is needed to finish its
/// works.
pub(in crate::agents) fn is_taken_in(conditions: &[Condition]) -> bool {
    meta::condition(conditions, condition::HUB_ACCEPTED).is_some_and(|accepted| {
        accepted.status == meta::Truth::True.as_str()
            || accepted.reason == reason::hub_accepted::ERROR
    })
}

/// Says whether a cluster is being deleted and everything of it is gone but its object: its name is free, its certificates are
/// not good any more.
pub(super) fn is_let_go(cluster: &ManagedCluster) -> bool {
    let status = cluster.status.as_ref();
    cluster.metadata.deletion_timestamp.is_some()
        && status.is_some_and(|status| meta::is_true(&status.conditions, condition::DELETING))
}

/// The uid of the cluster's object, which its certificates carry.
pub(in crate::agents) fn uid(cluster: &ManagedCluster) -> Option<Uuid> {
    cluster.metadata.uid.as_deref()?.parse().ok()
}

fn standing_is_denied(status: Option<&ManagedClusterStatus>) -> bool {
    let accepted =
        status.and_then(|status| meta::condition(&status.conditions, condition::HUB_ACCEPTED));
    accepted.is_some_and(|accepted| accepted.reason == reason::hub_accepted::DENIED)
}

#[cfg(test)]
mod tests {
    use koinon_api::meta::{Truth, new_condition};

    use super::*;

    fn cluster(accepts: bool, condition: Option<(Truth, &str)>) -> ManagedCluster {
        let mut cluster = new_cluster("east");
        cluster.spec.hub_accepts_client = accepts;
        cluster.status = condition.map(|(truth, reason)| ManagedClusterStatus {
            conditions: vec![new_condition(
                condition::HUB_ACCEPTED,
                truth,
                reason,
                "",
                clock::now(),
            )],
            ..Default::default()
        });
        cluster
    }

    #[test]
    fn a_cluster_stands_where_spec_and_condition_say() {
        let accepted = Some((Truth::True, reason::hub_accepted::ACCEPTED));
        let denied = Some((Truth::False, reason::hub_accepted::DENIED));
        let without_namespace = Some((Truth::False, reason::hub_accepted::ERROR));
        let cases = [
            (true, without_namespace, Standing::Accepted),
            (false, None, Standing::Waiting),
            (true, None, Standing::Settling),
            (true, accepted, Standing::Accepted),
            (false, accepted, Standing::Denied),
            (false, denied, Standing::Denied),
            (true, denied, Standing::Settling),
        ];
        for (accepts, condition, want) in cases {
            assert_eq!(
                standing(&cluster(accepts, condition)),
                want,
                "{accepts} {condition:?}"
            );
        }
    }

    #[test]
    fn a_cluster_is_accepted_automatically_once_and_never_against_an_admin() {
        let mut fresh = cluster(false, None);
        assert!(accept_once(&mut fresh) && fresh.spec.hub_accepts_client);
        fresh.spec.hub_accepts_client = false;
        assert!(!accept_once(&mut fresh), "an admin's denial stays");
        let mut denied = cluster(false, Some((Truth::False, reason::hub_accepted::DENIED)));
        assert!(!accept_once(&mut denied));
    }
}
