//! Garbage: objects whose owners are gone, and owners that wait for their dependents.
//!
//! Only objects with owner references are known here, so the cost follows them and not the size of the registry.

mod judge;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use koinon_machinery::{ApiError, Object, Reason};
use koinon_store::{Event, Key, Stored};

use self::judge::{Owner, Verdict, Why, judge};
use super::{
    Context, decode,
    keyed::{Again, Keyed},
    queue::Queue,
};
use crate::registry::{
    DeleteOptions, Kind, Kinds, Options, Part, Preconditions, Propagation, Source, object_of,
};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
/// An object that changed while it was judged is judged anew after this.
const RETRY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Garbage {
    kinds: Kinds,
    /// Objects with owners.
    dependents: HashMap<Key, Dependent>,
    /// Dependents by the uid of an owner.
    by_owner: HashMap<String, BTreeSet<Key>>,
    /// Owners on their way out that wait for, or want to let go of, their dependents.
    leaving: HashMap<Key, Leaving>,
}

#[derive(Clone, Debug, PartialEq)]
struct Dependent {
    uid: String,
    owners: Vec<OwnerReference>,
}

/// What an object that may have to go has below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Below {
    Nothing,
    Dependents,
    /// Dependents one of which waits for its own: perhaps for the very object that is looked at.
    Waiting,
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
    Dependent(Key, Below),
    /// What an owner waits for.
    Owner {
        key: Key,
        uid: String,
        how: Propagation,
        dependents: Vec<(Key, Below)>,
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

    fn below(&self, key: &Key) -> Below {
        let uid = self.dependents.get(key).map(|dependent| &dependent.uid);
        let Some(keys) = uid.and_then(|uid| self.by_owner.get(uid)) else {
            return Below::Nothing;
        };
        let waits = |key: &Key| {
            let leaving = self.leaving.get(key);
            leaving.is_some_and(|leaving| leaving.how == Propagation::Foreground)
        };
        if keys.iter().any(waits) {
            Below::Waiting
        } else {
            Below::Dependents
        }
    }

    fn set_owners(
        &mut self,
        key: &Key,
        uid: &str,
        owners: Vec<OwnerReference>,
        queue: &mut Queue<Key>,
    ) {
        let old = self.dependents.remove(key);
        let old = old.map(|dependent| dependent.owners).unwrap_or_default();
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
            let dependent = Dependent {
                uid: uid.to_owned(),
                owners,
            };
            self.dependents.insert(key.clone(), dependent);
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
            self.set_owners(key, "", Vec::new(), queue);
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
                self.set_owners(key, "", Vec::new(), queue);
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
        let uid = after.uid.to_string();
        let known = match self.dependents.get(key) {
            Some(known) => known.uid == uid && known.owners == meta.owner_references,
            None => meta.owner_references.is_empty(),
        };
        if !known {
            self.set_owners(key, &uid, meta.owner_references, queue);
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
            let dependents = self.by_owner.get(uid).into_iter().flatten();
            return Some(Plan::Owner {
                key: key.clone(),
                uid: uid.clone(),
                how: *how,
                dependents: dependents
                    .map(|key| (key.clone(), self.below(key)))
                    .collect(),
            });
        }
        self.dependents
            .contains_key(key)
            .then(|| Plan::Dependent(key.clone(), self.below(key)))
    }

    fn carry_out<'a>(plan: Plan, context: &'a Context) -> BoxFuture<'a, Result<Again, ApiError>> {
        Box::pin(async move {
            let done = match plan {
                Plan::Dependent(key, below) => collect(&key, below, context).await,
                Plan::Owner {
                    key,
                    uid,
                    how,
                    dependents,
                } => part(&key, &uid, how, &dependents, context).await,
            };
            match done {
                Ok(()) => Ok(Again::OnChange),
                Err(error) if error.reason == Reason::NotFound => Ok(Again::OnChange),
                Err(error) if error.reason == Reason::Conflict => Ok(Again::In(RETRY)),
                Err(error) => Err(error),
            }
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
///
/// What is judged is what is written: the very state that was read, or nothing. One that was replaced or adopted
/// meanwhile is a `Conflict`.
async fn collect(key: &Key, below: Below, context: &Context) -> Result<(), ApiError> {
    let Some((kind, stored)) = find(key, context) else {
        return Ok(());
    };
    let meta = decode::Meta::of(&stored);
    let owners = &meta.owner_references;
    let states: Vec<Owner> = owners
        .iter()
        .map(|owner| state(key, owner, context))
        .collect();
    match judge(&states) {
        Verdict::Keep => Ok(()),
        Verdict::Delete(_) if meta.deleting() => Ok(()),
        Verdict::Delete(Why::Lost) => delete(&kind, &stored, own_choice(&meta), context).await,
        // Who waits for this one waits for what is below it, too.
        Verdict::Delete(Why::Awaited) => match below {
            Below::Nothing => delete(&kind, &stored, own_choice(&meta), context).await,
            Below::Dependents => delete(&kind, &stored, Propagation::Foreground, context).await,
            Below::Waiting => {
                // Two that wait for each other would wait for ever: this one blocks nobody any more, and goes when its change is seen.
                if unblock(&kind, &stored, context).await? {
                    return Err(ApiError::conflict(&kind.info, &key.name));
                }
                delete(&kind, &stored, Propagation::Foreground, context).await
            }
        },
        Verdict::Strip(lost) => {
            let lost: BTreeSet<&str> = lost
                .iter()
                .map(|index| owners[*index].uid.as_str())
                .collect();
            strip(&kind, &stored, &lost, context).await
        }
    }
}

/// How an object is deleted for which nobody waits: as it asked to be itself.
fn own_choice(meta: &decode::Meta) -> Propagation {
    if meta.has_finalizer(ORPHAN) {
        Propagation::Orphan
    } else if meta.has_finalizer(FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    }
}

/// Lets no owner wait for this object; says whether any would have.
async fn unblock(kind: &Kind, stored: &Stored, context: &Context) -> Result<bool, ApiError> {
    let mut any = false;
    change(kind, stored, context, |object| {
        let mut owners = object.owner_references();
        for owner in &mut owners {
            any |= owner.block_owner_deletion == Some(true);
            owner.block_owner_deletion = owner.block_owner_deletion.map(|_| false);
        }
        object.set_owner_references(&owners);
        any
    })
    .await?;
    Ok(any)
}

/// How an owner stands. Nobody can tell of one whose kind is not served here, or that would have to be in a namespace
/// when its dependent is in none.
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
        return Owner::Unknown;
    };
    if kind.info.namespaced && dependent.namespace.is_empty()
        // What is shown and not stored cannot be looked up.
        || kind.strategy.source() != Source::Store
    {
        return Owner::Unknown;
    }
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
    dependents: &[(Key, Below)],
    context: &Context,
) -> Result<(), ApiError> {
    let finalizer = if how == Propagation::Orphan {
        ORPHAN
    } else {
        FOREGROUND
    };
    let mut moved = None;
    for (dependent, below) in dependents {
        let done = if how == Propagation::Orphan {
            match find(dependent, context) {
                Some((kind, stored)) => {
                    strip(&kind, &stored, &BTreeSet::from([uid]), context).await
                }
                None => Ok(()),
            }
        } else {
            collect(dependent, *below, context).await
        };
        match done {
            Err(error) if error.reason == Reason::NotFound => {}
            // The others need not wait for the one that changed under our hands.
            Err(error) if error.reason == Reason::Conflict => moved = Some(error),
            done => done?,
        }
    }
    if let Some(error) = moved {
        return Err(error);
    }
    if how != Propagation::Orphan
        && dependents
            .iter()
            .any(|(dependent, _)| blocks(dependent, key, uid, context))
    {
        return Ok(());
    }
    let Some((kind, stored)) =
        find(key, context).filter(|(_, stored)| stored.uid.to_string() == uid)
    else {
        return Ok(());
    };
    change(&kind, &stored, context, |object| {
        object.remove_finalizer(finalizer)
    })
    .await
}

