//! Works that are complete are deleted after `deleteOption.ttlSecondsAfterFinished` (OCM's CleanUpCompletedManifestWork).
//!
//! Works of a replica set stay: the set would make them again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;
use koinon_api::{
    ManifestWork,
    labels::{condition, label},
    meta,
};
use koinon_machinery::ApiError;
use koinon_store::{Event, Stored};
use tokio::time::Instant;

use super::{
    Context, decode,
    keyed::{Again, Keyed, gone_is_fine},
    queue::Queue,
    resource, until,
};
use crate::{clock, registry::Preconditions};

#[derive(Debug, Default)]
pub(super) struct Finished {
    /// By cluster and name: when it goes, and its uid.
    works: BTreeMap<(String, String), (Timestamp, String)>,
}

/// A work to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delete {
    cluster: String,
    name: String,
    uid: String,
}

/// When a work goes; `None` for one that is not complete, has no such limit, or is on its way already.
fn goes(stored: &Stored) -> Option<Timestamp> {
    const COMPLETE: &[u8] = b"\"Complete\"";
    // Few works are ever complete: look before parsing.
    let said = stored.status.windows(COMPLETE.len()).any(|w| w == COMPLETE);
    if !said || stored.labels.contains_key(label::REPLICA_SET) {
        return None;
    }
    let conditions = decode::conditions(stored);
    let complete = meta::condition(&conditions, condition::COMPLETE)?;
    if complete.status != meta::Truth::True.as_str() || decode::Meta::of(stored).deleting() {
        return None;
    }
    let work = decode::typed::<ManifestWork>(stored)?;
    let seconds = work.spec.delete_option?.ttl_seconds_after_finished?;
    let wait = Duration::from_secs(seconds.max(0).unsigned_abs());
    let since = complete.last_transition_time.0;
    Some(since.saturating_add(wait).unwrap_or(Timestamp::MAX))
}

impl Keyed for Finished {
    type Key = (String, String);
    type Plan = Delete;

    fn resources(&self) -> Vec<Arc<str>> {
        vec![resource::WORKS.into()]
    }

    fn reset(&mut self) {
        self.works.clear();
    }

    fn observe(&mut self, event: &Event, queue: &mut Queue<Self::Key>) {
        let stored = event.latest();
        let key = (
            stored.key.namespace.to_string(),
            stored.key.name.to_string(),
        );
        let Some(goes) = event.after.as_deref().and_then(goes) else {
            self.works.remove(&key);
            return;
        };
        queue.add_at(key.clone(), Instant::now() + until(goes, clock::now()));
        self.works.insert(key, (goes, stored.uid.to_string()));
    }

    fn mark_all(&self, queue: &mut Queue<Self::Key>) {
        let now = clock::now();
        let due = self.works.iter().filter(|(_, (goes, _))| *goes <= now);
        due.for_each(|(key, _)| queue.add(key.clone()));
    }

    fn decide(&mut self, key: &Self::Key, now: Timestamp) -> Option<Delete> {
        let (goes, uid) = self.works.get(key)?;
        (*goes <= now).then(|| Delete {
            cluster: key.0.clone(),
            name: key.1.clone(),
            uid: uid.clone(),
        })
    }

    fn carry_out<'a>(
        delete: Delete,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Again, ApiError>> {
        Box::pin(async move {
            let Delete { cluster, name, uid } = delete;
            let preconditions = Preconditions {
                uid: Some(uid),
                resource_version: None,
            };
            let deleted = context
                .client
                .delete::<ManifestWork>(&cluster, &name, preconditions);
            gone_is_fine(deleted.await)?;
            Ok(Again::OnChange)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::fixtures::{put, stored},
        *,
    };

    fn goes_at(metadata: Value, option: Value, complete: &str) -> Option<i64> {
        let spec = json!({ "workload": { "manifests": [] }, "deleteOption": option });
        let status = json!({ "conditions": [{
            "type": "Complete", "status": complete, "reason": "R", "message": "",
            "lastTransitionTime": "1970-01-01T00:10:00Z",
        }] });
        let body = json!({ "spec": spec });
        let work = stored(resource::WORKS, "east", "job", metadata, body, status);
        let (mut finished, mut queue) = (Finished::default(), Queue::default());
        finished.observe(&put(work), &mut queue);
        let key = ("east".to_owned(), "job".to_owned());
        let (goes, _) = finished.works.get(&key).cloned()?;
        let before = goes.saturating_sub(Duration::from_secs(1)).unwrap();
        assert_eq!(finished.decide(&key, before), None);
        assert!(finished.decide(&key, goes).is_some());
        Some(goes.as_second())
    }

    #[test]
    fn a_work_goes_so_long_after_it_was_complete() {
        let ttl = |seconds: i64| json!({ "propagationPolicy": "Foreground", "ttlSecondsAfterFinished": seconds });
        assert_eq!(goes_at(json!({}), ttl(60), "True"), Some(660));
        assert_eq!(goes_at(json!({}), ttl(0), "True"), Some(600));
        for (metadata, option, complete) in [
            (json!({}), ttl(60), "False"),
            (
                json!({}),
                json!({ "propagationPolicy": "Foreground" }),
                "True",
            ),
            (
                json!({ "labels": { label::REPLICA_SET: "ns.set" } }),
                ttl(60),
                "True",
            ),
            (
                json!({ "deletionTimestamp": "1970-01-01T00:00:01Z", "finalizers": ["x"] }),
                ttl(60),
                "True",
            ),
        ] {
            assert_eq!(
                goes_at(metadata.clone(), option, complete),
                None,
                "{metadata}"
            );
        }
    }
}
