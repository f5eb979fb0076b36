//! `Namespace`.
//!
//! Deleting one works as in Kubernetes with one difference: what holds it until it is empty is the ordinary finalizer
//! [`CLEANUP`] in its metadata, not `spec.finalizers` with a `/finalize` subresource of its own. The namespace
//! controller deletes what is inside and then takes the finalizer off.

use k8s_openapi::api::core::v1::Namespace;
use koinon_machinery::{
    ApiError, Column, Object, ResourceInfo, Result, Verb, validation::NameRule,
};
use serde_json::{Value, json};

use crate::registry::{Admission, Generation, Strategy, Unconditional};

/// Finalizer of every namespace, taken off by the namespace controller once the namespace is empty.
pub const CLEANUP: &str = "koinon.dev/namespace-cleanup";
/// The namespace that always exists, where events about cluster-scoped objects go.
pub const DEFAULT: &str = "default";

const NAME_LABEL: &str = "kubernetes.io/metadata.name";

#[derive(Debug)]
pub(super) struct Namespaces;

impl Strategy for Namespaces {
    fn info(&self) -> ResourceInfo {
        let mut info = super::builtin::<Namespace>(true, &["ns"])
            .with_selectable_fields(["status.phase"])
            .with_blank(json!({ "spec": {}, "status": {} }));
        // As in Kubernetes: nobody deletes all namespaces with one request.
        info.verbs.retain(|verb| *verb != Verb::DeleteCollection);
        info.columns.insert(
            0,
            Column::text("Status", ".status.phase").described("The status of the namespace"),
        );
        info
    }

    fn names(&self) -> NameRule {
        NameRule::DnsLabel
    }

    fn generation(&self) -> Generation {
        Generation::Absent
    }

    fn unconditional_update(&self) -> Unconditional {
        Unconditional::Allowed
    }

    fn prepare_create(&self, object: &mut Object, _: &mut Admission<'_>) -> Result<()> {
        hold(object);
        object.set_status(Some(json!({ "phase": "Active" })));
        Ok(())
    }

    fn prepare_update(
        &self,
        object: &mut Object,
        old: &Object,
        _: &mut Admission<'_>,
    ) -> Result<()> {
        if !object.is_deleting() {
            hold(object);
        }
        if let Some(spec) = old.spec() {
            object.as_map_mut().insert("spec".to_owned(), spec.clone());
        }
        Ok(())
    }

    fn prepare_delete(&self, object: &mut Object) {
        let mut status = object.status().cloned().unwrap_or_else(|| json!({}));
        status["phase"] = Value::from("Terminating");
        object.set_status(Some(status));
    }

    fn admit_delete(&self, object: &Object, _: &Admission<'_>) -> Result<()> {
        if object.name() == DEFAULT {
            return Err(ApiError::forbidden(
                &self.info(),
                object.name(),
                "this namespace may not be deleted",
            ));
        }
        Ok(())
    }
}

/// Sets what every namespace has that lives.
fn hold(object: &mut Object) {
    let name = object.name().to_owned();
    object.set_label(NAME_LABEL, &name);
    object.add_finalizer(CLEANUP);
}
