//! `CertificateSigningRequest`: the enrolments of agents, to be seen and decided by those who know them from Kubernetes.
//!
//! The hub makes them, one for each key that asks to be enrolled; nobody else does. What a request asks for is not what is issued: an
//! agent's certificate is made of the hub's own words, so no approval makes anything but an agent.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use koinon_api::{
    ManagedCluster,
    labels::{annotation, label},
};
use koinon_machinery::{
    ApiError, Cause, Column, Object, ResourceInfo, Result, ShownAs, Subresource, Verb, object,
};
use kube::Resource as _;
use serde_json::{Value, json};

use crate::{
    authz::Attributes,
    registry::{Admission, Generation, Strategy},
};

const GROUP: &str = "certificates.k8s.io";
/// What is decided at `/approval`, once and for all.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];

#[derive(Debug)]
pub(super) struct Requests;

impl Strategy for Requests {
    fn info(&self) -> ResourceInfo {
        let approval = Subresource {
            name: "approval".to_owned(),
            group: GROUP.to_owned(),
            version: "v1".to_owned(),
            kind: "CertificateSigningRequest".to_owned(),
            verbs: vec![Verb::Get, Verb::Patch, Verb::Update],
        };
        let verbs = Verb::ALL.into_iter().filter(|verb| *verb != Verb::Create);
        let mut info = super::builtin::<CertificateSigningRequest>(true, &["csr"])
            .with_selectable_fields(["spec.signerName"])
            .with_verbs(verbs)
            .with_subresource(approval)
            .with_blank(json!({ "spec": {}, "status": {} }));
        info.columns.extend([
            Column::text("SignerName", ".spec.signerName"),
            Column::text("Requestor", ".spec.username"),
            Column::text("RequestedDuration", ".spec.expirationSeconds").shown_as(ShownAs::Seconds),
            Column::text("Condition", ".status").shown_as(ShownAs::RequestStatus),
        ]);
        info
    }

    fn generation(&self) -> Generation {
        Generation::Absent
    }

    fn prepare_create(&self, _: &mut Object, admission: &mut Admission<'_>) -> Result<()> {
        // By apply as well as by a create.
        if admission.user.is_hub() {
            Ok(())
        } else {
            Err(ApiError::method_not_allowed())
        }
    }

    /// What was asked for does not change, nor what the hub wrote about who asked: decisions are judged by it.
    fn prepare_update(
        &self,
        object: &mut Object,
        old: &Object,
        admission: &mut Admission<'_>,
    ) -> Result<()> {
        if let Some(spec) = old.spec() {
            object.as_map_mut().insert("spec".to_owned(), spec.clone());
        }
        if !admission.user.is_hub() {
            keep_origin(object, old);
        }
        Ok(())
    }

    /// The hub says what it has issued. Others may note what they like, but decide nothing here.
    fn prepare_status(
        &self,
        object: &mut Object,
        old: &Object,
        admission: &mut Admission<'_>,
    ) -> Result<()> {
        if admission.user.is_hub() {
            return Ok(());
        }
        let notes = conditions(object).into_iter().filter(|one| !decides(one));
        let decided = conditions(old).into_iter().filter(decides);
        settle(object, old, decided.chain(notes).collect());
        Ok(())
    }

    /// kube-apiserver's `certificates/strategy.go`, its admission plugin `CertificateApproval`, and OCM's right to accept a cluster.
    fn prepare_approval(
        &self,
        object: &mut Object,
        old: &Object,
        admission: &mut Admission<'_>,
    ) -> Result<()> {
        admit_signer(&self.info(), old, admission)?;
        let now = Value::from(object::timestamp(admission.now));
        let mut decided: Vec<Value> = conditions(object).into_iter().filter(decides).collect();
        for condition in &mut decided {
            for field in ["lastUpdateTime", "lastTransitionTime"] {
                if condition.get(field).is_none_or(Value::is_null) {
                    condition[field] = now.clone();
                }
            }
        }
        let before: Vec<Value> = conditions(old).into_iter().filter(decides).collect();
        let faults = faults(&before, &decided);
        if !faults.is_empty() {
            return Err(ApiError::invalid(&self.info(), old.name(), faults));
        }
        if before.is_empty() && decided.iter().any(|one| one["type"] == "Approved") {
            admit_acceptance(&self.info(), old, admission)?;
        }
        let notes = conditions(old).into_iter().filter(|one| !decides(one));
        settle(object, old, notes.chain(decided).collect());
        Ok(())
    }
}

/// Puts back which cluster asked, and with which key.
fn keep_origin(object: &mut Object, old: &Object) {
    for (map, key) in [
        ("labels", label::CLUSTER_NAME),
        ("annotations", annotation::PUBLIC_KEY),
    ] {
        let held = old.at(&["metadata", map, key]).cloned();
        let metadata = object.metadata_mut();
        match (held, metadata.get_mut(map).and_then(Value::as_object_mut)) {
            (Some(held), Some(entries)) => _ = entries.insert(key.to_owned(), held),
            (Some(held), None) => _ = metadata.insert(map.to_owned(), json!({ key: held })),
            (None, Some(entries)) => _ = entries.remove(key),
            (None, None) => {}
        }
    }
    object.set_owner_references(&old.owner_references());
}

/// The cluster that a request belongs to, which goes with it.
fn cluster_of(request: &Object) -> String {
    let owners = request.owner_references().into_iter();
    let cluster = owners.filter(|owner| owner.kind == ManagedCluster::kind(&()));
    cluster.map(|owner| owner.name).next().unwrap_or_default()
}

