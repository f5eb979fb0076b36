//! Clusters that have fallen silent.
//!
//! A cluster's silence is the age of its last durable heartbeat by the database's clock, and never longer than this
//! leader has been looking at the cluster under its present lease: after an outage of the hub, and when a lease is
//! shortened, every agent gets its full grace.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::BoxFuture, stream};
use jiff::Timestamp;
use koinon_api::{
    ManagedCluster,
    labels::{condition, reason::cluster_available as reason},
    meta::{Truth, condition as find_condition, new_condition, set_condition},
};
use koinon_machinery::ApiError;
use koinon_store::Event;
use tokio::time::Instant;

use super::{
    CONCURRENT_WRITES, Context, decode,
    driver::{Failure, Outcome, Reconciler},
    events::{About, Note},
    keyed::gone_is_fine,
    queue::Pending,
    resource,
};
use crate::clock;

/// How many lease durations of silence make a cluster unknown.
const GRACE: u32 = 5;
const DEFAULT_LEASE_SECONDS: i32 = 60;
const MESSAGE: &str = "Registration agent stopped updating its lease.";

/// What the decision needs of a cluster.
#[derive(Clone, Debug, PartialEq)]
struct Watched {
    lease: Duration,
    accepted: Timestamp,
    uid: String,
}

#[derive(Debug)]
pub(super) struct Leases {
    /// Clusters that may become unknown: the hub has answered them, and they are not unknown yet.
    watched: BTreeMap<String, Watched>,
    /// Since when each has had its present lease. Outlives [`Reconciler::reset`]: reading everything anew is no grace.
    since: BTreeMap<String, (Duration, Instant)>,
    check_at: Option<Instant>,
}

impl Leases {
    pub(super) fn new() -> Self {
        Self {
            watched: BTreeMap::new(),
            since: BTreeMap::new(),
            check_at: None,
        }
    }
}

impl Pending for Leases {
    fn due(&self, now: Instant) -> bool {
        self.check_at.is_some_and(|at| at <= now)
    }

    fn next(&self) -> Option<Instant> {
        self.check_at
    }

    fn len(&self) -> usize {
        self.watched.len()
    }
}

impl Reconciler for Leases {
    fn resources(&self) -> Vec<Arc<str>> {
        vec![resource::CLUSTERS.into()]
    }

    fn period(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn reset(&mut self) {
        self.watched.clear();
        self.check_at = Some(Instant::now());
    }

    fn observe(&mut self, event: &Event) {
        let name = event.latest().key.name.to_string();
        let new = event
            .after
            .as_deref()
            .and_then(decode::typed::<ManagedCluster>)
            .and_then(|cluster| watched(&cluster));
        if new.as_ref() == self.watched.get(&name) {
            return;
        }
        match new {
            Some(new) => {
                let now = Instant::now();
                let since = self.since.entry(name.clone()).or_insert((new.lease, now));
                if since.0 != new.lease {
                    *since = (new.lease, now);
                }
                self.watched.insert(name, new);
            }
            None => {
                self.since.remove(&name);
                self.watched.remove(&name);
            }
        }
        self.check_at = Some(Instant::now());
    }

    fn sweep(&mut self) {
        self.check_at = Some(Instant::now());
    }

    fn pending(&self) -> &dyn Pending {
        self
    }

    fn reconcile<'a>(
        &'a mut self,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Outcome, Failure>> {
        Box::pin(async move {
            let ages: BTreeMap<String, Duration> = context
                .client
                .store()
                .heartbeats()
                .ages()
                .await?
                .into_iter()
                .collect();
            let looking = |name: &str| {
                self.since
                    .get(name)
                    .map_or(Duration::ZERO, |(_, since)| since.elapsed())
            };
            let verdict = decide(&self.watched, &ages, looking, clock::now());
            let mut outcome = Outcome {
                keys: self.watched.len(),
                ..Outcome::default()
            };
            let silent = verdict.silent.into_iter().map(|name| {
                let uid = self.watched[&name].uid.clone();
                (name, uid)
            });
            let mut done = stream::iter(silent.collect::<Vec<_>>())
                .map(|(name, uid)| async move { give_up(&name, &uid, context).await })
                .buffer_unordered(CONCURRENT_WRITES);
            let mut retry = None;
            while let Some(result) = done.next().await {
                if let Err(error) = result {
                    outcome.fail(error);
                    retry = Some(Duration::from_secs(1));
                }
            }
            let next = verdict.next.into_iter().chain(retry).min();
            self.check_at = next.map(|pause| Instant::now() + pause);
            Ok(outcome)
        })
    }
}

/// Clusters to give up, and when the next one may be due.
#[derive(Debug, PartialEq)]
struct Verdict {
    silent: Vec<String>,
    next: Option<Duration>,
}

fn watched(cluster: &ManagedCluster) -> Option<Watched> {
    if cluster.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let conditions = cluster
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let accepted = find_condition(conditions, condition::HUB_ACCEPTED)?;
    if find_condition(conditions, condition::CLUSTER_AVAILABLE)
        .is_some_and(|found| found.status == Truth::Unknown.as_str())
    {
        return None;
    }
    let seconds = match cluster.spec.lease_duration_seconds {
        seconds if seconds > 0 => seconds,
        _ => DEFAULT_LEASE_SECONDS,
    };
    Some(Watched {
        lease: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
        accepted: accepted.last_transition_time.0,
        uid: decode::uid(&cluster.metadata).to_owned(),
    })
}

