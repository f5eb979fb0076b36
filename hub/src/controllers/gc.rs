//! Garbage: objects whose owners are gone, and owners that wait for their dependents.
//!
//! Only objects with owner references are known here, so the cost follows them and not the size of the registry.

mod judge;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use koinon_machinery::{ApiError, Object, Reason};
use koinon_store::{Event, Key, Stored};

use self::judge::{Owner, Verdict, judge};
use super::{
    Context, decode,
    keyed::{Again, Keyed},
    queue::Queue,
};
use crate::registry::{
    DeleteOptions, Kind, Kinds, Options, Part, Preconditions, Propagation, object_of,
};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

#[derive(Debug)]
pub(super) struct Garbage {
    kinds: Kinds,
    /// Owner references by dependent.
    dependents: HashMap<Key, Vec<OwnerReference>>,
    /// Dependents by the uid of an owner.
    by_owner: HashMap<String, BTreeSet<Key>>,
    /// Owners on their way out that wait for, or want to let go of, their dependents.
    leaving: HashMap<Key, Leaving>,
}

#[derive(Clone, Debug, PartialEq)]
struct Leaving {
    uid: String,
    how: Propagation,
}

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plan {
    /// Whether this object still has an owner.
    Dependent {
        key: Key,
        owners: Vec<OwnerReference>,
    },
    /// What an owner waits for; each dependent with whether it blocks.
    Owner {
        key: Key,
        uid: String,
        how: Propagation,
        dependents: Vec<(Key, bool)>,
    },
}

impl Garbage {
    pub(super) fn new(kinds: &Kinds) -> Self {
        Self {
            kinds: kinds.clone(),
            dependents: HashMap::new(),
            by_owner: HashMap::new(),
            leaving: HashMap::new(),
        }
    }

    fn mark_dependents(&self, uid: &str, queue: &mut Queue<Key>) {
        self.by_owner
            .get(uid)
            .into_iter()
            .flatten()
            .for_each(|key| queue.add(key.clone()));
    }

    fn set_owners(&mut self, key: &Key, owners: Vec<OwnerReference>, queue: &mut Queue<Key>) {
        let old = self.dependents.remove(key).unwrap_or_default();
        for owner in &old {
            if let Some(keys) = self.by_owner.get_mut(&owner.uid) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_owner.remove(&owner.uid);
                }
            }
        }
        if !old.is_empty() {
            // An owner that waits for its dependents may have lost the last one.
            let waiting = |leaving: &Leaving| old.iter().any(|owner| owner.uid == leaving.uid);
            self.leaving
                .iter()
                .filter(|(_, leaving)| waiting(leaving))
                .for_each(|(key, _)| queue.add(key.clone()));
        }
        for owner in &owners {
            self.by_owner
                .entry(owner.uid.clone())
                .or_default()
                .insert(key.clone());
        }
        if !owners.is_empty() {
            self.dependents.insert(key.clone(), owners);
        }
    }
}

impl Keyed for Garbage {
    type Key = Key;
    type Plan = Plan;

    fn resources(&self) -> Vec<Arc<str>> {
        self.kinds
            .iter()
            .map(|kind| Arc::clone(&kind.key))
            .collect()
    }

    fn reset(&mut self) {
        *self = Self::new(&self.kinds);
    }

