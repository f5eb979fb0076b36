//! `Lease`: what controllers elect their leaders with; and a cluster's heartbeat, as OCM shows it.
//!
//! Heartbeats are not objects: a cluster's namespace shows one as a lease that is not stored (decision 5). Validation is
//! kube-apiserver's (`pkg/apis/coordination/validation`).

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use koinon_api::labels::{label, well_known};
use koinon_machinery::{ApiError, Cause, Column, Object, ResourceInfo};
use serde_json::{Value, json};

use crate::registry::{Admission, Generation, Strategy, View};

/// What OCM's agents hold the lease as, and how long, when the cluster does not say.
const DEFAULT_SECONDS: u64 = 60;
/// Fields of coordinated leader election, which takes a controller that decides: dropped, as where Kubernetes has it switched off.
const COORDINATED: [&str; 2] = ["preferredHolder", "strategy"];

#[derive(Debug)]
pub(super) struct Leases;

impl Strategy for Leases {
    fn info(&self) -> ResourceInfo {
        let mut info = super::builtin::<Lease>(false, &[]).with_blank(json!({ "spec": {} }));
        info.columns
            .insert(0, Column::text("Holder", ".spec.holderIdentity"));
        info.columns
            .push(Column::date("Renewed", ".spec.renewTime").wide());
        info
    }

    fn generation(&self) -> Generation {
        Generation::Absent
    }

    fn creates_on_update(&self) -> bool {
        true
    }

    fn prepare_create(&self, object: &mut Object, _: &mut Admission<'_>) -> Result<(), ApiError> {
        settle(object);
        Ok(())
    }

    fn prepare_update(
        &self,
        object: &mut Object,
        _: &Object,
        _: &mut Admission<'_>,
    ) -> Result<(), ApiError> {
        settle(object);
        Ok(())
    }

    fn validate(&self, object: &Object, _: Option<&Object>) -> Vec<Cause> {
        let mut causes = Vec::new();
        if object.name() == well_known::CLUSTER_LEASE {
            let detail = "shows the heartbeat of a managed cluster and cannot be written";
            causes.push(Cause::forbidden("metadata.name", detail));
        }
        let number = |field| object.at(&["spec", field]).and_then(Value::as_i64);
        for (field, least, detail) in [
            ("leaseDurationSeconds", 1, "must be greater than 0"),
            ("leaseTransitions", 0, "must be greater than or equal to 0"),
        ] {
            if let Some(value) = number(field).filter(|value| *value < least) {
                causes.push(Cause::invalid(format!("spec.{field}"), value, detail));
            }
        }
        causes
    }

    fn view(&self) -> View {
        View::Heartbeat(well_known::CLUSTER_LEASE)
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

/// There is always a spec, and nobody coordinates.
fn settle(lease: &mut Object) {
    let fields = lease.as_map_mut();
    let spec = fields.entry("spec").or_insert_with(|| json!({}));
    if spec.is_null() {
        *spec = json!({});
    }
    if let Some(spec) = spec.as_object_mut() {
        for field in COORDINATED {
            spec.remove(field);
        }
    }
}
