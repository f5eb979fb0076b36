//! Namespaces on their way out: emptied, then released.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use koinon_machinery::{ApiError, Reason};
use koinon_store::{Event, Key, Stored};

use super::{
    Context, decode,
    keyed::{Again, Keyed, gone_is_fine},
    queue::Queue,
    resource,
};
use crate::{
    clock,
    registry::{DeleteOptions, Kind, Kinds, Preconditions},
    resources::NAMESPACE_CLEANUP,
};

const CONCURRENT_DELETES: usize = 64;
/// Changes wake the controller anyway; this is for a deletion that was refused for the time being.
const RETRY: Duration = Duration::from_secs(5);
/// How long a namespace is on its way out at least, as in Kubernetes: who was admitted before it was deleted, or by a
/// replica that had not heard of it, is written by then.
const GRACE: SignedDuration = SignedDuration::from_secs(5);
/// Namespaces that went lately and are remembered, for what comes later still.
const GONE: usize = 1024;

#[derive(Debug)]
pub(super) struct Namespaces {
    contents: Vec<Arc<str>>,
    terminating: BTreeSet<String>,
    gone: Gone,
}

/// Namespaces whose end was seen. One that is only not there is no reason to delete anything.
#[derive(Debug, Default)]
struct Gone {
    names: BTreeSet<String>,
    order: VecDeque<String>,
}

impl Gone {
    fn add(&mut self, name: String) {
        if self.names.insert(name.clone()) {
            self.order.push_back(name);
        }
        if self.order.len() > GONE
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
    }
}

impl Namespaces {
    pub(super) fn new(kinds: &Kinds) -> Self {
        let contents = kinds
            .iter()
            .filter(|kind| kind.info.namespaced)
            .map(|kind| Arc::clone(&kind.key))
            .collect();
        Self {
            contents,
            terminating: BTreeSet::new(),
            gone: Gone::default(),
        }
    }
}

impl Keyed for Namespaces {
    type Key = String;
    type Plan = String;

    fn resources(&self) -> Vec<Arc<str>> {
        std::iter::once(resource::NAMESPACES.into())
            .chain(self.contents.iter().cloned())
            .collect()
    }

    fn reset(&mut self) {
        self.terminating.clear();
        self.gone = Gone::default();
    }

    fn observe(&mut self, event: &Event, queue: &mut Queue<String>) {
        let stored = event.latest();
        if &*stored.key.resource != resource::NAMESPACES {
            let namespace = &*stored.key.namespace;
            if self.terminating.contains(namespace) || self.gone.names.contains(namespace) {
                queue.add(namespace.to_owned());
            }
            return;
        }
        let name = stored.key.name.to_string();
        let meta = event.after.as_deref().map(decode::Meta::of);
        if meta.is_some_and(|meta| meta.deleting() && meta.has_finalizer(NAMESPACE_CLEANUP)) {
            self.terminating.insert(name.clone());
            queue.add(name);
            return;
        }
        self.terminating.remove(&name);
        if event.after.is_none() {
            self.gone.add(name);
        } else {
            self.gone.names.remove(&name);
        }
    }

    fn mark_all(&self, queue: &mut Queue<String>) {
        self.terminating
            .iter()
            .for_each(|name| queue.add(name.clone()));
    }

    fn decide(&mut self, key: &String, _: Timestamp) -> Option<String> {
        let leaves = self.terminating.contains(key) || self.gone.names.contains(key);
        leaves.then(|| key.clone())
    }

