//! Update and patch, of the object or of its status alone.

use std::sync::Arc;

use koinon_machinery::{ApiError, Object, Result};
use koinon_store::{Change, Draft, Key, Revision, Stored, WriteError};

use super::{
    ATTEMPTS, Admission, DryRun, Generation, Kind, Options, Registry, Saved, State, Unconditional,
    Writer,
    admission::Fields,
    metadata,
    ownership::{self, Owners},
    parts, refused,
    trail::Deed,
};
use crate::clock;

/// Which part of an object a request may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status, where the kind has a status subresource.
    Main,
    /// The status alone.
    Status,
    /// What of the status is decided at `/approval`.
    Approval,
    /// All of it at once, which no path of the API asks for: the hub's own objects that are little more than a status.
    Whole,
}

impl Part {
    /// Whether it is the status, or some of it, and nothing else.
    fn is_status(self) -> bool {
        matches!(self, Self::Status | Self::Approval)
    }
}

/// What of an object a write is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) part: Part,
    pub(super) owners: Owners,
}

/// What is changed, as it is stored and as it reads.
#[derive(Clone, Copy)]
struct Before<'a> {
    stored: &'a Stored,
    object: &'a Object,
}

/// What a patch comes to.
enum Changed {
    To {
        old: Object,
        new: Object,
        warnings: Vec<String>,
    },
    /// The client names the only revision that may be changed, and it is another one.
    Pinned(String),
}

/// What is to be done to the store.
enum Plan {
    Nothing,
    Replace(Draft),
    /// The last finalizer of a deleting object is gone.
    Remove(Draft),
}

impl Registry {
    /// Replaces an object, or its status.
    ///
    /// # Errors
    ///
    /// Any refusal of Kubernetes' update; `Conflict` when the object's `resourceVersion` is stale.
    pub async fn update(
        &self,
        kind: &Kind,
        key: &Key,
        mut object: Object,
        part: Part,
        options: Options,
        writer: &Writer,
    ) -> Result<Saved> {
        metadata::check_type(kind, &mut object)?;
        metadata::settle_namespace(kind, &key.namespace, &mut object)?;
        metadata::settle_name(&key.name, &mut object)?;
        let expected = match object.resource_version() {
            "" => None,
            text => Some(parse_revision(kind, &object, text)?),
        };
        let warnings = self.normalise(kind, &mut object, Fields::All, options.fields)?;
        for attempt in 0..ATTEMPTS {
            let mut stored = self
                .current(kind, key)
                .await
                .map_err(|error| metadata::missing(kind, &object, error))?;
            if expected.is_some_and(|expected| expected != stored.revision) {
                self.catch_up().await?;
                stored = self.current(kind, key).await?;
            }
            if expected.is_some_and(|expected| expected != stored.revision) {
                return Err(ApiError::conflict(&kind.info, &key.name));
            }
            let plan = self.plan(
                kind,
                Before {
                    stored: &stored,
                    object: &parts::object(kind, &stored),
                },
                object.clone(),
                Written {
                    part,
                    owners: Owners::Record,
                },
                expected,
                writer,
            );
            if attempt == 0 && self.is_outdated(&stored, &plan, options).await? {
                continue;
            }
            match self
                .commit(kind, &stored, plan?, options.dry_run, writer)
                .await
            {
                Err(WriteError::Conflict) if expected.is_none() => self.renew(&stored).await?,
                Err(error) => return Err(refused(kind, &key.name, error)),
                Ok(state) => return Ok(Saved { state, warnings }),
            }
        }
        Err(ApiError::conflict(&kind.info, &key.name))
    }

    /// Changes an object, or its status, by a function of its current state.
    ///
    /// The function runs again on the newer state when another write came first, unless it has set another
    /// `resourceVersion` than the one it was given.
    ///
    /// # Errors
    ///
    /// What the function says, or any refusal of Kubernetes' patch.
    pub async fn patch(
        &self,
        kind: &Kind,
        key: &Key,
        part: Part,
        options: Options,
        writer: &Writer,
        patch: impl Fn(&Object) -> Result<Object> + Send + Sync,
    ) -> Result<Saved> {
        let written = Written {
            part,
            owners: Owners::Record,
        };
        self.patch_as(kind, key, written, options, writer, patch)
            .await
    }

