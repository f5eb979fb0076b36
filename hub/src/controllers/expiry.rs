//! Objects that are deleted at a moment of their own.

use std::{collections::BTreeMap, marker::PhantomData, sync::Arc};

use futures::future::BoxFuture;
use jiff::Timestamp;
use koinon_machinery::ApiError;
use koinon_store::{Event, Stored};
use tokio::time::Instant;

use super::{
    Context,
    keyed::{Again, Keyed, gone_is_fine},
    queue::Queue,
    until,
};
use crate::{
    clock,
    registry::{Preconditions, Typed},
};

pub(super) mod events;
pub(super) mod finished;
pub(super) mod tokens;

/// Which objects of a kind go, and when.
pub(super) trait Ends: Send + 'static {
    type Object: Typed;
    const RESOURCE: &'static str;

    /// When an object goes; `None` for one that stays, or is on its way already.
    fn at(stored: &Stored) -> Option<Timestamp>;
}

#[derive(Debug)]
pub(super) struct Expiry<E> {
    /// By namespace and name: when it goes, and its uid.
    objects: BTreeMap<(String, String), (Timestamp, String)>,
    ends: PhantomData<fn() -> E>,
}

impl<E> Default for Expiry<E> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            ends: PhantomData,
        }
    }
}

/// An object to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delete {
    namespace: String,
    name: String,
    uid: String,
}

impl<E: Ends> Keyed for Expiry<E> {
    type Key = (String, String);
    type Plan = Delete;

    fn resources(&self) -> Vec<Arc<str>> {
        vec![E::RESOURCE.into()]
    }

    fn reset(&mut self) {
        self.objects.clear();
    }

    fn observe(&mut self, event: &Event, queue: &mut Queue<Self::Key>) {
        let stored = event.latest();
        let key = (
            stored.key.namespace.to_string(),
            stored.key.name.to_string(),
        );
        let Some(at) = event.after.as_deref().and_then(E::at) else {
            self.objects.remove(&key);
            return;
        };
        queue.add_at(key.clone(), Instant::now() + until(at, clock::now()));
        self.objects.insert(key, (at, stored.uid.to_string()));
    }

    fn mark_all(&self, queue: &mut Queue<Self::Key>) {
        let now = clock::now();
        let due = self.objects.iter().filter(|(_, (at, _))| *at <= now);
        due.for_each(|(key, _)| queue.add(key.clone()));
    }

    fn decide(&mut self, key: &Self::Key, now: Timestamp) -> Option<Delete> {
        let (at, uid) = self.objects.get(key)?;
        (*at <= now).then(|| Delete {
            namespace: key.0.clone(),
            name: key.1.clone(),
            uid: uid.clone(),
        })
    }

    fn carry_out<'a>(
        delete: Delete,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Again, ApiError>> {
        Box::pin(async move {
            let Delete {
                namespace,
                name,
                uid,
            } = delete;
            let preconditions = Preconditions {
                uid: Some(uid),
                resource_version: None,
            };
            let deleted = context
                .client
                .delete::<E::Object>(&namespace, &name, preconditions);
            gone_is_fine(deleted.await)?;
            Ok(Again::OnChange)
        })
    }
}
