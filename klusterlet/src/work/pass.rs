//! One look of an actor at its work: applies the manifests that are in scope and remembers what came of it.

mod locate;
mod slot;
mod twice;

pub(super) use slot::{Slot, Stake};
pub(super) use twice::firsts;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use koinon_api::{
    applied::AppliedManifestResourceMeta,
    labels::{
        annotation, condition,
        reason::{manifest as reason, rule},
    },
    meta::Truth,
    policy::PolicyVerb,
    work::{ManifestWorkSpec, UpdateStrategyType},
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Shared,
    apply::{Applied, Applier, May, Remembered, version},
    complete::Completed,
    executor::{self, Denial, Rights, Without},
    ignore::Ignored,
    plan::{self, Manifest, Object, Ownership, Treatment},
    planned::Place,
    rival::other_work,
    status::{Feedback, Meta, NotApplied, Outcome, Presence},
    update::Owner,
};
use crate::{
    cluster::{Cluster, Error, ObjectKey, Resource, Wake, refused},
    feedback::{self, Derived},
    policy::Judge,
};

/// How long the custom resources of a work wait for the definitions that the same work brings, all together.
pub(super) const DEFINITION_PATIENCE: Duration = Duration::from_secs(10);

/// What `Available` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Availability {
    /// The object does what it is for, as far as its kind tells.
    Ready,
    /// It exists: what OCM means.
    Exists,
}

impl Availability {
    /// Reads what a work means.
    pub(super) fn of(directives: &BTreeMap<String, String>) -> Self {
        match directives.get(annotation::AVAILABILITY).map(String::as_str) {
            Some("exists") => Self::Exists,
            _ => Self::Ready,
        }
    }
}

/// Why an object was not applied.
enum Failure {
    /// By the agent itself.
    Refused(NotApplied),
    /// By the API server, or it did not answer.
    Server(Error),
    /// The member or the executor does not allow it, or nobody knows whether they do: the object is not even looked at.
    Withheld(Error),
}

impl From<Failure> for NotApplied {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal,
            Failure::Server(error) | Failure::Withheld(error) => Self::failed(error),
        }
    }
}

/// The surroundings of one pass.
pub(super) struct Pass<'a> {
    pub(super) judge: &'a Judge,
    pub(super) shared: &'a Shared,
    pub(super) work: &'a str,
    pub(super) wake: &'a Arc<Wake>,
    pub(super) spec: &'a ManifestWorkSpec,
    pub(super) manifests: &'a [Manifest],
    pub(super) owner: &'a Owner,
    pub(super) fresh: bool,
    pub(super) completed: &'a Completed,
    /// What the work owned before this pass.
    pub(super) recorded: &'a BTreeSet<Place>,
    /// What is remembered of the objects.
    pub(super) memory: &'a Mutex<BTreeMap<ObjectKey, Remembered>>,
    /// Group and kind of definitions of the work that could not be applied.
    pub(super) undefined: Mutex<BTreeSet<(String, String)>>,
    /// Resources of which the API server gave no answer in time: no more of them in this pass.
    pub(super) stalled: Mutex<BTreeSet<Arc<Resource>>>,
    /// Until when kinds are waited for that the work itself brings.
    pub(super) patience: Instant,
    pub(super) availability: Availability,
    /// Nothing is applied: the objects are left alone for a while.
    pub(super) glances: bool,
}

/// A manifest whose object has a place in the cluster.
pub(super) struct Located<'a> {
    pub(super) ordinal: usize,
    object: Cow<'a, Object>,
    pub(super) key: ObjectKey,
    treatment: Treatment,
    ownership: Ownership,
}

impl Located<'_> {
    /// The object as it is recorded; its uid is not known yet.
    pub(super) fn applied(&self) -> AppliedManifestResourceMeta {
        plan::recorded(&self.object, &self.key.resource)
    }

    /// The manifest has a rule that says when it is complete.
    fn completes(&self) -> bool {
        feedback::may_derive(
            &self.treatment.conditions,
            condition::COMPLETE,
            &self.object.value,
        )
    }

    fn stake(&self) -> Stake {
        Stake::of(&self.treatment, self.ownership)
    }

    /// A slot for an object that was not even tried to be applied.
    pub(super) fn refused(self, error: &Error) -> Slot {
        let (completes, stake) = (self.completes(), self.stake());
        let outcome = Outcome {
            meta: Meta::Known(place(self.ordinal), self.key),
            applied: Err(NotApplied::failed(error)),
            presence: Presence::Unknown(error.to_string()),
            feedback: Feedback::default(),
            derived: Vec::new(),
        };
        Slot {
            outcome,
            uid: Box::default(),
            unmapped: None,
            writes: 0,
            created: false,
            completes,
            stake,
            rival: None,
            perhaps_made: false,
            homeless: false,
        }
    }
}