    /// The same for a change that may settle the owners itself.
    pub(super) async fn patch_as(
        &self,
        kind: &Kind,
        key: &Key,
        written: Written,
        options: Options,
        writer: &Writer,
        patch: impl Fn(&Object) -> Result<Object> + Send + Sync,
    ) -> Result<Saved> {
        for attempt in 0..ATTEMPTS {
            let stored = self.current(kind, key).await?;
            let changed = self.changed_by(kind, key, &stored, written.part, options, &patch);
            let (plan, warnings) = match changed {
                Ok(Changed::Pinned(revision)) => {
                    // The cache may be behind what the client has seen.
                    self.catch_up().await?;
                    if self.current(kind, key).await?.revision.to_string() != revision {
                        return Err(ApiError::conflict(&kind.info, &key.name));
                    }
                    continue;
                }
                Ok(Changed::To { old, new, warnings }) => {
                    let expected = Some(stored.revision);
                    let before = Before {
                        stored: &stored,
                        object: &old,
                    };
                    let plan = self.plan(kind, before, new, written, expected, writer);
                    (plan, warnings)
                }
                Err(error) => (Err(error), Vec::new()),
            };
            if attempt == 0 && self.is_outdated(&stored, &plan, options).await? {
                continue;
            }
            match self
                .commit(kind, &stored, plan?, options.dry_run, writer)
                .await
            {
                Err(WriteError::Conflict) => self.renew(&stored).await?,
                Err(error) => return Err(refused(kind, &key.name, error)),
                Ok(state) => return Ok(Saved { state, warnings }),
            }
        }
        Err(ApiError::conflict(&kind.info, &key.name))
    }

    /// What a patch makes of a state, ready to be planned.
    fn changed_by(
        &self,
        kind: &Kind,
        key: &Key,
        stored: &Stored,
        part: Part,
        options: Options,
        patch: &(impl Fn(&Object) -> Result<Object> + Send + Sync),
    ) -> Result<Changed> {
        let old = parts::object(kind, stored);
        let mut object = patch(&old)?;
        metadata::check_type(kind, &mut object)?;
        metadata::settle_namespace(kind, &key.namespace, &mut object)?;
        metadata::settle_name(&key.name, &mut object)?;
        let version = object.resource_version();
        if version != old.resource_version() && !version.is_empty() {
            return Ok(Changed::Pinned(version.to_owned()));
        }
        // What is not written need not be looked through again.
        let fields =
            if part.is_status() && object.same_body(&old) && object.metadata() == old.metadata() {
                Fields::Status
            } else {
                Fields::All
            };
        let warnings = self.normalise(kind, &mut object, fields, options.fields)?;
        Ok(Changed::To {
            old,
            new: object,
            warnings,
        })
    }

    /// Whether what was decided on `stored` has to be decided again, because the registry has another state by now.
    ///
    /// Only the database can refuse a write that was decided on an old state. What is answered without one, because
    /// nothing would change, because it is refused or because it is only tried, is looked up first. Once is enough: a
    /// second attempt is made on a state that is newer than the request.
    async fn is_outdated(
        &self,
        stored: &Stored,
        plan: &Result<Plan>,
        options: Options,
    ) -> Result<bool> {
        match plan {
            Ok(Plan::Replace(_) | Plan::Remove(_)) if options.dry_run == DryRun::No => Ok(false),
            Ok(_) => self.has_moved(stored).await,
            // Nothing was changed in either case: without a database the refusal stands.
            Err(_) => Ok(self.has_moved(stored).await.unwrap_or(false)),
        }
    }