/// The status as it was, with these conditions.
fn settle(object: &mut Object, old: &Object, conditions: Vec<Value>) {
    let mut status = old.status().cloned().unwrap_or_else(|| json!({}));
    match status.as_object_mut() {
        Some(fields) if conditions.is_empty() => _ = fields.remove("conditions"),
        _ => status["conditions"] = conditions.into(),
    }
    object.set_status(Some(status));
}

fn conditions(object: &Object) -> Vec<Value> {
    let conditions = object.status().and_then(|status| status.get("conditions"));
    let conditions = conditions.and_then(Value::as_array);
    let conditions = conditions.into_iter().flatten();
    conditions.filter(|one| one.is_object()).cloned().collect()
}

fn decides(condition: &Value) -> bool {
    let kind = condition.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| DECISIONS.contains(&kind))
}

fn faults(before: &[Value], after: &[Value]) -> Vec<Cause> {
    let field = "status.conditions";
    let of = |list: &[Value], kind: &str| list.iter().filter(|one| one["type"] == kind).count();
    let mut faults = Vec::new();
    for kind in DECISIONS {
        let (had, has) = (of(before, kind), of(after, kind));
        if has < had {
            let why = format!("updates may not remove a condition of type {kind:?}");
            faults.push(Cause::forbidden(field, &why));
        }
        if has > 1 {
            faults.push(Cause::duplicate(field, kind));
        }
    }
    if DECISIONS.iter().all(|kind| of(after, kind) > 0) {
        let why = "Approved and Denied conditions are mutually exclusive";
        faults.push(Cause::invalid(field, after.to_vec(), why));
    }
    for condition in after.iter().filter(|one| one["status"] != "True") {
        let status = condition["status"].clone();
        faults.push(Cause::invalid(
            format!("{field}.status"),
            status,
            "must be True",
        ));
    }
    faults
}

/// Whoever decides needs the right to `approve` for the signer.
fn admit_signer(info: &ResourceInfo, old: &Object, admission: &Admission<'_>) -> Result<()> {
    let signer = old.at(&["spec", "signerName"]).and_then(Value::as_str);
    let signer = signer.unwrap_or_default();
    let domain = format!("{}/*", signer.split('/').next().unwrap_or_default());
    let approve = Attributes::of("approve", GROUP, "signers");
    let may = [signer, &domain].into_iter().any(|name| {
        let asked = approve.clone().named(name);
        admission.access.allows(admission.user, &asked)
    });
    if may {
        return Ok(());
    }
    let why = format!("user not permitted to approve requests with signerName {signer:?}");
    Err(ApiError::forbidden(info, old.name(), &why))
}

/// Whoever approves an enrolment accepts the cluster.
fn admit_acceptance(info: &ResourceInfo, old: &Object, admission: &Admission<'_>) -> Result<()> {
    let cluster = cluster_of(old);
    let accept = Attributes::of(
        "update",
        "register.open-cluster-management.io",
        "managedclusters/accept",
    );
    if admission
        .access
        .allows(admission.user, &accept.named(&cluster))
    {
        return Ok(());
    }
    let name = &admission.user.name;
    let why = format!("user {name:?} cannot accept the cluster {cluster:?}");
    Err(ApiError::forbidden(info, old.name(), &why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str, status: &str) -> Value {
        json!({ "type": kind, "status": status })
    }

    #[test]
    fn who_asked_stays_whatever_anybody_writes() {
        let request = |cluster: &str, key: &str, note: &str| {
            Object::from_value(json!({ "metadata": {
                "name": "east-abcde",
                "labels": { label::CLUSTER_NAME: cluster, "note": note },
                "annotations": { annotation::PUBLIC_KEY: key },
                "ownerReferences": [{
                    "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster", "name": cluster, "uid": cluster,
                }],
            } }))
            .unwrap()
        };
        let old = request("east", "k", "");
        let bare = Object::from_value(json!({ "metadata": { "name": "east-abcde" } })).unwrap();
        for mut new in [request("west", "other", "mine"), bare] {
            keep_origin(&mut new, &old);
            assert_eq!(new.label(label::CLUSTER_NAME), Some("east"));
            assert_eq!(new.annotation(annotation::PUBLIC_KEY), Some("k"));
            assert_eq!(new.owner_references(), old.owner_references());
            assert_eq!(cluster_of(&new), "east");
        }
        let mut noted = request("east", "k", "mine");
        keep_origin(&mut noted, &old);
        assert_eq!(noted.label("note"), Some("mine"), "the rest is free");
    }

    #[test]
    fn a_decision_is_one_and_stays() {
        let (yes, no) = (condition("Approved", "True"), condition("Denied", "True"));
        let count = |before: &[&Value], after: &[&Value]| {
            let list = |list: &[&Value]| list.iter().copied().cloned().collect::<Vec<_>>();
            faults(&list(before), &list(after)).len()
        };
        assert_eq!(
            count(&[], &[&yes]) + count(&[], &[&no]) + count(&[], &[]),
            0
        );
        assert_eq!(count(&[&yes], &[&yes]), 0);
        assert_eq!(count(&[&yes], &[]), 1, "withdrawn");
        assert_eq!(count(&[&no], &[&no, &yes]), 1, "both");
        assert_eq!(count(&[&no], &[&yes]), 1, "turned");
        assert_eq!(count(&[], &[&yes, &yes]), 1, "twice");
        assert_eq!(count(&[], &[&condition("Approved", "False")]), 1);
    }
}
