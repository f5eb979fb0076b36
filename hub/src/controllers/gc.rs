//! Garbage: objects whose owners are gone, and owners that wait for their dependents.
//!
//! Only objects with owner references are known here, so the cost follows them and not the size of the registry.

mod effects;
mod judge;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use koinon_machinery::{ApiError, Reason};
use koinon_store::{Event, Key, Stored};

use self::effects::{collect, part};
use super::{
    Context, decode,
    keyed::{Again, Keyed},
    queue::Queue,
};
use crate::registry::{Kinds, Propagation};

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
