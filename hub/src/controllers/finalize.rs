//! Works that no agent will ever clean up.
//!
//! The finalizer of a work is the agent's to remove, after it removed the objects. Where there is no cluster any
//! more, or no agent ever enrolled for it, nothing was applied and nobody would answer. A work with a status had an agent, whether
//! or not one is enrolled now: it waits for the next one of its cluster, unless the cluster goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use koinon_api::{ManifestWork, labels::finalizer};
use koinon_machinery::ApiError;
use koinon_store::{Event, Stored};

use super::{
    Context, decode,
    keyed::{Again, Keyed, gone_is_fine},
    queue::Queue,
    resource,
};
use crate::registry::unavailable;

#[derive(Debug, Default)]
pub(super) struct Finalize {
    /// Whether they are being deleted.
    clusters: BTreeMap<String, bool>,
    /// Works that wait for an agent, by cluster, and whether an agent has reported of them.
    waiting: BTreeMap<String, BTreeMap<String, bool>>,
}

/// Works of one cluster to be released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Release {
    cluster: String,
    works: BTreeSet<String>,
    unless: Unless,
}

/// What would stop the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unless {
    Never,
    /// An agent enrolled for the cluster: it is its business.
    Enrolled,
}

impl Keyed for Finalize {
    type Key = String;
    type Plan = Release;

    fn resources(&self) -> Vec<Arc<str>> {
        [resource::CLUSTERS, resource::WORKS].map(Arc::from).into()
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn observe(&mut self, event: &Event, queue: &mut Queue<String>) {
        let stored = event.latest();
        let name = stored.key.name.to_string();
        if &*stored.key.resource == resource::CLUSTERS {
            let going = event.after.as_deref().map(Stored::is_deleting);
            match going {
                Some(going) => _ = self.clusters.insert(name.clone(), going),
                None => _ = self.clusters.remove(&name),
            }
            if going != Some(false) {
                queue.add(name);
            }
            return;
        }
        let cluster = stored.key.namespace.to_string();
        let waits = event.after.as_deref().filter(|after| {
            let meta = decode::Meta::of(after);
            meta.deleting() && meta.has_finalizer(finalizer::MANIFEST_WORK)
        });
        if let Some(work) = waits {
            let reported = !decode::conditions(work).is_empty();
            let works = self.waiting.entry(cluster.clone()).or_default();
            if works.insert(name, reported) != Some(reported) {
                queue.add(cluster);
            }
        } else if let Some(works) = self.waiting.get_mut(&cluster) {
            works.remove(&name);
            if works.is_empty() {
                self.waiting.remove(&cluster);
            }
        }
    }

    fn mark_all(&self, queue: &mut Queue<String>) {
        self.waiting
            .keys()
            .for_each(|cluster| queue.add(cluster.clone()));
    }

    fn decide(&mut self, cluster: &String, _: Timestamp) -> Option<Release> {
        let works = self.waiting.get(cluster)?.iter();
        let (unless, stays) = match self.clusters.get(cluster) {
            Some(going) => (Unless::Enrolled, !going),
            None => (Unless::Never, false),
        };
        // Nobody enrols for a cluster that goes.
        let works = works.filter(|(_, reported)| !stays || !**reported);
        let works: BTreeSet<String> = works.map(|(name, _)| name.clone()).collect();
        (!works.is_empty()).then(|| Release {
            cluster: cluster.clone(),
            works,
            unless,
        })
    }

    fn carry_out<'a>(
        release: Release,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Again, ApiError>> {
        Box::pin(async move {
            let Release {
                cluster,
                works,
                unless,
            } = release;
            if unless == Unless::Enrolled {
                let identity = context.client.store().identities().get(&cluster).await;
                if identity.map_err(|error| unavailable(&error))?.is_some() {
                    return Ok(Again::OnChange);
                }
            }
            for work in works {
                let release = |object: &mut ManifestWork| {
                    let finalizers = object.metadata.finalizers.get_or_insert_default();
                    let before = finalizers.len();
                    finalizers.retain(|one| one != finalizer::MANIFEST_WORK);
                    object.metadata.deletion_timestamp.is_some() && finalizers.len() < before
                };
                gone_is_fine(
                    context
                        .client
                        .modify::<ManifestWork>(&cluster, &work, release)
                        .await,
                )?;
            }
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

    fn work(metadata: Value) -> Event {
        put(stored(
            resource::WORKS,
            "east",
            "web",
            metadata,
            json!({}),
            Value::Null,
        ))
    }

    fn deleting() -> Value {
        json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [finalizer::MANIFEST_WORK] })
    }

    fn decide(events: &[Event]) -> Option<Unless> {
        let (mut finalize, mut queue) = (Finalize::default(), Queue::default());
        events
            .iter()
            .for_each(|event| finalize.observe(event, &mut queue));
        finalize
            .decide(&"east".to_owned(), Timestamp::UNIX_EPOCH)
            .map(|release| release.unless)
    }

    #[test]
    fn only_works_that_wait_for_an_agent_are_released() {
        let cluster = stored(
            resource::CLUSTERS,
            "",
            "east",
            json!({}),
            json!({}),
            Value::Null,
        );
        assert_eq!(decide(&[work(deleting())]), Some(Unless::Never));
        assert_eq!(
            decide(&[put(cluster.clone()), work(deleting())]),
            Some(Unless::Enrolled)
        );
        assert_eq!(
            decide(&[
                put(cluster.clone()),
                work(deleting()),
                gone(cluster.clone())
            ]),
            Some(Unless::Never)
        );
        // An agent has applied it, and may come back.
        let condition = json!({ "type": "Applied", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let reported = || {
            let status = json!({ "conditions": [condition] });
            put(stored(
                resource::WORKS,
                "east",
                "web",
                deleting(),
                json!({}),
                status,
            ))
        };
        assert_eq!(decide(&[put(cluster.clone()), reported()]), None);
        let going = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["f"] });
        let going = stored(
            resource::CLUSTERS,
            "",
            "east",
            going,
            json!({}),
            Value::Null,
        );
        assert_eq!(decide(&[put(going), reported()]), Some(Unless::Enrolled));
        assert_eq!(
            decide(&[put(cluster.clone()), reported(), gone(cluster)]),
            Some(Unless::Never)
        );
        assert_eq!(
            decide(&[work(json!({ "finalizers": [finalizer::MANIFEST_WORK] }))]),
            None
        );
        assert_eq!(
            decide(&[work(
                json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["other"] })
            )]),
            None
        );
        assert_eq!(
            decide(&[work(deleting()), gone(work(deleting()).after.unwrap())]),
            None
        );
    }
}
