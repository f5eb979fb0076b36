//! `Lease`: a cluster's heartbeat, as OCM shows it. A read-only view; heartbeats are not objects.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use koinon_api::labels::{label, well_known};
use koinon_machinery::{Column, Object, ResourceInfo, Verb};
use serde_json::{Value, json};

use crate::registry::{Source, Strategy};

/// What OCM's agents hold the lease as, and how long, when the cluster does not say.
const DEFAULT_SECONDS: u64 = 60;

#[derive(Debug)]
pub(super) struct Leases;

impl Strategy for Leases {
    fn info(&self) -> ResourceInfo {
        let mut info = super::builtin::<Lease>(false, &[]).with_verbs([Verb::Get, Verb::List]);
        info.columns
            .insert(0, Column::text("Holder", ".spec.holderIdentity"));
        info.columns
            .insert(1, Column::date("Renewed", ".spec.renewTime"));
        info
    }

    fn source(&self) -> Source {
        Source::Heartbeats
    }

    fn heartbeat(&self, cluster: &Object, last: Option<Timestamp>) -> Option<Object> {
        if cluster.at(&["spec", "hubAcceptsClient"]) != Some(&Value::Bool(true)) {
            return None;
        }
        let seconds = cluster
            .at(&["spec", "leaseDurationSeconds"])
            .and_then(Value::as_u64)
            .filter(|seconds| *seconds > 0);
        let mut lease = Object::new("coordination.k8s.io/v1", "Lease");
        lease.set_name(well_known::CLUSTER_LEASE);
        lease.set_namespace(cluster.name());
        lease.set_uid(cluster.uid());
        lease.set_label(label::CLUSTER_NAME, cluster.name());
        if let Some(created) = cluster.metadata().get("creationTimestamp") {
            lease
                .metadata_mut()
                .insert("creationTimestamp".to_owned(), created.clone());
        }
        let mut spec = json!({
            "holderIdentity": well_known::CLUSTER_LEASE,
            "leaseDurationSeconds": seconds.unwrap_or(DEFAULT_SECONDS),
        });
        if let Some(last) = last {
            spec["renewTime"] = Value::from(last.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string());
        }
        lease.as_map_mut().insert("spec".to_owned(), spec);
        Some(lease)
    }
}