    /// Decides, without touching the store, what a change of `stored` into `object` comes to.
    fn plan(
        &self,
        kind: &Kind,
        Before {
            stored,
            object: old,
        }: Before<'_>,
        mut object: Object,
        Written { part, owners }: Written,
        expected: Option<Revision>,
        writer: &Writer,
    ) -> Result<Plan> {
        if !object.uid().is_empty() && object.uid() != old.uid() {
            return Err(metadata::uid_differs(
                kind,
                old.name(),
                object.uid(),
                old.uid(),
            ));
        }
        if expected.is_none() && kind.strategy.unconditional_update() == Unconditional::Refused {
            return Err(metadata::version_missing(kind, old));
        }
        if part.is_status() {
            // A patch of the status leaves the rest alone: then nothing need be copied.
            let rest_differs = !object.same_body(old) || object.metadata() != old.metadata();
            let mut updated = if rest_differs {
                let mut updated = old.clone();
                updated.set_status(object.status().cloned());
                updated
            } else {
                std::mem::take(&mut object)
            };
            let mut admission = Admission {
                now: clock::now(),
                user: &writer.user,
                access: &self.authorizer,
                objects: self,
                revealed: None,
            };
            if part == Part::Approval {
                kind.strategy
                    .prepare_approval(&mut updated, old, &mut admission)?;
            } else {
                kind.strategy
                    .prepare_status(&mut updated, old, &mut admission)?;
            }
            match owners {
                Owners::Record => {
                    ownership::changed(kind, part, old, &mut updated, writer, clock::now());
                }
                Owners::Settled if rest_differs => ownership::carry(&object, &mut updated),
                Owners::Settled => {}
            }
            self.check_status(kind, &updated, old)?;
            let mut draft = Draft {
                status: parts::status(&updated)?,
                ..draft_of(stored)
            };
            if updated.metadata() != old.metadata() {
                draft.metadata = parts::metadata(&updated)?;
            }
            parts::fit(kind, &draft, Some(stored))?;
            return Ok(if parts::same(&draft, stored) {
                Plan::Nothing
            } else {
                Plan::Replace(draft)
            });
        }
        metadata::carry_over(&mut object, old);
        if kind.info.has_status && part == Part::Main {
            object.set_status(old.status().cloned());
        }
        let now = clock::now();
        if owners == Owners::Record {
            ownership::changed(kind, part, old, &mut object, writer, now);
        }
        let mut admission = Admission {
            now,
            user: &writer.user,
            access: &self.authorizer,
            objects: self,
            revealed: None,
        };
        self.admit_owners(kind, &object, old, writer)?;
        kind.strategy
            .prepare_update(&mut object, old, &mut admission)?;
        if part == Part::Whole {
            kind.strategy
                .prepare_status(&mut object, old, &mut admission)?;
        }
        if kind.strategy.generation() == Generation::Counted {
            let bump = i64::from(!object.same_body(old));
            object.set_generation(old.generation().max(1) + bump);
        }
        self.check(kind, &object, Some(old))?;
        let ends = object.is_deleting() && object.finalizers().next().is_none();
        let mut draft = parts::draft(stored.key.clone(), object)?;
        if kind.info.has_status && part == Part::Main {
            draft.status = stored.status.clone();
        }
        parts::fit(kind, &draft, Some(stored))?;
        Ok(match (ends, parts::same(&draft, stored)) {
            (true, _) => Plan::Remove(draft),
            (false, true) => Plan::Nothing,
            (false, false) => Plan::Replace(draft),
        })
    }

    async fn commit(
        &self,
        kind: &Kind,
        stored: &Arc<Stored>,
        plan: Plan,
        dry_run: DryRun,
        writer: &Writer,
    ) -> Result<State, WriteError> {
        let expected = stored.revision;
        let mut deed = Deed::Update;
        let change = match plan {
            Plan::Nothing => return Ok(State::Stored(Arc::clone(stored))),
            Plan::Replace(draft) | Plan::Remove(draft) if dry_run == DryRun::All => {
                let would_be = stored_of(draft, stored);
                return Ok(State::Object(parts::object(kind, &would_be)));
            }
            Plan::Replace(draft) => {
                if draft.status != stored.status && draft.body == stored.body {
                    deed = Deed::UpdateStatus;
                }
                if draft.metadata == stored.metadata && draft.body == stored.body {
                    Change::Status {
                        key: draft.key,
                        uid: draft.uid,
                        status: draft.status,
                        expected: Some(expected),
                    }
                } else {
                    Change::Replace { draft, expected }
                }
            }
            Plan::Remove(draft) => {
                let change = Change::Delete {
                    key: draft.key.clone(),
                    uid: Some(draft.uid),
                    expected: Some(expected),
                };
                let last = stored_of(draft, stored);
                self.put(kind, Deed::Delete, change, writer).await?;
                return Ok(State::Stored(Arc::new(last)));
            }
        };
        let written = self.put(kind, deed, change, writer).await?;
        Ok(State::Stored(written.stored))
    }
}

/// The state of an object as something to be written.
pub(super) fn draft_of(stored: &Stored) -> Draft {
    Draft {
        key: stored.key.clone(),
        uid: stored.uid,
        generation: stored.generation,
        labels: Arc::clone(&stored.labels),
        metadata: stored.metadata.clone(),
        body: stored.body.clone(),
        status: stored.status.clone(),
    }
}

/// What would be stored, at the revision of what is.
fn stored_of(draft: Draft, stored: &Stored) -> Stored {
    let Draft {
        key,
        uid,
        generation,
        labels,
        metadata,
        body,
        status,
    } = draft;
    Stored {
        key,
        uid,
        generation,
        labels,
        metadata,
        body,
        status,
        revision: stored.revision,
        digest: stored.digest,
    }
}

fn parse_revision(kind: &Kind, object: &Object, text: &str) -> Result<Revision> {
    match text.parse::<i64>() {
        Ok(number) if number >= 0 => Ok(Revision(number)),
        _ => Err(metadata::version_malformed(kind, object)),
    }
}