    fn observe(&mut self, event: &Event, queue: &mut Queue<Key>) {
        let stored = event.latest();
        let key = &stored.key;
        let Some(after) = event.after.as_deref() else {
            self.set_owners(key, Vec::new(), queue);
            self.leaving.remove(key);
            self.mark_dependents(&stored.uid.to_string(), queue);
            return;
        };
        let replaced = event
            .before
            .as_ref()
            .filter(|before| before.uid != after.uid);
        if let Some(before) = replaced {
            self.mark_dependents(&before.uid.to_string(), queue);
        }
        if !mentions(after, "ownerReferences")
            && !mentions(after, FOREGROUND)
            && !mentions(after, ORPHAN)
        {
            self.leaving.remove(key);
            if self.dependents.contains_key(key) {
                self.set_owners(key, Vec::new(), queue);
            }
            return;
        }
        let meta = decode::Meta::of(after);
        let how = match meta
            .finalizers
            .iter()
            .find(|one| *one == FOREGROUND || *one == ORPHAN)
        {
            Some(one) if meta.deleting() && one == ORPHAN => Some(Propagation::Orphan),
            Some(_) if meta.deleting() => Some(Propagation::Foreground),
            _ => None,
        };
        if let Some(how) = how {
            let leaving = Leaving {
                uid: after.uid.to_string(),
                how,
            };
            if self.leaving.get(key) != Some(&leaving) {
                self.mark_dependents(&leaving.uid, queue);
                self.leaving.insert(key.clone(), leaving);
            }
            queue.add(key.clone());
        } else {
            self.leaving.remove(key);
        }
        let known = self
            .dependents
            .get(key)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if known != meta.owner_references {
            self.set_owners(key, meta.owner_references, queue);
            queue.add(key.clone());
        }
    }

    fn mark_all(&self, queue: &mut Queue<Key>) {
        self.dependents
            .keys()
            .chain(self.leaving.keys())
            .for_each(|key| queue.add(key.clone()));
    }

    fn decide(&mut self, key: &Key, _: Timestamp) -> Option<Plan> {
        if let Some(Leaving { uid, how }) = self.leaving.get(key) {
            let dependents = self
                .by_owner
                .get(uid)
                .into_iter()
                .flatten()
                .map(|dependent| {
                    let owners = self.dependents.get(dependent).into_iter().flatten();
                    let mut own = owners.filter(|owner| owner.uid == *uid);
                    (
                        dependent.clone(),
                        own.any(|owner| owner.block_owner_deletion == Some(true)),
                    )
                });
            let dependents = dependents.collect();
            return Some(Plan::Owner {
                key: key.clone(),
                uid: uid.clone(),
                how: *how,
                dependents,
            });
        }
        let owners = self.dependents.get(key)?.clone();
        Some(Plan::Dependent {
            key: key.clone(),
            owners,
        })
    }

    fn carry_out<'a>(plan: Plan, context: &'a Context) -> BoxFuture<'a, Result<Again, ApiError>> {
        Box::pin(async move {
            match plan {
                Plan::Dependent { key, owners } => collect(&key, &owners, context).await?,
                Plan::Owner {
                    key,
                    uid,
                    how,
                    dependents,
                } => part(&key, &uid, how, dependents, context).await?,
            }
            Ok(Again::OnChange)
        })
    }
}

/// A cheap look before the metadata is parsed; a false positive costs a parse.
fn mentions(stored: &Stored, word: &str) -> bool {
    stored
        .metadata
        .windows(word.len())
        .any(|window| window == word.as_bytes())
}

/// Deletes a dependent that has no owner left, or takes references to lost owners off.
async fn collect(key: &Key, owners: &[OwnerReference], context: &Context) -> Result<(), ApiError> {
    let states: Vec<Owner> = owners
        .iter()
        .map(|owner| state(key, owner, context))
        .collect();
    match judge(&states) {
        Verdict::Keep => Ok(()),
        Verdict::Delete => delete(key, Propagation::Background, context).await,
        Verdict::Strip(lost) => {
            let lost: BTreeSet<&str> = lost
                .iter()
                .map(|index| owners[*index].uid.as_str())
                .collect();
            strip(key, &lost, context).await
        }
    }
}