impl Pass<'_> {
    /// Applies one object; returns its manifest's place in the work as well.
    pub(super) async fn apply(&self, located: Located<'_>) -> (usize, Slot) {
        if self.stalled.lock().contains(&located.key.resource) {
            return (located.ordinal, located.refused(&Error::Timeout));
        }
        let mut uid = Box::default();
        let (completes, stake) = (located.completes(), located.stake());
        let Located {
            ordinal,
            object,
            key,
            treatment,
            ownership,
        } = located;
        let object = object.as_ref();
        let resource = key.resource.clone();
        let may = |verb| self.judge.allows(&resource, &object.value, Some(verb));
        let may = May {
            create: may(PolicyVerb::Create),
            update: may(PolicyVerb::Update),
            delete: may(PolicyVerb::Delete),
        };
        let permitted = self
            .permitted(object, &resource, &treatment, ownership)
            .await;
        // Whoever may not see an object does not learn of it by the agent's eyes.
        let client = permitted.as_ref().ok().cloned();
        let client = client.unwrap_or_else(|| self.shared.cluster.clone());
        let mut remembered = self.memory.lock().remove(&key);
        let ignored = treatment
            .strategy
            .server_side_apply
            .as_ref()
            .filter(|_| treatment.strategy.type_ == UpdateStrategyType::ServerSideApply)
            .map_or_else(
                || Ok(Ignored::default()),
                |config| Ignored::of(&config.ignore_fields, &object.value),
            );
        let result = if let Err(refusal) = permitted {
            Err(refusal)
        } else if let Err(error) = &ignored {
            Err(Failure::Refused(NotApplied {
                reason: reason::SSA_IGNORE_FIELD_ERROR,
                message: format!("Failed to process ignoreFields: {error}"),
            }))
        } else if self.completed.freezes(&key)
            && !self.completed.has(&key)
            && !self.is_recorded(&key)
        {
            Err(Failure::Refused(NotApplied::failed(
                "the work is complete, nothing of it is applied any more",
            )))
        } else if self.completed.freezes(&key) || self.glances {
            let live = client.get(&resource, &object.namespace, &object.name).await;
            live.map(|live| Applied {
                rival: live.as_ref().and_then(|live| other_work(live, self.owner)),
                live,
                writes: 0,
                sent: false,
                created: false,
            })
            .map_err(Failure::Server)
        } else if resource.namespaced && object.namespace.is_empty() {
            Err(Failure::Server(refused(
                400,
                "BadRequest",
                "an empty namespace may not be set during creation".to_owned(),
            )))
        } else {
            let applier = Applier {
                cluster: &client,
                owner: self.owner,
                fresh: self.fresh,
                may: &may,
            };
            let ignored = ignored.unwrap_or_default();
            loop {
                match applier
                    .apply(
                        object,
                        &resource,
                        &treatment,
                        &ignored,
                        ownership,
                        &mut remembered,
                    )
                    .await
                {
                    // Its definition is accepted a moment before its URLs are served.
                    Err(error) if error.is_not_found() && self.awaits(object) => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    result => break result.map_err(Failure::Server),
                }
            }
        };
        if matches!(&result, Err(Failure::Server(Error::Timeout))) {
            self.stalled.lock().insert(resource.clone());
        }
        let (mut rival, mut created) = (None, false);
        let homeless = matches!(&result, Err(Failure::Server(error)) if error.is_not_found() || error.is_terminating());
        let done = match &result {
            Ok(_) => true,
            Err(Failure::Server(error)) => !error.is_denial(),
            Err(Failure::Refused(_) | Failure::Withheld(_)) => false,
        };
        let (live, error, writes) = match result {
            Ok(result) => {
                (rival, created) = (result.rival, result.created);
                (Some(Ok(result.live)), None, result.writes)
            }
            Err(error @ Failure::Withheld(_)) => (None, Some(error), 0),
            Err(error) => {
                if matches!(&error, Failure::Server(error) if error.is_not_found()) {
                    self.shared.mapper.forget(&resource);
                }
                let live = client.get(&resource, &object.namespace, &object.name).await;
                (Some(live), Some(error), 0)
            }
        };
        let (presence, feedback, mut derived) = match &live {
            Some(Ok(Some(live))) => {
                let text = live.pointer("/metadata/uid").and_then(Value::as_str);
                uid = text.unwrap_or_default().into();
                let (values, error) =
                    feedback::read(&treatment.feedback, live, self.shared.raw_json);
                (
                    Presence::Present,
                    Feedback {
                        asked: !treatment.feedback.is_empty(),
                        values,
                        error,
                    },
                    self.derived(&treatment, live),
                )
            }
            Some(Ok(None)) => (Presence::Missing, Feedback::default(), Vec::new()),
            None => (Presence::Withheld, Feedback::default(), Vec::new()),
            Some(Err(error)) => (
                Presence::Unknown(error.to_string()),
                Feedback::default(),
                Vec::new(),
            ),
        };
        if self.completed.has(&key) && !derived.iter().any(|d| d.kind == condition::COMPLETE) {
            // It was cleaned up since; that does not undo it.
            derived.push(Derived {
                kind: condition::COMPLETE.to_owned(),
                truth: Truth::True,
                reason: rule::EVALUATED,
                message: "Manifest is Complete".to_owned(),
            });
        }
        let seen = live.as_ref().and_then(|live| live.as_ref().ok());
        let seen = seen.and_then(Option::as_ref);
        self.shared.watches.seen(self.work, &key, seen.map(version));
        let is_own = seen.is_some_and(|live| self.owner.owns(live));
        if error.is_none()
            && let Some(remembered) = remembered
        {
            self.memory.lock().insert(key.clone(), remembered);
        }
        if error.is_some()
            && let Some(defined) = defines(object)
        {
            self.undefined.lock().insert(defined);
        }
        let outcome = Outcome {
            meta: Meta::Known(place(ordinal), key),
            applied: error.map_or(Ok(()), |failure| Err(failure.into())),
            presence,
            feedback,
            derived,
        };
        let slot = Slot {
            outcome,
            uid,
            unmapped: None,
            writes,
            created,
            completes,
            stake,
            rival,
            perhaps_made: done || is_own,
            homeless,
        };
        (ordinal, slot)
    }

    /// Checks that the member and the executor allow it; returns the client to look and to apply with.
    async fn permitted(
        &self,
        object: &Object,
        resource: &Resource,
        treatment: &Treatment,
        ownership: Ownership,
    ) -> Result<Cluster, Failure> {
        let forbidden = |message: String| Failure::Withheld(refused(403, "Forbidden", message));
        self.judge
            .allows(resource, &object.value, None)
            .map_err(|refusal| forbidden(refusal.to_string()))?;
        let executing = self.shared.executing;
        let Some(account) = executor::account(self.spec.executor.as_ref()).map_err(forbidden)?
        else {
            return match executing.without {
                Without::Allowed => Ok(self.shared.cluster.clone()),
                Without::Refused => Err(forbidden(
                    "this cluster applies no work without an executor".to_owned(),
                )),
            };
        };
        let acting = self.shared.cluster.acting_as(&account);
        if executing.rights == Rights::Account {
            return Ok(acting);
        }
        let strategy = treatment.strategy.type_;
        let checked = self
            .shared
            .executors
            .check(&account, object, resource, strategy, ownership);
        match checked.await {
            Ok(()) if executor::is_judged_by_content(resource) => Ok(acting),
            Ok(()) => Ok(self.shared.cluster.clone()),
            Err(Denial::Hidden(message)) => Err(forbidden(message)),
            Err(Denial::Denied(message)) => {
                Err(Failure::Server(refused(403, "Forbidden", message)))
            }
            Err(Denial::Unknown(error)) => Err(Failure::Withheld(error)),
        }
    }

    fn is_recorded(&self, key: &ObjectKey) -> bool {
        let place = (
            key.resource.group.clone(),
            key.resource.plural.clone(),
            key.namespace.clone(),
            key.name.clone(),
        );
        self.recorded.contains(&place)
    }

    /// Derives conditions: what the work's rules say, then what the kind says of itself.
    fn derived(&self, treatment: &Treatment, live: &Value) -> Vec<Derived> {
        let mut derived = feedback::derive(&treatment.conditions, live);
        if self.availability == Availability::Ready {
            for own in feedback::assess(live).conditions() {
                if !derived.iter().any(|rule| rule.kind == own.kind) {
                    derived.push(own);
                }
            }
        }
        derived
    }
}

/// A place in a work as it is reported.
fn place(ordinal: usize) -> i32 {
    i32::try_from(ordinal).unwrap_or(i32::MAX)
}

/// Group and kind that an object defines, if it is a definition.
fn defines(object: &Object) -> Option<(String, String)> {
    let text = |pointer: &str| Some(object.value.pointer(pointer)?.as_str()?.to_owned());
    (object.kind == "CustomResourceDefinition")
        .then(|| Some((text("/spec/group")?, text("/spec/names/kind")?)))
        .flatten()
}

#[cfg(test)]
mod tests;
