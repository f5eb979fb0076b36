//! Namespaces on their way out: emptied, then released.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use koinon_machinery::{ApiError, Reason};
use koinon_store::{Event, Stored};

use super::{
    Context, decode,
    keyed::{Again, Keyed, gone_is_fine},
    queue::Queue,
    resource,
};
use crate::{
    registry::{DeleteOptions, Kinds, Preconditions},
    resources::NAMESPACE_CLEANUP,
};

const CONCURRENT_DELETES: usize = 64;
/// Changes wake the controller anyway; this is for a deletion that was refused for the time being.
const RETRY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Namespaces {
    contents: Vec<Arc<str>>,
    terminating: BTreeSet<String>,
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
    }

    fn observe(&mut self, event: &Event, queue: &mut Queue<String>) {
        let stored = event.latest();
        if &*stored.key.resource != resource::NAMESPACES {
            if let Some(name) = self.terminating.get(&*stored.key.namespace) {
                queue.add(name.clone());
            }
            return;
        }
        let name = stored.key.name.to_string();
        let meta = event.after.as_deref().map(decode::Meta::of);
        if meta.is_some_and(|meta| meta.deleting() && meta.has_finalizer(NAMESPACE_CLEANUP)) {
            self.terminating.insert(name.clone());
            queue.add(name);
        } else {
            self.terminating.remove(&name);
        }
    }

    fn mark_all(&self, queue: &mut Queue<String>) {
        self.terminating
            .iter()
            .for_each(|name| queue.add(name.clone()));
    }

    fn decide(&mut self, key: &String, _: Timestamp) -> Option<String> {
        self.terminating.get(key).cloned()
    }

    fn carry_out<'a>(
        namespace: String,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Again, ApiError>> {
        Box::pin(async move {
            let registry = context.client.registry();
            let mut left = 0;
            for kind in registry.kinds().iter().filter(|kind| kind.info.namespaced) {
                let snapshot = context.client.store().snapshot(&kind.key);
                let inside: Vec<Arc<Stored>> =
                    snapshot.namespace(&namespace).map(Arc::clone).collect();
                left += inside.len();
                let live: Vec<_> = inside
                    .into_iter()
                    .filter(|stored| !decode::Meta::of(stored).deleting())
                    .collect();
                stream::iter(live)
                    .map(|stored| async move {
                        let preconditions = Preconditions {
                            uid: Some(stored.uid.to_string()),
                            resource_version: None,
                        };
                        let options = DeleteOptions {
                            preconditions,
                            ..DeleteOptions::default()
                        };
                        match registry
                            .delete(kind, &stored.key, &options, &context.writer)
                            .await
                        {
                            Err(error) if error.reason == Reason::NotFound => Ok(()),
                            done => done.map(drop),
                        }
                    })
                    .buffer_unordered(CONCURRENT_DELETES)
                    .try_collect::<()>()
                    .await?;
            }
            if left > 0 {
                return Ok(Again::In(RETRY));
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
        namespaces.observe(&put(active), &mut queue);
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
        namespaces.observe(&gone(inside), &mut queue);
        assert_eq!(queue.take(tokio::time::Instant::now()), ["apps"]);
        namespaces.observe(&gone(terminating), &mut queue);
        assert_eq!(namespaces.decide(&key, Timestamp::UNIX_EPOCH), None);
    }
}
