//! Brings one object to what its manifest declares.

use koinon_api::work::{ServerSideApplyConfig, UpdateStrategy, UpdateStrategyType};
use serde_json::{Value, json};

use super::{
    diff,
    ignore::Ignored,
    plan::{Object, Ownership, Treatment},
    rival::{Rival, rival},
    update::{self, Decision, Known, Otherwise, Owner, references},
};
use crate::{
    cluster::{Cluster, Error, Resource, Result, refused},
    policy::Refusal,
};

/// How often a conflict with another writer is retried at once.
const TRIES: u32 = 4;

/// What is remembered of an object between two looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) known: Known,
    /// `resourceVersion` that was examined last.
    pub(super) version: String,
    /// How it was applied: what another strategy, or other fields to leave alone, let be is not what the server made of the manifest.
    strategy: u64,
}

/// How an object was found or made.
#[derive(Debug)]
pub(super) struct Applied {
    /// The object, unless it does not exist.
    pub(super) live: Option<Value>,
    /// Number of writes that it took.
    pub(super) writes: u32,
    /// Something was sent, even if the server found that it changes nothing.
    pub(super) sent: bool,
    /// It was not there before.
    pub(super) created: bool,
    /// Whose change was undone, by the name of the manager.
    pub(super) rival: Option<Rival>,
}

/// Applies the manifests of one work.
#[derive(Debug)]
pub(super) struct Applier<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) owner: &'a Owner,
    /// None of the objects is expected to exist: try to create before reading.
    pub(super) fresh: bool,
    pub(super) may: &'a May,
}

/// What the member's policies say of one object.
#[derive(Debug)]
pub(super) struct May {
    pub(super) create: std::result::Result<(), Refusal>,
    pub(super) update: std::result::Result<(), Refusal>,
    pub(super) delete: std::result::Result<(), Refusal>,
}

impl May {
    pub(super) fn create(&self) -> Result<()> {
        self.create.clone().map_err(forbidden)
    }

    pub(super) fn update(&self) -> Result<()> {
        self.update.clone().map_err(forbidden)
    }
}

fn forbidden(refusal: Refusal) -> Error {
    refused(403, "Forbidden", refusal.to_string())
}

