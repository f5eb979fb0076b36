//! What every object passes on its way in: unknown fields, defaults, its namespace, validity.

use std::sync::Arc;

use koinon_machinery::{ApiError, Cause, Details, Object, Result, decode, validation};
use koinon_store::Key;
use serde_json::Value;

use super::{Kind, Registry, Writer};
use crate::authz::{Attributes, Decision};

/// Store key of namespaces.
const NAMESPACES: &str = "namespaces";

/// What becomes of fields that the schema does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// They are dropped.
    #[default]
    Ignore,
    /// They are dropped and the client is told.
    Warn,
    /// The request is refused.
    Strict,
}

/// What of an object is looked through for unknown fields and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fields {
    All,
    /// The rest is as it is stored.
    Status,
}

impl Registry {
    /// Prunes and defaults; returns warnings about what was dropped.
    pub(super) fn normalise(
        &self,
        kind: &Kind,
        object: &mut Object,
        fields: Fields,
        validation: FieldValidation,
    ) -> Result<Vec<String>> {
        let schema = &kind.info.schema;
        let unknown = match fields {
            Fields::All => schema.normalize(object),
            Fields::Status => schema.normalize_status(object),
        };
        match validation {
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Warn => Ok(decode::faults(&unknown, &[])),
            FieldValidation::Strict => {
                decode::strict(&unknown, &[]).map_or_else(|| Ok(Vec::new()), Err)
            }
        }
    }

    /// Refuses an object that breaks a rule, with all rules that it breaks.
    pub(super) fn check(&self, kind: &Kind, object: &Object, old: Option<&Object>) -> Result<()> {
        let mut causes = match old {
            None => validation::metadata_create(object, &kind.info, kind.strategy.names()),
            Some(old) => validation::metadata_update(object, old),
        };
        causes.extend(kind.info.schema.validate(object, old));
        Self::judge(kind, object, old, causes)
    }

    /// The same for an object of which only the status was written, and who wrote it: the rest was judged when it came.
    pub(super) fn check_status(&self, kind: &Kind, object: &Object, old: &Object) -> Result<()> {
        let written = |(field, _): &(&String, &Value)| *field != "managedFields";
        let metadata = |object: &'_ Object| object.metadata().iter().filter(written).count();
        let same = metadata(object) == metadata(old)
            && object
                .metadata()
                .iter()
                .filter(written)
                .all(|(field, value)| old.metadata().get(field) == Some(value));
        if !same {
            return self.check(kind, object, Some(old));
        }
        let causes = kind.info.schema.validate_status(object, old);
        Self::judge(kind, object, Some(old), causes)
    }

    /// Refuses an object with `causes`, or with those of its kind if there are none.
    fn judge(
        kind: &Kind,
        object: &Object,
        old: Option<&Object>,
        mut causes: Vec<Cause>,
    ) -> Result<()> {
        if causes.is_empty() {
            // A strategy may rely on what the schema promises.
            causes = kind.strategy.validate(object, old);
        }
        if causes.is_empty() {
            return Ok(());
        }
        let name = if object.name().is_empty() {
            object.generate_name()
        } else {
            object.name()
        };
        Err(ApiError::invalid(&kind.info, name, causes))
    }

    /// Refuses other owners of an object to whoever may not delete it: the garbage collector deletes what has lost its owners, so to name
    /// one is to delete.
    ///
    /// kube-apiserver's admission plugin `OwnerReferencesPermissionEnforcement`, for changes.
    pub(super) fn admit_owners(
        &self,
        kind: &Kind,
        object: &Object,
        old: &Object,
        writer: &Writer,
    ) -> Result<()> {
        let (before, after) = (old.owner_references(), object.owner_references());
        // Nothing is deleted for having no owners. Any other change may leave those only that are gone.
        if after.is_empty() || before == after {
            return Ok(());
        }
        let delete = Attributes {
            version: kind.info.version.clone(),
            ..Attributes::of("delete", &kind.info.group, &kind.info.plural)
        };
        let delete = delete.within(object.namespace()).named(object.name());
        match self.authorizer.authorize(&writer.user, &delete) {
            Decision::Allowed(_) => Ok(()),
            Decision::Denied(reason) => {
                let why =
                    format!("cannot set an ownerRef on a resource you can't delete: {reason}");
                Err(ApiError::forbidden(&kind.info, object.name(), &why))
            }
        }
    }

    /// Refuses a new object in a namespace that does not exist or is being deleted.
    pub(super) async fn admit_namespace(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
    ) -> Result<()> {
        let Some(namespaces) = self.kinds.by_key(NAMESPACES) else {
            return Ok(());
        };
        let key = Key::new(Arc::clone(&namespaces.key), "", namespace);
        let mut stored = self.current(namespaces, &key).await?;
        if stored.is_deleting() && self.has_moved(&stored).await? {
            stored = self.current(namespaces, &key).await?;
        }
        if !stored.is_deleting() {
            return Ok(());
        }
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let mut error = ApiError::forbidden(&kind.info, name, &why);
        let mut cause = Cause::bare(format!("namespace {namespace} is being terminated"));
        "metadata.namespace".clone_into(&mut cause.field);
        let details = error
            .details
            .take()
            .map(|details| *details)
            .unwrap_or_default();
        Err(error.with_details(Details {
            causes: vec![cause],
            ..details
        }))
    }
}
