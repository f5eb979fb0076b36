//! Kubernetes write semantics on the store.
//!
//! ```text
//!   Object ─► normalise ─► strategy ─► metadata, schema and strategy checks ─► Draft ─► store
//!   (REST, controllers,     (prune,     (prepare_*)
//!    agents)                 default)
//! ```
//!
//! Everybody writes here, so a controller cannot write what a user could not. Reads come from the store's watch
//! cache; a write that lost a race is repeated on the state it lost to, where the request allows that.

mod admission;
mod apply;
mod change;
mod client;
mod create;
mod delete;
mod kinds;
mod metadata;
mod ownership;
mod parts;
mod seed;
mod strategy;
mod trail;
mod view;

pub use admission::FieldValidation;
pub use apply::{Application, Force, MayCreate, Outcome};
pub use change::Part;
pub use client::{Client, Typed};
pub use delete::{DeleteOptions, Deletion, Preconditions, Propagation};
pub use kinds::{Kind, Kinds};
pub use parts::object as object_of;
pub use strategy::{Admission, BODY_LIMIT, Generation, Lookup, Strategy, Unconditional, View};

use std::{fmt, sync::Arc};

use koinon_machinery::{ApiError, Object, Reason, Result};
use koinon_store::{
    Applied, Change, Epoch, Key, Mutation, Share, Store, Stored, Unavailable, WriteError,
};

use crate::{audit::Audit, auth::User, authz::Authorizer};

/// How often a write that may be repeated meets another's write before it gives up, as in Kubernetes.
const ATTEMPTS: usize = 5;

/// How soon a client may try again when the database is away.
const RETRY_SECONDS: u32 = 1;

/// The write path of all kinds. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    store: Store,
    kinds: Kinds,
    authorizer: Authorizer,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("kinds", &self.kinds)
            .finish_non_exhaustive()
    }
}

/// Whether a request is carried out or only tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DryRun {
    /// Carried out.
    #[default]
    No,
    /// Checked and answered as if it had been carried out.
    All,
}

/// How a write is to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether it is carried out.
    pub dry_run: DryRun,
    /// What becomes of unknown fields.
    pub fields: FieldValidation,
}

/// Who writes, and in which term of leadership.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The user.
    pub user: User,
    /// The leadership term that the write belongs to (P5).
    pub epoch: Option<Epoch>,
    /// Under which name the write is recorded in `metadata.managedFields`; `None` for the hub itself.
    pub manager: Option<Arc<str>>,
    /// Where its writes are recorded, if no request is that they are carried out for.
    pub audit: Option<Audit>,
}

impl Writer {
    /// The hub itself.
    pub fn hub() -> Self {
        Self {
            user: User::hub(),
            epoch: None,
            manager: None,
            audit: None,
        }
    }

    /// A change as this writer's.
    fn mutation(&self, change: Change) -> Mutation {
        let share = match self.epoch {
            Some(_) => Share::Hub,
            // Outside of a term the hub writes what agents bring.
            None if self.user.is_hub() => Share::Agents,
            None => Share::Users,
        };
        Mutation {
            change,
            epoch: self.epoch,
            share,
        }
    }
}

/// The outcome of a write.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The object after the write.
    pub state: State,
    /// What the writer should know.
    pub warnings: Vec<String>,
}

/// An object to be answered with.
#[derive(Clone, Debug)]
pub enum State {
    /// As the registry holds it, or held it last.
    Stored(Arc<Stored>),
    /// As it would be, or with what is shown only once.
    Object(Object),
}

impl State {
    /// The object as JSON tree.
    pub fn into_object(self, kind: &Kind) -> Object {
        match self {
            Self::Stored(stored) => parts::object(kind, &stored),
            Self::Object(object) => object,
        }
    }
}

impl Registry {
    /// Puts `kinds` on `store`.
    pub fn new(store: Store, kinds: Kinds) -> Self {
        Self {
            authorizer: Authorizer::new(store.clone()),
            store,
            kinds,
        }
    }

    /// Who may do what, by the objects in the registry.
    pub fn authorizer(&self) -> &Authorizer {
        &self.authorizer
    }

    /// The kinds that are served.
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// The store below.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The current state of an object: from the cache if it is there, after catching up with the database if not.
    ///
    /// # Errors
    ///
    /// `NotFound`, or `ServiceUnavailable` when the cache does not have it and the database is away.
    pub async fn current(&self, kind: &Kind, key: &Key) -> Result<Arc<Stored>> {
        if let Some(stored) = self.store.get(key) {
            return Ok(stored);
        }
        self.catch_up().await?;
        self.store
            .get(key)
            .ok_or_else(|| ApiError::not_found(&kind.info, &key.name))
    }

    /// Waits until the cache has everything that was committed before the call.
    ///
    /// # Errors
    ///
    /// `ServiceUnavailable` when the database does not answer.
    pub async fn catch_up(&self) -> Result<()> {
        self.store
            .fresh()
            .await
            .map(drop)
            .map_err(|error| unavailable(&error))
    }

    /// Whether the registry now holds another state than `stored`, or none; what a cache says may be old.
    ///
    /// # Errors
    ///
    /// As for [`Registry::catch_up`].
    async fn has_moved(&self, stored: &Stored) -> Result<bool> {
        self.catch_up().await?;
        let newest = self.store.get(&stored.key);
        Ok(newest.is_none_or(|newest| newest.revision != stored.revision))
    }

    /// Makes sure that a write that lost its race against `stored` is not decided on the same state again.
    ///
    /// The lane has usually brought the cache up to the state that it lost to.
    async fn renew(&self, stored: &Stored) -> Result<()> {
        let newest = self.store.get(&stored.key);
        if newest.is_some_and(|newest| newest.revision == stored.revision) {
            self.catch_up().await?;
        }
        Ok(())
    }
}

impl Lookup for Registry {
    fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<Object> {
        let kind = self.kinds.by_key(resource)?;
        let stored = self
            .store
            .get(&Key::new(Arc::clone(&kind.key), namespace, name))?;
        Some(parts::object(kind, &stored))
    }

    fn all(&self, resource: &str) -> Vec<Object> {
        let Some(kind) = self.kinds.by_key(resource) else {
            return Vec::new();
        };
        let snapshot = self.store.snapshot(&kind.key);
        snapshot
            .iter()
            .map(|stored| parts::object(kind, stored))
            .collect()
    }
}

/// 503 for a database that does not answer; 504 if the write may have happened.
///
/// Clients repeat every request that is answered with a time to try again, whatever its verb: a write in doubt has none.
pub fn unavailable(error: &Unavailable) -> ApiError {
    match error.applied {
        Applied::No => ApiError::service_unavailable(
            "the registry is unreachable; nothing was changed, try again",
            RETRY_SECONDS,
        ),
        Applied::Maybe => ApiError::new(
            Reason::Timeout,
            "Timeout: the registry became unreachable; the write may or may not have happened, read before trying again",
        ),
    }
}

/// What a failed write is to the one who asked for it.
fn refused(kind: &Kind, name: &str, error: WriteError) -> ApiError {
    match error {
        WriteError::Exists => ApiError::already_exists(&kind.info, name),
        WriteError::NotFound => ApiError::not_found(&kind.info, name),
        WriteError::Conflict => ApiError::conflict(&kind.info, name),
        WriteError::Deposed => ApiError::service_unavailable(
            "this replica does not lead any more; nothing was changed",
            RETRY_SECONDS,
        ),
        WriteError::Unavailable(error) => unavailable(&error),
        WriteError::Rejected(why) => {
            ApiError::bad_request(format!("the registry cannot store the object: {why}"))
        }
    }
}