fn decide(
    watched: &BTreeMap<String, Watched>,
    ages: &BTreeMap<String, Duration>,
    looking: impl Fn(&str) -> Duration,
    now: Timestamp,
) -> Verdict {
    let mut verdict = Verdict {
        silent: Vec::new(),
        next: None,
    };
    for (name, cluster) in watched {
        // One that never sent a heartbeat has had since its acceptance to do so: OCM makes its lease then.
        let age = ages
            .get(name)
            .copied()
            .unwrap_or_else(|| super::until(now, cluster.accepted));
        let silence = age.min(looking(name));
        let grace = cluster.lease * GRACE;
        match grace.checked_sub(silence).filter(|left| !left.is_zero()) {
            Some(left) => verdict.next = Some(verdict.next.map_or(left, |next| next.min(left))),
            None => verdict.silent.push(name.clone()),
        }
    }
    verdict
}

async fn give_up(name: &str, uid: &str, context: &Context) -> Result<(), ApiError> {
    let now = clock::now();
    let mut news = false;
    let update = |cluster: &mut ManagedCluster| {
        news = cluster.metadata.uid.as_deref() == Some(uid) && watched(cluster).is_some();
        let unknown = new_condition(
            condition::CLUSTER_AVAILABLE,
            Truth::Unknown,
            reason::LEASE_UPDATE_STOPPED,
            MESSAGE,
            now,
        );
        news && set_condition(
            &mut cluster.status.get_or_insert_default().conditions,
            unknown,
        )
    };
    gone_is_fine(
        context
            .client
            .modify_status::<ManagedCluster>("", name, update)
            .await,
    )?;
    if news {
        tracing::warn!(
            cluster = name,
            "no heartbeat any more; the cluster is unknown"
        );
        let about = About::new::<ManagedCluster>("", name, uid).reported_in(name);
        context.events.record(Note {
            about,
            warning: true,
            reason: "AvailableUnknown",
            message: MESSAGE.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::fixtures::{put, stored},
        *,
    };

    fn one(lease: u64, accepted: i64) -> BTreeMap<String, Watched> {
        let accepted = Timestamp::from_second(accepted).unwrap();
        [(
            "east".to_owned(),
            Watched {
                lease: Duration::from_secs(lease),
                accepted,
                uid: String::new(),
            },
        )]
        .into()
    }

    fn verdict(
        watched: &BTreeMap<String, Watched>,
        age: Option<u64>,
        looking: u64,
    ) -> Result<u64, ()> {
        let ages = age
            .map(|age| ("east".to_owned(), Duration::from_secs(age)))
            .into_iter()
            .collect();
        let verdict = decide(
            watched,
            &ages,
            |_| Duration::from_secs(looking),
            Timestamp::from_second(1_000).unwrap(),
        );
        if verdict.silent.is_empty() {
            Ok(verdict.next.unwrap().as_secs())
        } else {
            Err(())
        }
    }

    #[test]
    fn five_lease_durations_of_silence_are_too_long() {
        let east = one(60, 0);
        assert_eq!(verdict(&east, Some(10), 10_000), Ok(290));
        assert_eq!(verdict(&east, Some(299), 10_000), Ok(1));
        assert_eq!(verdict(&east, Some(300), 10_000), Err(()));
    }

    #[test]
    fn silence_from_before_this_leader_does_not_count() {
        let east = one(60, 0);
        assert_eq!(verdict(&east, Some(5_000), 0), Ok(300));
        assert_eq!(verdict(&east, Some(5_000), 299), Ok(1));
        assert_eq!(verdict(&east, Some(5_000), 300), Err(()));
    }

    #[test]
    fn a_cluster_that_never_spoke_gets_its_grace_from_its_acceptance_on() {
        assert_eq!(verdict(&one(60, 900), None, 10_000), Ok(200));
        assert_eq!(verdict(&one(60, 600), None, 10_000), Err(()));
    }

    #[test]
    fn a_shorter_lease_counts_from_when_it_was_set() {
        let event = |lease: i32| {
            let accepted = json!({
                "type": "HubAcceptedManagedCluster", "status": "True", "reason": "R", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            put(stored(
                resource::CLUSTERS,
                "",
                "east",
                json!({}),
                json!({ "spec": { "leaseDurationSeconds": lease } }),
                json!({ "conditions": [accepted] }),
            ))
        };
        let mut leases = Leases::new();
        leases.observe(&event(60));
        let first = leases.since["east"];
        leases.reset();
        leases.observe(&event(60));
        assert_eq!(leases.since["east"], first, "reading anew is no grace");
        leases.observe(&event(2));
        let (lease, since) = leases.since["east"];
        assert_eq!(lease, Duration::from_secs(2));
        assert!(since > first.1, "the shorter lease begins anew");
    }

    #[test]
    fn only_accepted_clusters_that_are_not_unknown_are_watched() {
        let cluster = |conditions: serde_json::Value, lease: i32| -> ManagedCluster {
            serde_json::from_value(json!({
                "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster", "metadata": { "name": "east" },
                "spec": { "leaseDurationSeconds": lease }, "status": { "conditions": conditions },
            }))
            .unwrap()
        };
        let one = |kind: &str, status: &str| json!({ "type": kind, "status": status, "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" });
        assert_eq!(watched(&cluster(json!([]), 60)), None);
        let accepted = one("HubAcceptedManagedCluster", "True");
        assert_eq!(
            watched(&cluster(json!([accepted]), 0)).unwrap().lease,
            Duration::from_secs(60)
        );
        assert_eq!(
            watched(&cluster(json!([accepted]), 3)).unwrap().lease,
            Duration::from_secs(3)
        );
        let unknown = one("ManagedClusterConditionAvailable", "Unknown");
        assert_eq!(watched(&cluster(json!([accepted, unknown]), 3)), None);
    }
}
