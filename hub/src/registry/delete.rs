//! Delete and delete of a collection.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use koinon_machinery::{ApiError, Object, Result};
use koinon_store::{Change, Key, Stored, WriteError};

use super::{
    Admission, DryRun, Kind, Registry, State, Writer, metadata, parts, refused, trail::Deed,
};
use crate::clock;

/// Finalizer that makes the garbage collector delete the dependents first.
const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer that makes the garbage collector let the dependents go.
const ORPHAN: &str = "orphan";

/// How often a deletion meets another's write before it gives up. It names no state that it relies on: a storm of statuses must
/// not keep an object alive. Of so many that go on at once it wins one race in their number.
const RACES: usize = 1_000;

/// How many objects of a collection are being deleted at a time: the writer lane makes a batch of them.
const CONCURRENT: usize = 128;

/// What becomes of an object's dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted later.
    Background,
    /// They are deleted first.
    Foreground,
    /// They stay.
    Orphan,
}

/// What must hold of the object that is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// Its uid.
    pub uid: Option<String>,
    /// Its resourceVersion.
    pub resource_version: Option<String>,
}

/// How to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Whether it is carried out.
    pub dry_run: DryRun,
    /// What must hold.
    pub preconditions: Preconditions,
    /// `None` leaves the finalizers as they are, which comes to background deletion.
    pub propagation: Option<Propagation>,
}

/// What became of the object.
#[derive(Clone, Debug)]
pub enum Deletion {
    /// It is gone; this was its last state.
    Done(Arc<Stored>),
    /// It waits for its finalizers.
    Pending(State),
}

impl Registry {
    /// Deletes an object, or marks it as being deleted if it has finalizers.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Conflict` when a precondition does not hold, or what the kind refuses.
    pub async fn delete(
        &self,
        kind: &Kind,
        key: &Key,
        options: &DeleteOptions,
        writer: &Writer,
    ) -> Result<Deletion> {
        for _ in 0..RACES {
            let stored = self.current(kind, key).await?;
            let old = parts::object(kind, &stored);
            if let Err(error) = metadata::check_preconditions(kind, &old, &options.preconditions) {
                // The cache may be behind what the client has seen.
                self.catch_up().await?;
                if self.current(kind, key).await?.revision == stored.revision {
                    return Err(error);
                }
                continue;
            }
            let admission = Admission {
                now: clock::now(),
                user: &writer.user,
                access: &self.authorizer,
                objects: self,
                revealed: None,
            };
            if let Err(error) = kind.strategy.admit_delete(&old, &admission) {
                // Without a database the refusal stands: nothing was changed in either case.
                if self.has_moved(&stored).await.unwrap_or(false) {
                    continue;
                }
                return Err(error);
            }
            let mut object = old.clone();
            propagate(&mut object, options.propagation);
            match self
                .end(kind, &stored, &old, object, options.dry_run, writer)
                .await
            {
                Err(Refusal::Outdated | Refusal::Write(WriteError::Conflict)) => {
                    self.renew(&stored).await?;
                }
                Err(Refusal::Write(error)) => return Err(refused(kind, &key.name, error)),
                Err(Refusal::Api(error)) => return Err(error),
                Ok(deletion) => return Ok(deletion),
            }
        }
        Err(ApiError::conflict(&kind.info, &key.name))
    }

    /// Deletes each of `keys`; one that is gone already counts as deleted.
    ///
    /// # Errors
    ///
    /// The first refusal; others may have been deleted by then, as in Kubernetes.
    pub async fn delete_collection(
        &self,
        kind: &Kind,
        keys: Vec<Key>,
        options: &DeleteOptions,
        writer: &Writer,
    ) -> Result<Vec<Deletion>> {
        let deletions: Vec<Option<Deletion>> = stream::iter(keys)
            .map(|key| async move {
                match self.delete(kind, &key, options, writer).await {
                    Ok(deletion) => Ok(Some(deletion)),
                    Err(error) if error.code == 404 => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .buffered(CONCURRENT)
            .try_collect()
            .await?;
        Ok(deletions.into_iter().flatten().collect())
    }

    async fn end(
        &self,
        kind: &Kind,
        stored: &Arc<Stored>,
        old: &Object,
        mut object: Object,
        dry_run: DryRun,
        writer: &Writer,
    ) -> Result<Deletion, Refusal> {
        let expected = stored.revision;
        let key = stored.key.clone();
        // Only the database can tell that this was decided on an old state, if it is asked at all.
        if dry_run == DryRun::All && self.has_moved(stored).await? {
            return Err(Refusal::Outdated);
        }
        if object.finalizers().next().is_none() {
            if dry_run == DryRun::No {
                let change = Change::Delete {
                    key,
                    uid: Some(stored.uid),
                    expected: Some(expected),
                };
                self.put(kind, Deed::Delete, change, writer).await?;
            }
            return Ok(Deletion::Done(Arc::clone(stored)));
        }
        if !object.is_deleting() {
            if object.generation() > 0 {
                object.set_generation(object.generation() + 1);
            }
            object.set_deletion_timestamp(clock::now());
            kind.strategy.prepare_delete(&mut object);
        }
        if object == *old {
            if self.has_moved(stored).await? {
                return Err(Refusal::Outdated);
            }
            return Ok(Deletion::Pending(State::Stored(Arc::clone(stored))));
        }
        if dry_run == DryRun::All {
            return Ok(Deletion::Pending(State::Object(object)));
        }
        let change = Change::Replace {
            draft: parts::draft(key, object)?,
            expected,
        };
        let written = self.put(kind, Deed::Delete, change, writer).await?;
        Ok(Deletion::Pending(State::Stored(written.stored)))
    }
}

/// Sets the garbage collector's finalizers as the request asks.
fn propagate(object: &mut Object, propagation: Option<Propagation>) {
    let (add, remove): (Option<&str>, &[&str]) = match propagation {
        None => return,
        Some(Propagation::Background) => (None, &[FOREGROUND, ORPHAN]),
        Some(Propagation::Foreground) => (Some(FOREGROUND), &[ORPHAN]),
        Some(Propagation::Orphan) => (Some(ORPHAN), &[FOREGROUND]),
    };
    for finalizer in remove {
        object.remove_finalizer(finalizer);
    }
    if let Some(finalizer) = add {
        object.add_finalizer(finalizer);
    }
}

/// A lost race is tried again, a refusal is not.
enum Refusal {
    /// The registry holds another state by now.
    Outdated,
    Write(WriteError),
    Api(ApiError),
}

impl From<WriteError> for Refusal {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finalizers(start: &[&str], propagation: Option<Propagation>) -> Vec<String> {
        let mut object = Object::new("v1", "ConfigMap");
        for finalizer in start {
            object.add_finalizer(finalizer);
        }
        propagate(&mut object, propagation);
        object.finalizers().map(str::to_owned).collect()
    }

    #[test]
    fn the_policy_decides_the_collectors_finalizers() {
        assert_eq!(finalizers(&["x"], None), ["x"]);
        assert_eq!(
            finalizers(&["x"], Some(Propagation::Foreground)),
            ["x", FOREGROUND]
        );
        assert_eq!(
            finalizers(&["x", FOREGROUND], Some(Propagation::Orphan)),
            ["x", ORPHAN]
        );
        assert_eq!(
            finalizers(&[ORPHAN, FOREGROUND], Some(Propagation::Background)),
            Vec::<String>::new()
        );
    }
}
