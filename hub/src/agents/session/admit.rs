//! Hello and welcome.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use koinon_api::{
    ManagedCluster,
    labels::{condition, reason},
    meta,
};
use koinon_proto::{
    BODIES, StatusDigest, held_digest, status_digest, statuses_digest,
    v1::{
        self, AgentMessage, Hello, Namespaces, Position, StatusDigests, Statuses, Welcome,
        agent_message, hub_message::Body,
    },
};
use tokio::time::{Instant, timeout};
use tonic::Status;

use super::{Entering, HELLO_TIMEOUT, LEASE_INTERVALS, RETRY, Session, millis, trust_bundle};
use crate::agents::{
    enrol::uid,
    outbox::Leave,
    report::{accepted_rollback, approved_deletions, disposal, wanted_namespaces},
    resource,
    work::Work,
};

/// Digests in one message: names are short, so this is far below what a message may have.
const DIGESTS: usize = 4096;

/// Bytes of statuses that are digested without giving way to others.
const AT_ONCE: usize = 256 * 1024;

/// How a denied agent spreads its next attempts: nobody waits for it.
const DENIED_SPREAD_MS: u32 = 30_000;

impl Entering {
    /// Waits for the agent's hello and lets it in, or says why not.
    pub(super) async fn admit(mut self: Box<Self>) -> Result<Box<Session>, Status> {
        let refused = |agents: &crate::agents::Agents, reason: &'static str, status: Status| {
            agents.0.metrics.session_end(reason);
            status
        };
        let hello = match timeout(HELLO_TIMEOUT, self.inbound.message()).await {
            Ok(Ok(Some(AgentMessage {
                body: Some(agent_message::Body::Hello(hello)),
            }))) => hello,
            Ok(Ok(_)) => {
                return Err(refused(
                    &self.agents,
                    "no_hello",
                    Status::invalid_argument("the first message must be hello"),
                ));
            }
            Ok(Err(status)) => return Err(refused(&self.agents, "no_hello", status)),
            Err(_) => {
                return Err(refused(
                    &self.agents,
                    "no_hello",
                    Status::deadline_exceeded("no hello"),
                ));
            }
        };
        let cluster = match self.check(&hello).await {
            Ok(cluster) => cluster,
            Err(status) => {
                tracing::warn!(cluster = %self.outbox.cluster, error = status.message(), "session refused");
                return Err(refused(&self.agents, "refused", status));
            }
        };
        // Another replica told the agent of something that this one has not read yet. That is no reason to be taken for a
        // restored hub.
        let store = self.agents.store();
        let ahead = hello.seen.as_ref().is_some_and(|seen| {
            seen.incarnation == store.incarnation().to_string()
                && seen.revision > store.revision().0
        });
        if ahead && store.fresh().await.is_err() {
            return Err(Status::unavailable(
                "the registry does not answer; try again later",
            ));
        }
        let compared = compare(&hello, self.statuses()).await;
        self.open(&hello, &cluster, compared)
    }

    /// Checks that the cluster is accepted and is the one that enrolled.
    async fn check(&self, hello: &Hello) -> Result<ManagedCluster, Status> {
        let cluster = self.agents.own_cluster(&self.agent).await?;
        if !self.is_bound_to(&hello.cluster_uid).await? {
            return Err(Status::permission_denied(
                "the name belongs to another cluster",
            ));
        }
        Ok(cluster)
    }

    /// Says whether the name is bound to `uid`. Only a match is remembered, so a wrong one always asks the registry.
    async fn is_bound_to(&self, uid: &str) -> Result<bool, Status> {
        let (shared, name) = (&self.agents.0, &self.outbox.cluster);
        if shared
            .bound
            .read()
            .get(name)
            .is_some_and(|bound| **bound == *uid)
        {
            return Ok(true);
        }
        let bound = self.agents.store().identities().get(name).await;
        let bound = bound
            .map_err(|_| Status::unavailable("the registry does not answer; try again later"))?;
        if bound.is_none_or(|identity| identity.cluster_uid != uid) {
            return Ok(false);
        }
        shared.bound.write().insert(name.clone(), uid.into());
        Ok(true)
    }

    /// The statuses of the cluster's works.
    fn statuses(&self) -> Vec<Known> {
        let snapshot = self.agents.store().snapshot(resource::WORKS);
        snapshot
            .namespace(&self.outbox.cluster)
            .filter(|work| !work.status.is_empty())
            .map(|work| Known {
                name: work.key.name.clone(),
                uid: work.uid.to_string(),
                status: work.status.clone(),
            })
            .collect()
    }

    fn open(
        self: Box<Self>,
        hello: &Hello,
        cluster: &ManagedCluster,
        (statuses, following): (Statuses, Vec<Body>),
    ) -> Result<Box<Session>, Status> {
        let Self {
            agents,
            agent,
            outbox,
            inbound,
            ends_at,
        } = *self;
        // On the roster first: what changes from here on is marked, and the snapshot below has all before.
        if !agents.0.roster.join(&outbox) {
            return Err(Status::unavailable("this hub is going down"));
        }
        agents.0.metrics.sessions.inc();
        let snapshot = agents.store().snapshot(resource::WORKS);
        let works: Vec<_> = snapshot
            .namespace(&outbox.cluster)
            .map(|s| (s.key.name.clone(), s.uid.to_string(), Work::of(s)))
            .collect();
        let digest = held_digest(works.iter().map(|(name, uid, work)| work.held(name, uid)));
        let in_sync = hello.held_digest == digest[..];
        if !in_sync {
            agents.0.metrics.resyncs.inc();
        }
        outbox.begin(snapshot.revision().0, in_sync);
        let lease_interval = lease_interval(cluster);
        let accepted_rollback = accepted_rollback(cluster);
        let approved_deletions = approved_deletions(cluster);
        let disposal = disposal(cluster);
        let welcome = Welcome {
            statuses: statuses.into(),
            position: Some(Position {
                incarnation: agents.store().incarnation().to_string(),
                revision: snapshot.revision().0,
                stamp: agents.stamp(snapshot.revision().0),
            }),
            session_id: outbox.session.to_string(),
            heartbeat_interval_ms: millis(lease_interval),
            in_sync,
            accepted_rollback: accepted_rollback.clone(),
            approved_deletions,
            disposal: disposal.clone(),
            stamp_at_seen: hello
                .seen
                .as_ref()
                .map(|seen| agents.stamp(seen.revision))
                .unwrap_or_default(),
        };
        tracing::debug!(
            cluster = %outbox.cluster, session = %outbox.session, works = works.len(), in_sync,
            version = hello.agent_version, "session opened",
        );
        let namespaces = wanted_namespaces(cluster);
        let wanted = Namespaces {
            names: namespaces.clone(),
        };
        let mut greeting = vec![Body::Namespaces(wanted), Body::Trust(trust_bundle(&agents))];
        greeting.extend(following);
        greeting.push(Body::Welcome(welcome));
        let now = Instant::now();
        // What happened to the cluster between the check and the roster is looked at again.
        outbox.cluster_changed();
        Ok(Box::new(Session {
            agents,
            uid: agent.uid,
            outbox,
            inbound,
            ends_at,
            greeting,
            bodies: hello.features.iter().any(|feature| feature == BODIES),
            listen: false,
            lease_interval,
            answered: 0,
            accepted_rollback,
            approved_deletions,
            namespaces,
            disposal,
            health: None,
            lost: false,
            report: None,
            report_at: now,
            unrecorded: Vec::new(),
            retry_at: now + RETRY,
        }))
    }
}