    fn carry_out<'a>(
        namespace: String,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Again, ApiError>> {
        Box::pin(async move {
            let (registry, now) = (context.client.registry(), clock::now());
            registry.catch_up().await?;
            let store = context.client.store();
            let kinds = registry.kinds().iter().filter(|kind| kind.info.namespaced);
            let mut inside: Vec<(Arc<Kind>, Arc<Stored>)> = Vec::new();
            for kind in kinds {
                let snapshot = store.snapshot(&kind.key);
                let content = snapshot.namespace(&namespace);
                inside.extend(content.map(|stored| (Arc::clone(kind), Arc::clone(stored))));
            }
            // After its content, so that nothing of a later namespace of that name is taken for this one's.
            let state = store.get(&Key::new(resource::NAMESPACES, "", namespace.as_str()));
            let deleted = match state.as_deref().map(decode::Meta::of) {
                None => None,
                Some(meta) => match meta.deletion_timestamp {
                    None => return Ok(Again::OnChange),
                    deleted => deleted,
                },
            };
            let left = inside.len();
            inside.retain(|(_, stored)| !decode::Meta::of(stored).deleting());
            stream::iter(inside)
                .map(|(kind, stored)| async move {
                    let preconditions = Preconditions {
                        uid: Some(stored.uid.to_string()),
                        resource_version: None,
                    };
                    let options = DeleteOptions {
                        preconditions,
                        ..DeleteOptions::default()
                    };
                    match registry
                        .delete(&kind, &stored.key, &options, &context.writer)
                        .await
                    {
                        Err(error) if error.reason == Reason::NotFound => Ok(()),
                        done => done.map(drop),
                    }
                })
                .buffer_unordered(CONCURRENT_DELETES)
                .try_collect::<()>()
                .await?;
            if left > 0 {
                return Ok(Again::In(RETRY));
            }
            let Some(deleted) = deleted else {
                return Ok(Again::OnChange);
            };
            let age = now.duration_since(deleted.0);
            // A clock that is far off must not hold a namespace for ever.
            if age.abs() < GRACE {
                return Ok(Again::In((GRACE - age).unsigned_abs()));
            }
            let release = |object: &mut Namespace| {
                let finalizers = object.metadata.finalizers.get_or_insert_default();
                let before = finalizers.len();
                finalizers.retain(|one| one != NAMESPACE_CLEANUP);
                object.metadata.deletion_timestamp.is_some() && finalizers.len() < before
            };
            gone_is_fine(
                context
                    .client
                    .modify::<Namespace>("", &namespace, release)
                    .await,
            )?;
            Ok(Again::OnChange)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::fixtures::{gone, put, stored},
        *,
    };

    #[test]
    fn only_namespaces_on_their_way_out_are_emptied() {
        let (mut namespaces, mut queue) = (
            Namespaces {
                contents: Vec::new(),
                terminating: BTreeSet::new(),
                gone: Gone::default(),
            },
            Queue::default(),
        );
        let key = "apps".to_owned();
        let active = stored(
            resource::NAMESPACES,
            "",
            "apps",
            json!({ "finalizers": [NAMESPACE_CLEANUP] }),
            json!({}),
            Value::Null,
        );
        namespaces.observe(&put(active.clone()), &mut queue);
        assert_eq!(namespaces.decide(&key, Timestamp::UNIX_EPOCH), None);
        let metadata = json!({ "finalizers": [NAMESPACE_CLEANUP], "deletionTimestamp": "2026-01-01T00:00:00Z" });
        let terminating = stored(
            resource::NAMESPACES,
            "",
            "apps",
            metadata,
            json!({}),
            Value::Null,
        );
        namespaces.observe(&put(terminating.clone()), &mut queue);
        assert_eq!(
            namespaces.decide(&key, Timestamp::UNIX_EPOCH),
            Some(key.clone())
        );
        queue.take(tokio::time::Instant::now());
        let inside = stored(
            resource::WORKS,
            "apps",
            "web",
            json!({}),
            json!({}),
            Value::Null,
        );
        namespaces.observe(&gone(inside.clone()), &mut queue);
        assert_eq!(queue.take(tokio::time::Instant::now()), ["apps"]);
        namespaces.observe(&gone(terminating), &mut queue);
        // Something that was admitted in time and written late.
        namespaces.observe(&put(inside.clone()), &mut queue);
        assert_eq!(queue.take(tokio::time::Instant::now()), ["apps"]);
        assert_eq!(
            namespaces.decide(&key, Timestamp::UNIX_EPOCH),
            Some(key.clone())
        );
        namespaces.observe(&put(active), &mut queue);
        namespaces.observe(&put(inside), &mut queue);
        assert!(queue.take(tokio::time::Instant::now()).is_empty());
        assert_eq!(namespaces.decide(&key, Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn a_namespace_whose_end_was_not_seen_is_left_alone() {
        let mut namespaces = Namespaces {
            contents: Vec::new(),
            terminating: BTreeSet::new(),
            gone: Gone::default(),
        };
        let mut queue = Queue::default();
        let inside = stored(
            resource::WORKS,
            "lost",
            "web",
            json!({}),
            json!({}),
            Value::Null,
        );
        namespaces.observe(&put(inside), &mut queue);
        assert!(queue.take(tokio::time::Instant::now()).is_empty());
        assert_eq!(
            namespaces.decide(&"lost".to_owned(), Timestamp::UNIX_EPOCH),
            None
        );
    }
}
