//! The rules on type and metadata that hold for every kind.

use koinon_machinery::{ApiError, Cause, Object, Result};
use serde_json::Value;

use super::{Kind, Preconditions, parts};

/// Takes a body without a type as what the path says, and refuses another type.
pub(super) fn check_type(kind: &Kind, object: &mut Object) -> Result<()> {
    let (version, name) = (object.api_version(), object.kind());
    if !version.is_empty() && version != kind.api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            kind.api_version
        )));
    }
    if !name.is_empty() && name != kind.info.kind {
        return Err(ApiError::bad_request(format!(
            "the kind in the data ({name}) does not match the expected kind ({})",
            kind.info.kind
        )));
    }
    object.set_type(&kind.api_version, &kind.info.kind);
    Ok(())
}

/// Gives the object the namespace of the path, and refuses another one.
pub(super) fn settle_namespace(kind: &Kind, namespace: &str, object: &mut Object) -> Result<()> {
    if kind.info.namespaced && !object.namespace().is_empty() && object.namespace() != namespace {
        return Err(ApiError::bad_request(format!(
            "the namespace of the provided object does not match the namespace sent on the request ({} and {namespace})",
            object.namespace()
        )));
    }
    object.set_namespace(if kind.info.namespaced { namespace } else { "" });
    Ok(())
}

/// Gives the object the name of the path, and refuses another one.
pub(super) fn settle_name(name: &str, object: &mut Object) -> Result<()> {
    if !object.name().is_empty() && object.name() != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            object.name()
        )));
    }
    object.set_name(name);
    Ok(())
}

/// Restores what an update may not change. What it may not set is left for validation to refuse.
pub(super) fn carry_over(object: &mut Object, old: &Object) {
    let fields = object.metadata_mut();
    parts::drop_read_only(fields);
    if old.is_deleting() {
        // Another time is not taken, and no time is no undoing; another grace is refused.
        if let Some(time) = old.metadata().get("deletionTimestamp") {
            fields.insert("deletionTimestamp".to_owned(), time.clone());
        }
        if let Some(grace) = old.metadata().get("deletionGracePeriodSeconds") {
            let given = fields.entry("deletionGracePeriodSeconds");
            given.or_insert_with(|| grace.clone());
        }
    }
    for field in ["uid", "creationTimestamp", "generation", "resourceVersion"] {
        match old.metadata().get(field) {
            Some(value) => fields.insert(field.to_owned(), value.clone()),
            None => fields.remove(field),
        };
    }
}

/// 409 when the object is not the one that the client means.
pub(super) fn check_preconditions(kind: &Kind, old: &Object, wanted: &Preconditions) -> Result<()> {
    if let Some(uid) = &wanted.uid
        && uid != old.uid()
    {
        return Err(uid_differs(kind, old.name(), uid, old.uid()));
    }
    if let Some(version) = &wanted.resource_version
        && version != old.resource_version()
    {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
            old.resource_version()
        );
        return Err(ApiError::conflict_because(&kind.info, old.name(), &why));
    }
    Ok(())
}

/// 409 for an object that was replaced by another of its name, or is not there (no `found`).
pub(super) fn uid_differs(kind: &Kind, name: &str, wanted: &str, found: &str) -> ApiError {
    let why =
        format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}");
    ApiError::conflict_because(&kind.info, name, &why)
}

/// What is said of an update of an object that is not there: 409 if the client means a certain one, for that one is gone.
pub(super) fn missing(kind: &Kind, wanted: &Object, error: ApiError) -> ApiError {
    if error.code != 404 || wanted.uid().is_empty() {
        return error;
    }
    uid_differs(kind, wanted.name(), wanted.uid(), "")
}

/// 422 for an update that does not say what it is based on.
pub(super) fn version_missing(kind: &Kind, object: &Object) -> ApiError {
    let cause = Cause::invalid(
        "metadata.resourceVersion",
        Value::from(0),
        "must be specified for an update",
    );
    ApiError::invalid(&kind.info, object.name(), vec![cause])
}

/// 422 for a resourceVersion that this hub never gave out.
pub(super) fn version_malformed(kind: &Kind, object: &Object) -> ApiError {
    let cause = Cause::invalid(
        "metadata.resourceVersion",
        object.resource_version(),
        "must be a number",
    );
    ApiError::invalid(&kind.info, object.name(), vec![cause])
}
