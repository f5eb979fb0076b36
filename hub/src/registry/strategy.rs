//! What a kind adds to the generic write path.

use std::fmt;

use jiff::Timestamp;
use koinon_machinery::{ApiError, Cause, Object, ResourceInfo, validation::NameRule};
use serde_json::Value;

use crate::{auth::User, authz::Authorizer};

/// Default limit on a request body.
pub const BODY_LIMIT: usize = 3 << 20;

/// Whether `metadata.generation` counts changes of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// As for every kind with a spec.
    Counted,
    /// As for core kinds without one.
    Absent,
}

/// Whether an update without `resourceVersion` overwrites whatever is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconditional {
    /// As for the old core kinds.
    Allowed,
    /// As for custom resources.
    Refused,
}

/// Objects of a kind that show something and are not stored: they are read only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// There are none.
    Nothing,
    /// Under this name a cluster's namespace shows its heartbeat.
    Heartbeat(&'static str),
    /// All: they are the definitions of the hub's own kinds.
    Definitions,
}

/// A kind's own rules on top of schema and metadata rules, which the registry applies.
///
/// Strategies know neither HTTP nor the store. All methods but [`Strategy::info`] have the behaviour of a
/// custom resource without webhooks as their default.
pub trait Strategy: fmt::Debug + Send + Sync + 'static {
    /// The kind as data.
    fn info(&self) -> ResourceInfo;

    /// The rule for `metadata.name`.
    fn names(&self) -> NameRule {
        NameRule::DnsSubdomain
    }

    /// Whether the kind has a generation.
    fn generation(&self) -> Generation {
        Generation::Counted
    }

    /// Whether an update may leave out the resourceVersion.
    fn unconditional_update(&self) -> Unconditional {
        Unconditional::Refused
    }

    /// The largest request body taken for this kind.
    fn body_limit(&self) -> usize {
        BODY_LIMIT
    }

    /// Whether an update of what is not there creates it (`AllowCreateOnUpdate` in Kubernetes).
    fn creates_on_update(&self) -> bool {
        false
    }

    /// What is shown beside what is stored.
    fn view(&self) -> View {
        View::Nothing
    }

    /// The object that shows a cluster's last heartbeat, if any, for kinds with [`View::Heartbeat`].
    fn heartbeat(&self, cluster: &Object, last: Option<Timestamp>) -> Option<Object> {
        let _ = (cluster, last);
        None
    }

    /// Fills in what the schema cannot and admits or refuses a new object. Its status is already gone, unless it comes as [`Part::Whole`].
    ///
    /// # Errors
    ///
    /// Refuses the request with a `Status` of its own.
    fn prepare_create(
        &self,
        object: &mut Object,
        admission: &mut Admission<'_>,
    ) -> Result<(), ApiError> {
        let _ = (object, admission);
        Ok(())
    }

    /// The same for a change of anything but the status.
    ///
    /// # Errors
    ///
    /// Refuses the request with a `Status` of its own.
    fn prepare_update(
        &self,
        object: &mut Object,
        old: &Object,
        admission: &mut Admission<'_>,
    ) -> Result<(), ApiError> {
        let _ = (object, old, admission);
        Ok(())
    }

    /// Settles a change of the status. Everything else is as it was.
    ///
    /// # Errors
    ///
    /// Refuses the request with a `Status` of its own.
    fn prepare_status(
        &self,
        object: &mut Object,
        old: &Object,
        admission: &mut Admission<'_>,
    ) -> Result<(), ApiError> {
        let _ = (object, old, admission);
        Ok(())
    }

    /// The same for a change that came to `/approval`, where the kind has that.
    ///
    /// # Errors
    ///
    /// Refuses the request with a `Status` of its own.
    fn prepare_approval(
        &self,
        object: &mut Object,
        old: &Object,
        admission: &mut Admission<'_>,
    ) -> Result<(), ApiError> {
        let _ = (object, old, admission);
        Err(ApiError::no_such_resource())
    }

    /// Marks an object whose deletion begins and has to wait for finalizers.
    fn prepare_delete(&self, object: &mut Object) {
        let _ = object;
    }

    /// Refuses a deletion.
    ///
    /// # Errors
    ///
    /// Refuses the request with a `Status` of its own.
    fn admit_delete(&self, object: &Object, admission: &Admission<'_>) -> Result<(), ApiError> {
        let _ = (object, admission);
        Ok(())
    }

    /// Checks what the schema cannot express; `old` is there on updates.
    fn validate(&self, object: &Object, old: Option<&Object>) -> Vec<Cause> {
        let _ = (object, old);
        Vec::new()
    }
}

/// Reads other objects during admission.
pub trait Lookup: Send + Sync {
    /// The object as the cache has it.
    fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<Object>;

    /// All objects of a cluster-scoped kind as the cache has them.
    fn all(&self, resource: &str) -> Vec<Object>;
}

/// What a strategy may know beyond the object itself.
pub struct Admission<'a> {
    /// Now, in whole seconds when written.
    pub now: Timestamp,
    /// Who writes.
    pub user: &'a User,
    /// Who may do what, for the rules that go beyond the request itself.
    pub access: &'a Authorizer,
    /// Other objects.
    pub objects: &'a dyn Lookup,
    /// Merged into the response of a create and never stored: a secret's only appearance.
    pub revealed: Option<Value>,
}

impl fmt::Debug for Admission<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("now", &self.now)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