impl Session {
    /// Looks at the cluster after a change; says if the session has to end.
    pub(super) fn look_at_cluster(&mut self) -> Option<Leave> {
        let drain = |reason: &str, spread_ms| {
            Some(Leave::Drain {
                reason: reason.to_owned(),
                spread_ms,
            })
        };
        let Ok(cluster) = self
            .agents
            .0
            .client
            .get::<ManagedCluster>("", &self.outbox.cluster)
        else {
            // The registry cannot read its own object: nothing that an agent could do about.
            return None;
        };
        // Deleted and made anew between two looks is deleted, too.
        let Some(cluster) = cluster.filter(|cluster| uid(cluster) == Some(self.uid)) else {
            return drain("the cluster was removed from the hub", DENIED_SPREAD_MS);
        };
        if !cluster.spec.hub_accepts_client {
            return drain(
                "the cluster is not accepted by the hub any more",
                DENIED_SPREAD_MS,
            );
        }
        if accepted_rollback(&cluster) != self.accepted_rollback {
            return drain("a rollback was accepted", 0);
        }
        if approved_deletions(&cluster) != self.approved_deletions {
            return drain("deletions were approved", 0);
        }
        if disposal(&cluster) != self.disposal {
            return drain("a disposal was ordered", 0);
        }
        self.lease_interval = lease_interval(&cluster);
        self.namespaces = wanted_namespaces(&cluster);
        let available = cluster
            .status
            .as_ref()
            .and_then(|status| meta::condition(&status.conditions, condition::CLUSTER_AVAILABLE));
        self.lost = available.is_some_and(|available| {
            available.reason == reason::cluster_available::LEASE_UPDATE_STOPPED
        });
        None
    }
}

/// A status that the hub has.
struct Known {
    name: Arc<str>,
    uid: String,
    status: Bytes,
}

/// Compares the statuses that an agent would report with those of its works. Returns what the agent is to do about it, and what it
/// has to be told for that, last first.
async fn compare(hello: &Hello, known: Vec<Known>) -> (Statuses, Vec<Body>) {
    if hello.statuses_digest.is_empty() {
        return (Statuses::Unspecified, Vec::new());
    }
    let size: usize = known.iter().map(|one| one.status.len()).sum();
    let digests = move || -> Vec<(Arc<str>, String, StatusDigest)> {
        let known = known.into_iter();
        known
            .map(|one| (one.name, one.uid, status_digest(&one.status)))
            .collect()
    };
    let known = if size > AT_ONCE {
        // Seconds, for a thousand large ones: other sessions must not wait for that (P12).
        tokio::task::spawn_blocking(digests)
            .await
            .unwrap_or_default()
    } else {
        digests()
    };
    let all = known
        .iter()
        .map(|(name, uid, digest)| (&**name, uid.as_str(), *digest));
    if hello.statuses_digest == statuses_digest(all)[..] {
        return (Statuses::Known, Vec::new());
    }
    let mut following: Vec<_> = known
        .chunks(DIGESTS)
        .map(|some| StatusDigests {
            digests: some
                .iter()
                .map(|(name, uid, digest)| v1::StatusDigest {
                    name: name.to_string(),
                    uid: uid.clone(),
                    digest: digest.to_vec().into(),
                })
                .collect(),
            last: false,
        })
        .collect();
    following.push(StatusDigests {
        digests: Vec::new(),
        last: true,
    });
    following.reverse();
    (
        Statuses::Follow,
        following.into_iter().map(Body::StatusDigests).collect(),
    )
}

/// Returns how often the agent is to be heard: OCM's default for 0.
fn lease_interval(cluster: &ManagedCluster) -> Duration {
    let seconds = u32::try_from(cluster.spec.lease_duration_seconds).unwrap_or(0);
    let seconds = if seconds == 0 {
        60
    } else {
        seconds.min(u32::MAX / 1000 / LEASE_INTERVALS)
    };
    Duration::from_secs(seconds.into())
}
