//! Says in an event when a cluster has claims that its agent does not tell the hub; OCM's agent does the same.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use koinon_api::{ManagedCluster, labels::condition, meta::condition as find_condition};
use koinon_machinery::ApiError;
use koinon_store::{Event, Stored};

use super::{
    Context, decode,
    events::{About, Note},
    keyed::{Again, Keyed},
    queue::Queue,
    resource,
};

/// A condition that is older when it is first seen was announced by an earlier leader.
const NEWS: SignedDuration = SignedDuration::from_secs(60);

/// The message of the condition on a cluster that has it.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    uid: String,
    message: String,
    since: Timestamp,
}

/// Clusters whose claims are not all told.
#[derive(Debug, Default)]
pub(super) struct Claims {
    shown: BTreeMap<String, Shown>,
    /// What may be to be announced, and whether it replaces something that was known.
    news: BTreeMap<String, (Shown, bool)>,
}

impl Keyed for Claims {
    type Key = String;
    type Plan = Note;

    fn resources(&self) -> Vec<Arc<str>> {
        vec![resource::CLUSTERS.into()]
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn observe(&mut self, event: &Event, queue: &mut Queue<String>) {
        let name = event.latest().key.name.to_string();
        let Some(new) = event.after.as_deref().and_then(shown) else {
            self.shown.remove(&name);
            self.news.remove(&name);
            return;
        };
        let old = self.shown.insert(name.clone(), new.clone());
        if old.as_ref() != Some(&new) {
            self.news.insert(name.clone(), (new, old.is_some()));
            queue.add(name);
        }
    }

    fn mark_all(&self, queue: &mut Queue<String>) {
        self.news.keys().for_each(|name| queue.add(name.clone()));
    }

    fn decide(&mut self, key: &String, now: Timestamp) -> Option<Note> {
        let (shown, replaces) = self.news.remove(key)?;
        // A message that changes keeps its time.
        let new = replaces || now.duration_since(shown.since) <= NEWS;
        new.then(|| Note {
            about: About::new::<ManagedCluster>("", key, &shown.uid).reported_in(key),
            warning: true,
            reason: "CustomClusterClaimsTruncated",
            message: shown.message,
        })
    }

    fn carry_out<'a>(note: Note, context: &'a Context) -> BoxFuture<'a, Result<Again, ApiError>> {
        context.events.record(note);
        Box::pin(async { Ok(Again::OnChange) })
    }
}

fn shown(stored: &Stored) -> Option<Shown> {
    let conditions = decode::conditions(stored);
    let found = find_condition(&conditions, condition::CLAIMS_TRUNCATED)?;
    Some(Shown {
        uid: stored.uid.to_string(),
        message: found.message.clone(),
        since: found.last_transition_time.0,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::fixtures::{put, stored},
        *,
    };

    #[test]
    fn each_new_message_is_announced_once_and_old_ones_are_not_again() {
        let event = |message: &str| {
            let truncated = json!({
                "type": "ClusterClaimsTruncated", "status": "True", "reason": "R", "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            let conditions = if message.is_empty() {
                json!([])
            } else {
                json!([truncated])
            };
            let status = json!({ "conditions": conditions });
            put(stored(
                resource::CLUSTERS,
                "",
                "east",
                json!({}),
                json!({}),
                status,
            ))
        };
        let said = |claims: &mut Claims, message: &str, now: &str| {
            let mut queue = Queue::default();
            claims.observe(&event(message), &mut queue);
            let note = claims.decide(&"east".to_owned(), now.parse().unwrap());
            note.map(|note| note.message)
        };
        let (soon, later) = ("2026-01-01T00:00:05Z", "2026-01-01T01:00:00Z");
        let mut claims = Claims::default();
        assert_eq!(said(&mut claims, "", soon), None);
        assert_eq!(
            said(&mut claims, "5 too many", soon),
            Some("5 too many".into())
        );
        assert_eq!(said(&mut claims, "5 too many", soon), None);
        assert_eq!(
            said(&mut claims, "6 too many", later),
            Some("6 too many".into())
        );
        // The next leader finds it there.
        assert_eq!(said(&mut Claims::default(), "6 too many", later), None);
        assert_eq!(
            said(&mut Claims::default(), "5 too many", soon),
            Some("5 too many".into())
        );
    }
}