/// How an owner stands; one of a kind that is not served here counts as there, for nobody can tell.
fn state(dependent: &Key, owner: &OwnerReference, context: &Context) -> Owner {
    let (group, version) = owner
        .api_version
        .split_once('/')
        .unwrap_or(("", &owner.api_version));
    let kinds = context.client.registry().kinds();
    let kind = kinds.iter().find(|kind| {
        kind.info.kind == owner.kind
            && kind.info.group == group
            && (version.is_empty() || kind.info.version == version)
    });
    let Some(kind) = kind else {
        return Owner::Present;
    };
    let namespace = if kind.info.namespaced {
        Arc::clone(&dependent.namespace)
    } else {
        "".into()
    };
    let key = Key {
        resource: Arc::clone(&kind.key),
        namespace,
        name: owner.name.as_str().into(),
    };
    match context
        .client
        .store()
        .get(&key)
        .filter(|stored| stored.uid.to_string() == owner.uid)
    {
        None => Owner::Absent,
        Some(stored) => {
            let meta = decode::Meta::of(&stored);
            if meta.deleting() && meta.has_finalizer(FOREGROUND) {
                Owner::Waiting
            } else {
                Owner::Present
            }
        }
    }
}

/// Serves an owner on its way out, and lets it go once nothing holds it.
async fn part(
    key: &Key,
    uid: &str,
    how: Propagation,
    dependents: Vec<(Key, bool)>,
    context: &Context,
) -> Result<(), ApiError> {
    let finalizer = if how == Propagation::Orphan {
        ORPHAN
    } else {
        FOREGROUND
    };
    for (dependent, _) in &dependents {
        if how == Propagation::Orphan {
            strip(dependent, &BTreeSet::from([uid]), context).await?;
        } else {
            delete(dependent, Propagation::Background, context).await?;
        }
    }
    if how != Propagation::Orphan
        && dependents
            .iter()
            .any(|(dependent, blocks)| *blocks && exists(dependent, context))
    {
        return Ok(());
    }
    change(key, context, |object| {
        object.uid() == uid && object.remove_finalizer(finalizer)
    })
    .await
}

fn exists(key: &Key, context: &Context) -> bool {
    context.client.store().get(key).is_some()
}

async fn strip(key: &Key, lost: &BTreeSet<&str>, context: &Context) -> Result<(), ApiError> {
    change(key, context, |object| {
        let mut owners = object.owner_references();
        let before = owners.len();
        owners.retain(|owner| !lost.contains(owner.uid.as_str()));
        object.set_owner_references(&owners);
        owners.len() < before
    })
    .await
}

async fn delete(key: &Key, propagation: Propagation, context: &Context) -> Result<(), ApiError> {
    let Some((kind, stored)) = find(key, context) else {
        return Ok(());
    };
    if decode::Meta::of(&stored).deleting() {
        return Ok(());
    }
    let preconditions = Preconditions {
        uid: Some(stored.uid.to_string()),
        resource_version: None,
    };
    let options = DeleteOptions {
        preconditions,
        propagation: Some(propagation),
        ..DeleteOptions::default()
    };
    match context
        .client
        .registry()
        .delete(&kind, key, &options, &context.writer)
        .await
    {
        Err(error) if error.reason == Reason::NotFound => Ok(()),
        done => done.map(drop),
    }
}

/// Changes an object of any kind, if it is still there; a conflict is for the next run.
async fn change(
    key: &Key,
    context: &Context,
    change: impl FnOnce(&mut Object) -> bool,
) -> Result<(), ApiError> {
    let Some((kind, stored)) = find(key, context) else {
        return Ok(());
    };
    let registry = context.client.registry();
    let mut object = object_of(&kind, &stored);
    if !change(&mut object) {
        return Ok(());
    }
    match registry
        .update(
            &kind,
            key,
            object,
            Part::Main,
            Options::default(),
            &context.writer,
        )
        .await
    {
        Err(error) if error.reason == Reason::NotFound => Ok(()),
        done => done.map(drop),
    }
}

fn find(key: &Key, context: &Context) -> Option<(Arc<Kind>, Arc<Stored>)> {
    let kind = context.client.registry().kinds().by_key(&key.resource)?;
    Some((Arc::clone(kind), context.client.store().get(key)?))
}
