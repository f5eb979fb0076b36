//! Server-side apply.

use koinon_machinery::{ApiError, Cause, Details, Object, Reason, Result, apply};
use koinon_store::Key;

use super::{
    ATTEMPTS, Kind, Options, Part, Registry, Saved, Writer,
    change::Written,
    metadata,
    ownership::{self, Owners},
};
use crate::clock;

/// Whether an apply takes what others own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// It is refused instead.
    No,
    /// It does.
    Yes,
}

/// Whether an apply may create the object that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayCreate {
    /// It is `NotFound` instead.
    No,
    /// It may.
    Yes,
}

/// One apply.
#[derive(Clone, Copy, Debug)]
pub struct Application<'a> {
    /// What of the object it is about.
    pub part: Part,
    /// What the writer wants, no more and no less.
    pub config: &'a Object,
    /// Whether it takes what others own.
    pub force: Force,
    /// Whether it may create the object.
    pub may_create: MayCreate,
}

/// What an apply came to.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// There was no such object.
    Created(Saved),
    /// There was one, and it is now as was asked.
    Changed(Saved),
}

impl Registry {
    /// Makes `writer` want what a configuration says of an object or of its status.
    ///
    /// # Errors
    ///
    /// `Conflict` when others own fields that would change, `NotFound` when there is no such object and it may not be
    /// created, or any refusal of a create or update.
    pub async fn apply(
        &self,
        kind: &Kind,
        key: &Key,
        application: Application<'_>,
        options: Options,
        writer: &Writer,
    ) -> Result<Outcome> {
        let Application {
            part,
            config,
            force,
            may_create,
        } = application;
        let lay_over = |live: &Object| {
            apply::apply(
                kind.info.schema.ownership(),
                ownership::scope(kind, part),
                live,
                config,
                &ownership::manager(writer, part, clock::now()),
                force == Force::Yes,
            )
        };
        let written = Written {
            part,
            owners: Owners::Settled,
        };
        for _ in 0..ATTEMPTS {
            let changed = self
                .patch_as(kind, key, written, options, writer, lay_over)
                .await;
            match changed {
                Err(error)
                    if error.reason == Reason::NotFound
                        && part == Part::Main
                        && may_create == MayCreate::Yes => {}
                changed => return changed.map(Outcome::Changed),
            }
            let mut object = lay_over(&kind.info.empty_object())?;
            if !object.uid().is_empty() {
                return Err(uid_of_nothing(kind, &key.name, object.uid()));
            }
            metadata::settle_name(&key.name, &mut object)?;
            let created = self
                .create_as(kind, &key.namespace, object, options, writer, written)
                .await;
            match created {
                // Somebody else was first: then it is a change.
                Err(error) if error.reason == Reason::AlreadyExists => {
                    if self.store().get(key).is_none() {
                        self.catch_up().await?;
                    }
                }
                created => return created.map(Outcome::Created),
            }
        }
        Err(ApiError::conflict(&kind.info, &key.name))
    }
}

/// 409 for a configuration of a certain object that is not there any more.
fn uid_of_nothing(kind: &Kind, name: &str, uid: &str) -> ApiError {
    let why = format!(
        "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
    );
    let error = ApiError::conflict_because(&kind.info, name, &why);
    error.with_details(Details {
        causes: Vec::<Cause>::new(),
        ..Details::of(&kind.info, name)
    })
}
