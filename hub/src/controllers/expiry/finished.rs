//! Works that are complete are deleted after `deleteOption.ttlSecondsAfterFinished` (OCM's CleanUpCompletedManifestWork).
//!
//! Works of a replica set stay: the set would make them again.

use std::time::Duration;

use jiff::Timestamp;
use koinon_api::{
    ManifestWork,
    labels::{condition, label},
    meta,
};
use koinon_store::Stored;

use super::{
    super::{decode, resource},
    Ends,
};

/// [`Ends`] of works: those that are complete and have such a limit.
#[derive(Debug)]
pub(in super::super) struct Finished;

impl Ends for Finished {
    type Object = ManifestWork;
    const RESOURCE: &'static str = resource::WORKS;

    fn at(stored: &Stored) -> Option<Timestamp> {
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

    fn goes_at(metadata: Value, option: Value, complete: &str) -> Option<i64> {
        let spec = json!({ "workload": { "manifests": [] }, "deleteOption": option });
        let status = json!({ "conditions": [{
            "type": "Complete", "status": complete, "reason": "R", "message": "",
            "lastTransitionTime": "1970-01-01T00:10:00Z",
        }] });
        let body = json!({ "spec": spec });
        let work = stored(resource::WORKS, "east", "job", metadata, body, status);
        let (mut finished, mut queue) = (Expiry::<Finished>::default(), Queue::default());
        finished.observe(&put(work), &mut queue);
        let key = ("east".to_owned(), "job".to_owned());
        let (goes, _) = finished.objects.get(&key).cloned()?;
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
