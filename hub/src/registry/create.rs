//! Create.

use std::sync::Arc;

use koinon_machinery::{ApiError, Object, Result, validation};
use koinon_store::{Change, Key, WriteError};
use rand::RngExt;
use uuid::Uuid;

use super::{
    Admission, DryRun, Generation, Kind, Options, Part, Registry, Saved, State, Writer,
    admission::Fields,
    change::Written,
    metadata,
    ownership::{self, Owners},
    parts, refused,
    trail::Deed,
};
use crate::clock;

/// How often a generated name is drawn again, as in Kubernetes since 1.30.
const DRAWS: usize = 8;

impl Registry {
    /// Creates an object in `namespace` (empty for cluster-scoped kinds).
    ///
    /// # Errors
    ///
    /// Any refusal of Kubernetes' create; nothing was written then, except that the outcome of a write during which
    /// the database went away is not known.
    pub async fn create(
        &self,
        kind: &Kind,
        namespace: &str,
        object: Object,
        options: Options,
        writer: &Writer,
    ) -> Result<Saved> {
        let written = Written {
            part: Part::Main,
            owners: Owners::Record,
        };
        self.create_as(kind, namespace, object, options, writer, written)
            .await
    }

    /// Creates what an update did not find, for kinds with
    /// [`Strategy::creates_on_update`](super::Strategy::creates_on_update).
    ///
    /// # Errors
    ///
    /// `Conflict` when the update means an object that was there once; any refusal of Kubernetes' create.
    pub async fn create_absent(
        &self,
        kind: &Kind,
        key: &Key,
        mut object: Object,
        options: Options,
        writer: &Writer,
    ) -> Result<Saved> {
        if !object.uid().is_empty() {
            return Err(metadata::uid_differs(kind, &key.name, object.uid(), ""));
        }
        metadata::settle_name(&key.name, &mut object)?;
        object.metadata_mut().remove("resourceVersion");
        self.create(kind, &key.namespace, object, options, writer)
            .await
    }

    /// The same for an object that may have its status, or whose owners may be settled already.
    pub(super) async fn create_as(
        &self,
        kind: &Kind,
        namespace: &str,
        mut object: Object,
        options: Options,
        writer: &Writer,
        written: Written,
    ) -> Result<Saved> {
        metadata::check_type(kind, &mut object)?;
        metadata::settle_namespace(kind, namespace, &mut object)?;
        // "0" names no revision: clients write it for none.
        if !matches!(object.resource_version(), "" | "0") {
            return Err(ApiError::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        if kind.info.namespaced {
            self.admit_namespace(kind, namespace, object.name()).await?;
        }
        let warnings = self.normalise(kind, &mut object, Fields::All, options.fields)?;
        let prefix = object.generate_name().to_owned();
        if !object.name().is_empty() || prefix.is_empty() {
            let name = object.name().to_owned();
            return match self
                .create_named(kind, namespace, object, options.dry_run, writer, written)
                .await
            {
                Ok(state) => Ok(Saved { state, warnings }),
                Err(Refusal::Exists) => Err(ApiError::already_exists(&kind.info, &name)),
                Err(Refusal::Other(error)) => Err(error),
            };
        }
        let mut drawn = String::new();
        for _ in 0..DRAWS {
            drawn = validation::generate_name(&prefix, rand::rng().random());
            let mut attempt = object.clone();
            attempt.set_name(&drawn);
            match self
                .create_named(kind, namespace, attempt, options.dry_run, writer, written)
                .await
            {
                Ok(state) => return Ok(Saved { state, warnings }),
                Err(Refusal::Exists) => {}
                Err(Refusal::Other(error)) => return Err(error),
            }
        }
        let mut error = ApiError::already_exists(&kind.info, &drawn);
        error
            .message
            .push_str(", the server was not able to generate a unique name for the object");
        Err(error)
    }

    async fn create_named(
        &self,
        kind: &Kind,
        namespace: &str,
        mut object: Object,
        dry_run: DryRun,
        writer: &Writer,
        Written { part, owners }: Written,
    ) -> Result<State, Refusal> {
        let now = clock::now();
        begin(kind, part, &mut object, now);
        if owners == Owners::Record {
            ownership::created(kind, &mut object, writer, now);
        }
        let mut admission = Admission {
            now,
            user: &writer.user,
            access: &self.authorizer,
            objects: self,
            revealed: None,
        };
        kind.strategy.prepare_create(&mut object, &mut admission)?;
        let revealed = admission.revealed;
        self.check(kind, &object, None)?;
        let key = Key::new(Arc::clone(&kind.key), namespace, object.name());
        let state = if dry_run == DryRun::All {
            // A create is decided by the database; the cache alone may miss what is there, or show what is gone.
            self.catch_up().await?;
            if self.store.get(&key).is_some() {
                return Err(Refusal::Exists);
            }
            parts::fit(kind, &parts::draft(key, object.clone())?, None)?;
            State::Object(object)
        } else {
            let name = Arc::clone(&key.name);
            let draft = parts::draft(key, object)?;
            parts::fit(kind, &draft, None)?;
            let change = Change::Create(draft);
            match self.put(kind, Deed::Create, change, writer).await {
                Ok(written) => State::Stored(written.stored),
                Err(WriteError::Exists) => return Err(Refusal::Exists),
                Err(error) => return Err(refused(kind, &name, error).into()),
            }
        };
        match revealed {
            None => Ok(state),
            Some(shown) => Ok(State::Object(parts::reveal(
                state.into_object(kind),
                &shown,
            )?)),
        }
    }
}

/// Sets what the hub alone says about a new object.
fn begin(kind: &Kind, part: Part, object: &mut Object, now: jiff::Timestamp) {
    let fields = object.metadata_mut();
    parts::drop_read_only(fields);
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        fields.remove(field);
    }
    object.set_uid(&Uuid::new_v4().to_string());
    object.set_creation_timestamp(now);
    if kind.strategy.generation() == Generation::Counted {
        object.set_generation(1);
    }
    if kind.info.has_status && part != Part::Whole {
        object.set_status(None);
    }
}

/// A taken name is a matter of its own: a generated one is drawn again.
enum Refusal {
    Exists,
    Other(ApiError),
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Other(error)
    }
}