/// Whether an owner has to wait for this dependent.
fn blocks(dependent: &Key, owner: &Key, uid: &str, context: &Context) -> bool {
    // What is in no namespace, or in another, was never this owner's to take along.
    let within = owner.namespace.is_empty() || owner.namespace == dependent.namespace;
    let names = |stored: &Arc<Stored>| {
        decode::Meta::of(stored)
            .owner_references
            .iter()
            .any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
    };
    within
        && context
            .client
            .store()
            .get(dependent)
            .as_ref()
            .is_some_and(names)
}

async fn strip(
    kind: &Kind,
    stored: &Stored,
    lost: &BTreeSet<&str>,
    context: &Context,
) -> Result<(), ApiError> {
    change(kind, stored, context, |object| {
        let mut owners = object.owner_references();
        let before = owners.len();
        owners.retain(|owner| !lost.contains(owner.uid.as_str()));
        object.set_owner_references(&owners);
        owners.len() < before
    })
    .await
}

/// Deletes exactly this state of an object.
async fn delete(
    kind: &Kind,
    stored: &Stored,
    how: Propagation,
    context: &Context,
) -> Result<(), ApiError> {
    let preconditions = Preconditions {
        uid: Some(stored.uid.to_string()),
        resource_version: Some(stored.revision.to_string()),
    };
    let options = DeleteOptions {
        preconditions,
        propagation: Some(how),
        ..DeleteOptions::default()
    };
    let registry = context.client.registry();
    registry
        .delete(kind, &stored.key, &options, &context.writer)
        .await
        .map(drop)
}

/// Changes exactly this state of an object.
async fn change(
    kind: &Kind,
    stored: &Stored,
    context: &Context,
    change: impl FnOnce(&mut Object) -> bool,
) -> Result<(), ApiError> {
    let mut object = object_of(kind, stored);
    if !change(&mut object) {
        return Ok(());
    }
    let registry = context.client.registry();
    registry
        .update(
            kind,
            &stored.key,
            object,
            Part::Main,
            Options::default(),
            &context.writer,
        )
        .await
        .map(drop)
}

fn find(key: &Key, context: &Context) -> Option<(Arc<Kind>, Arc<Stored>)> {
    let kind = context.client.registry().kinds().by_key(&key.resource)?;
    Some((Arc::clone(kind), context.client.store().get(key)?))
}
