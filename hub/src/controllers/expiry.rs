//! `Event`s are kept for an hour, as kube-apiserver keeps them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event as CoreEvent;
use koinon_machinery::ApiError;
use koinon_store::Event;
use tokio::time::Instant;

use super::{
    Context, decode,
    keyed::{Again, Keyed, gone_is_fine},
    queue::Queue,
    resource, until,
};
use crate::{clock, registry::Preconditions};

const KEPT: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// By namespace and name: when it goes, and its uid.
    events: BTreeMap<(String, String), (Timestamp, String)>,
}

/// An event to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delete {
    namespace: String,
    name: String,
    uid: String,
}

impl Keyed for Expiry {
    type Key = (String, String);
    type Plan = Delete;

    fn resources(&self) -> Vec<Arc<str>> {
        vec![resource::EVENTS.into()]
    }

    fn reset(&mut self) {
        self.events.clear();
    }

    fn observe(&mut self, event: &Event, queue: &mut Queue<Self::Key>) {
        let stored = event.latest();
        let key = (
            stored.key.namespace.to_string(),
            stored.key.name.to_string(),
        );
        let Some(seen) = event.after.as_deref().and_then(decode::typed::<CoreEvent>) else {
            self.events.remove(&key);
            return;
        };
        let times = [
            seen.last_timestamp.map(|time| time.0),
            seen.event_time.map(|time| time.0),
            seen.metadata.creation_timestamp.as_ref().map(|time| time.0),
        ];
        let last = times
            .into_iter()
            .flatten()
            .max()
            .unwrap_or(Timestamp::UNIX_EPOCH);
        let goes = last.saturating_add(KEPT).unwrap_or(Timestamp::MAX);
        queue.add_at(key.clone(), Instant::now() + until(goes, clock::now()));
        self.events.insert(key, (goes, stored.uid.to_string()));
    }

    fn mark_all(&self, queue: &mut Queue<Self::Key>) {
        let now = clock::now();
        let old = self.events.iter().filter(|(_, (goes, _))| *goes <= now);
        old.for_each(|(key, _)| queue.add(key.clone()));
    }

    fn decide(&mut self, key: &Self::Key, now: Timestamp) -> Option<Delete> {
        let (goes, uid) = self.events.get(key)?;
        (*goes <= now).then(|| Delete {
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
            gone_is_fine(
                context
                    .client
                    .delete::<CoreEvent>(&namespace, &name, preconditions)
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
        super::fixtures::{put, stored},
        *,
    };

    #[test]
    fn an_event_goes_an_hour_after_it_was_last_seen() {
        let (mut expiry, mut queue) = (Expiry::default(), Queue::default());
        let body = json!({ "involvedObject": {}, "lastTimestamp": "1970-01-01T00:10:00Z" });
        expiry.observe(
            &put(stored(
                resource::EVENTS,
                "apps",
                "e",
                json!({}),
                body,
                Value::Null,
            )),
            &mut queue,
        );
        let key = ("apps".to_owned(), "e".to_owned());
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        assert_eq!(expiry.decide(&key, at(4199)), None);
        assert!(expiry.decide(&key, at(4200)).is_some());
    }
}
