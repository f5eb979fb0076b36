//! `Event`s are kept for an hour, as kube-apiserver keeps them.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event as CoreEvent;
use koinon_store::Stored;

use super::{
    super::{decode, resource},
    Ends,
};

const KEPT: Duration = Duration::from_secs(3600);

/// [`Ends`] of events.
#[derive(Debug)]
pub(in super::super) struct Events;

impl Ends for Events {
    type Object = CoreEvent;
    const RESOURCE: &'static str = resource::EVENTS;

    fn at(stored: &Stored) -> Option<Timestamp> {
        let seen = decode::typed::<CoreEvent>(stored)?;
        let times = [
            seen.last_timestamp.map(|time| time.0),
            seen.event_time.map(|time| time.0),
            seen.metadata.creation_timestamp.as_ref().map(|time| time.0),
        ];
        let last = times.into_iter().flatten().max();
        let last = last.unwrap_or(Timestamp::UNIX_EPOCH);
        Some(last.saturating_add(KEPT).unwrap_or(Timestamp::MAX))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::{
            super::fixtures::{put, stored},
            Expiry, Keyed as _, Queue,
        },
        *,
    };

    #[test]
    fn an_event_goes_an_hour_after_it_was_last_seen() {
        let (mut expiry, mut queue) = (Expiry::<Events>::default(), Queue::default());
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