impl Applier<'_> {
    /// Applies one manifest by its strategy.
    pub(super) async fn apply(
        &self,
        object: &Object,
        resource: &Resource,
        treatment: &Treatment,
        ignored: &Ignored,
        ownership: Ownership,
        memory: &mut Option<Remembered>,
    ) -> Result<Applied> {
        let strategy = in_short(&treatment.strategy);
        memory.take_if(|memory| memory.strategy != strategy);
        let applied = match treatment.strategy.type_ {
            UpdateStrategyType::Update => {
                self.update(object, resource, ownership, memory.as_ref())
                    .await?
            }
            UpdateStrategyType::CreateOnly => self.create_only(object, resource, ownership).await?,
            UpdateStrategyType::ServerSideApply => {
                let default = ServerSideApplyConfig::default();
                let config = treatment
                    .strategy
                    .server_side_apply
                    .as_ref()
                    .unwrap_or(&default);
                let known = memory.as_ref().map(|m| &m.known);
                self.server_side(object, resource, (config, ignored), ownership, known)
                    .await?
            }
            UpdateStrategyType::ReadOnly => {
                let live = self
                    .cluster
                    .get(resource, &object.namespace, &object.name)
                    .await?;
                match live {
                    // What was applied before is let go, or it would still go with the work.
                    Some(live) if self.owner.owns(&live) => {
                        self.settle_owner(object, resource, ownership, live, 0)
                            .await?
                    }
                    live => Applied {
                        live,
                        writes: 0,
                        sent: false,
                        created: false,
                        rival: None,
                    },
                }
            }
        };
        *memory = applied.live.as_ref().map(|live| {
            let required = diff::fingerprint(&object.value);
            let content = match memory.take() {
                // What the server once made of this manifest stays acceptable until it is written again.
                Some(before) if !applied.sent && before.known.required == required => {
                    before.known.content
                }
                _ => diff::declared_fingerprint(&object.value, live),
            };
            Remembered {
                known: Known { required, content },
                version: version(live).to_owned(),
                strategy,
            }
        });
        Ok(applied)
    }

    /// Says whether to create before anything is read. Whoever may not create looks whether it is there.
    const fn expects_none(&self, attempt: u32) -> bool {
        self.fresh && attempt == 0 && self.may.create.is_ok()
    }

    async fn update(
        &self,
        object: &Object,
        resource: &Resource,
        ownership: Ownership,
        memory: Option<&Remembered>,
    ) -> Result<Applied> {
        let mut conflict = None;
        for attempt in 0..TRIES {
            let live = if self.expects_none(attempt) {
                None
            } else {
                self.cluster
                    .get(resource, &object.namespace, &object.name)
                    .await?
            };
            let Some(live) = live else {
                self.may.create()?;
                match self
                    .cluster
                    .create(
                        resource,
                        &object.namespace,
                        &update::creation(&object.value, self.owner, ownership),
                    )
                    .await
                {
                    Ok(live) => {
                        return Ok(Applied {
                            created: true,
                            ..Applied::made(live, 1)
                        });
                    }
                    Err(error) if error.is_already_exists() => {
                        conflict = Some(error);
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            };
            if is_terminating(&live) {
                return Err(terminating(object));
            }
            let known = memory.map(|m| &m.known);
            let decision = update::decide(&object.value, &live, self.owner, ownership, known);
            let Decision::Replace {
                object: replacement,
                otherwise,
            } = decision
            else {
                return Ok(Applied::made(live, 0));
            };
            self.may.update()?;
            let replaced = self.replace(
                object,
                resource,
                (&replacement, &otherwise),
                &live,
                ownership,
            );
            match replaced.await {
                Ok(written) => {
                    // The server may find that nothing changes; that undoes nobody's work.
                    let writes = u32::from(version(&written) != version(&live));
                    return Ok(Applied {
                        writes,
                        sent: true,
                        created: false,
                        rival: rival(&object.value, &live, &[], self.owner),
                        live: Some(written),
                    });
                }
                Err(error) if error.is_conflict() || error.is_not_found() => {
                    conflict = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(conflict.unwrap_or(Error::Timeout))
    }

    /// Replaces the object; if it refuses, tries what OCM does about immutable fields and what the server itself owns.
    async fn replace(
        &self,
        object: &Object,
        resource: &Resource,
        (replacement, otherwise): (&Value, &[Otherwise]),
        live: &Value,
        ownership: Ownership,
    ) -> Result<Value> {
        let refusal = match self
            .cluster
            .replace(resource, &object.namespace, &object.name, replacement)
            .await
        {
            Err(error) if error.is_invalid() || error.may_be_admission() => error,
            other => return other,
        };
        // As OCM does, and for Secrets only: others may have to be looked at by a person. It is a deletion, so whoever may not
        // delete the Secret with the work may not do it here, and has not been asked whether its executor may.
        if refusal.is_invalid()
            && resource.group.is_empty()
            && resource.plural == "secrets"
            && refusal.to_string().contains("field is immutable")
            && self.may.delete.is_ok()
            && ownership == Ownership::Owned
        {
            let mut again = replacement.clone();
            if let Some(metadata) = again.get_mut("metadata").and_then(Value::as_object_mut) {
                for field in [
                    "resourceVersion",
                    "uid",
                    "creationTimestamp",
                    "managedFields",
                    "selfLink",
                    "finalizers",
                ] {
                    metadata.remove(field);
                }
            }
            // Nothing is deleted for something that cannot be made.
            let judged = self
                .cluster
                .create_dry(resource, &object.namespace, &again)
                .await;
            if let Err(error) = judged
                && !error.is_already_exists()
            {
                return Err(error);
            }
            self.cluster
                .delete_seen(resource, &object.namespace, &object.name, live)
                .await?;
            return self
                .cluster
                .create(resource, &object.namespace, &again)
                .await;
        }
        let is_about_a_change = refusal.is_about_a_change();
        let is_invalid = refusal.is_invalid();
        let otherwise = otherwise.iter().filter_map(|otherwise| match otherwise {
            Otherwise::LaidOver(_) if !is_about_a_change => None,
            // Admission may have refused what an autoscaler asks for: no reason to take it away.
            Otherwise::Declared(_) if !is_invalid => None,
            otherwise => Some(otherwise.object()),
        });
        let mut last = None;
        for otherwise in otherwise {
            match self
                .cluster
                .replace(resource, &object.namespace, &object.name, otherwise)
                .await
            {
                Err(error) if error.is_invalid() || error.may_be_admission() => last = Some(error),
                other => return other,
            }
        }
        // Where something may not be changed, the words about what was laid over are about that alone: the first ones also miss what the
        // server had filled in. Else the first ones are about what was declared.
        Err(last.filter(|_| is_about_a_change).unwrap_or(refusal))
    }

    async fn create_only(
        &self,
        object: &Object,
        resource: &Resource,
        ownership: Ownership,
    ) -> Result<Applied> {
        for attempt in 0..TRIES {
            let live = if self.expects_none(attempt) {
                None
            } else {
                self.cluster
                    .get(resource, &object.namespace, &object.name)
                    .await?
            };
            let Some(live) = live else {
                self.may.create()?;
                match self
                    .cluster
                    .create(
                        resource,
                        &object.namespace,
                        &update::creation(&object.value, self.owner, ownership),
                    )
                    .await
                {
                    Ok(live) => {
                        return Ok(Applied {
                            created: true,
                            ..Applied::made(live, 1)
                        });
                    }
                    Err(error) if error.is_already_exists() => continue,
                    Err(error) => return Err(error),
                }
            };
            return self
                .settle_owner(object, resource, ownership, live, 0)
                .await;
        }
        Err(terminating(object))
    }

    /// Adds or removes our owner reference on an object whose content is settled.
    pub(super) async fn settle_owner(
        &self,
        object: &Object,
        resource: &Resource,
        ownership: Ownership,
        mut live: Value,
        writes: u32,
    ) -> Result<Applied> {
        let (namespace, name) = (object.namespace.as_str(), object.name.as_str());
        let mut attempt = 1;
        loop {
            let owners = self.owner.merged(&live, ownership);
            let is_settled = owners == references(&live) && !self.owner.is_awaited_by(&live);
            if is_settled || is_terminating(&live) {
                return Ok(Applied::made(live, writes));
            }
            self.may.update()?;
            let mut patch =
                json!({"metadata": {"ownerReferences": owners, "resourceVersion": version(&live)}});
            self.owner.unmark(&live, &mut patch);
            let settled = self.cluster.merge(resource, namespace, name, None, &patch);
            let conflict = match settled.await {
                Ok(live) => return Ok(Applied::made(live, writes + 1)),
                Err(error) if error.is_conflict() && attempt < TRIES => error,
                Err(error) => return Err(error),
            };
            // A controller has begun with an object that was made a moment ago.
            let uid = |live: &Value| live.pointer("/metadata/uid").cloned();
            let declared = |live: &Value| diff::declared_fingerprint(&object.value, live);
            let now = self.cluster.get(resource, namespace, name).await?;
            // What is declared and was changed is to be applied anew.
            let now = now.filter(|now| uid(now) == uid(&live) && declared(now) == declared(&live));
            live = now.ok_or(conflict)?;
            attempt += 1;
        }
    }
}

/// Tells strategies and their settings apart.
fn in_short(strategy: &UpdateStrategy) -> u64 {
    let fingerprint = diff::fingerprint(&json!(strategy));
    u64::try_from(fingerprint >> 64).expect("64 bits of it are left")
}

impl Applied {
    pub(super) fn made(live: Value, writes: u32) -> Self {
        Self {
            live: Some(live),
            writes,
            sent: writes > 0,
            created: false,
            rival: None,
        }
    }
}

/// Returns the `resourceVersion` of an object.
pub(super) fn version(object: &Value) -> &str {
    object
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

pub(super) fn is_terminating(live: &Value) -> bool {
    live.pointer("/metadata/deletionTimestamp").is_some()
}

pub(super) fn terminating(object: &Object) -> Error {
    refused(
        409,
        "Conflict",
        format!(
            "{} {:?} is being deleted in the cluster",
            object.kind, object.name
        ),
    )
}
