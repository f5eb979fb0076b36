//! Says in events what happens to clusters: OCM's agent does the same. That nobody hears of a cluster any more is said by
//! `lease`.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use koinon_api::{ManagedCluster, labels::condition, meta::condition as find_condition};
use koinon_machinery::ApiError;
use koinon_store::Event;

use super::{
    Context, decode,
    events::{About, Note},
    keyed::{Again, Keyed},
    queue::Queue,
    resource,
};

/// The conditions of clusters whose changes are told.
const TOPICS: [Topic; 2] = [Topic::Claims, Topic::Availability];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    /// Some are not told to the hub.
    Claims,
    Availability,
}

impl Topic {
    fn condition(self) -> &'static str {
        match self {
            Self::Claims => condition::CLAIMS_TRUNCATED,
            Self::Availability => condition::CLUSTER_AVAILABLE,
        }
    }

    /// The part of a condition whose change is news.
    fn gist(self, condition: &Condition) -> String {
        match self {
            Self::Claims => condition.message.clone(),
            Self::Availability => condition.status.clone(),
        }
    }

    /// Whether the event is a warning, and its reason; `None` where there is nothing to say.
    fn event(self, status: &str) -> Option<(bool, &'static str)> {
        match (self, status) {
            (Self::Claims, _) => Some((true, "CustomClusterClaimsTruncated")),
            (Self::Availability, "True") => Some((false, "Available")),
            (Self::Availability, "False") => Some((true, "Unavailable")),
            (Self::Availability, _) => None,
        }
    }
}

/// A condition of a cluster.
#[derive(Clone, Debug)]
struct Shown {
    uid: String,
    gist: String,
    status: String,
    message: String,
}

/// What clusters show of the topics.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    /// Of each cluster that was seen. What it shows when it is seen first was announced by an earlier leader, as far as events go: they
    /// are a courtesy, and a leader that finds everything in order writes nothing.
    shown: BTreeMap<String, BTreeMap<Topic, Shown>>,
    /// What is to be announced.
    news: BTreeMap<(String, Topic), Shown>,
}

impl Keyed for Announcements {
    type Key = String;
    type Plan = Vec<Note>;

    fn resources(&self) -> Vec<Arc<str>> {
        vec![resource::CLUSTERS.into()]
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn observe(&mut self, event: &Event, queue: &mut Queue<String>) {
        let name = event.latest().key.name.to_string();
        let Some(after) = event.after.as_deref() else {
            self.shown.remove(&name);
            self.news.retain(|(cluster, _), _| *cluster != name);
            return;
        };
        let first = !self.shown.contains_key(&name);
        let shown = self.shown.entry(name.clone()).or_default();
        let conditions = decode::conditions(after);
        for topic in TOPICS {
            let key = (name.clone(), topic);
            let Some(found) = find_condition(&conditions, topic.condition()) else {
                shown.remove(&topic);
                self.news.remove(&key);
                continue;
            };
            let new = Shown {
                uid: after.uid.to_string(),
                gist: topic.gist(found),
                status: found.status.clone(),
                message: found.message.clone(),
            };
            let old = shown.insert(topic, new.clone());
            let known = |old: Shown| old.uid == new.uid && old.gist == new.gist;
            if !first && !old.is_some_and(known) {
                self.news.insert(key, new);
                queue.add(name.clone());
            }
        }
    }

    fn mark_all(&self, queue: &mut Queue<String>) {
        for (name, _) in self.news.keys() {
            queue.add(name.clone());
        }
    }

    fn decide(&mut self, key: &String, _now: Timestamp) -> Option<Vec<Note>> {
        let mut notes = Vec::new();
        for topic in TOPICS {
            let Some(shown) = self.news.remove(&(key.clone(), topic)) else {
                continue;
            };
            let Some((warning, reason)) = topic.event(&shown.status) else {
                continue;
            };
            notes.push(Note {
                about: About::new::<ManagedCluster>("", key, &shown.uid).reported_in(key),
                warning,
                reason,
                message: shown.message,
            });
        }
        (!notes.is_empty()).then_some(notes)
    }

    fn carry_out<'a>(
        notes: Vec<Note>,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Again, ApiError>> {
        notes
            .into_iter()
            .for_each(|note| context.events.record(note));
        Box::pin(async { Ok(Again::OnChange) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::fixtures::{put, stored},
        *,
    };

    const NOTHING: (&str, &str, &str) = ("", "", "");

    /// The events after a cluster shows a condition; none without a status.
    fn said(
        seen: &mut Announcements,
        (condition, status, message): (&str, &str, &str),
    ) -> Vec<(bool, &'static str, String)> {
        let shown = json!({
            "type": condition, "status": status, "reason": "R", "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let conditions = if status.is_empty() {
            json!([])
        } else {
            json!([shown])
        };
        let status = json!({ "conditions": conditions });
        let object = stored(resource::CLUSTERS, "", "east", json!({}), json!({}), status);
        let mut queue = Queue::default();
        seen.observe(&put(object), &mut queue);
        let notes = seen.decide(&"east".to_owned(), Timestamp::UNIX_EPOCH);
        let notes = notes.unwrap_or_default().into_iter();
        notes
            .map(|note| (note.warning, note.reason, note.message))
            .collect()
    }

    #[test]
    fn each_new_message_is_announced_once_and_not_again_by_the_next_leader() {
        let shows = |message| ("ClusterClaimsTruncated", "True", message);
        let warned =
            |message: &str| vec![(true, "CustomClusterClaimsTruncated", message.to_owned())];
        let mut seen = Announcements::default();
        assert!(said(&mut seen, NOTHING).is_empty());
        assert_eq!(said(&mut seen, shows("5 too many")), warned("5 too many"));
        assert!(said(&mut seen, shows("5 too many")).is_empty());
        assert_eq!(said(&mut seen, shows("6 too many")), warned("6 too many"));
        let mut next = Announcements::default();
        assert!(said(&mut next, shows("6 too many")).is_empty());
        assert_eq!(said(&mut next, shows("7 too many")), warned("7 too many"));
    }

    #[test]
    fn a_cluster_that_becomes_available_or_unavailable_is_announced() {
        let shows = |status, message| ("ManagedClusterConditionAvailable", status, message);
        let mut seen = Announcements::default();
        let up = || vec![(false, "Available", "up".to_owned())];
        assert!(said(&mut seen, NOTHING).is_empty());
        assert_eq!(said(&mut seen, shows("True", "up")), up());
        assert!(said(&mut seen, shows("True", "still up")).is_empty());
        let down = vec![(true, "Unavailable", "down".to_owned())];
        assert_eq!(said(&mut seen, shows("False", "down")), down);
        assert!(said(&mut seen, shows("False", "down, status code: 500")).is_empty());
        // Silence is told by whoever notices it.
        assert!(said(&mut seen, shows("Unknown", "silent")).is_empty());
        assert_eq!(said(&mut seen, shows("True", "up")), up());
        assert!(said(&mut Announcements::default(), shows("True", "up")).is_empty());
    }
}
