//! One session: a task that polls the agent's messages and the session's outbox, and answers.
//!
//! A session waits nearly all its life, and there are ten thousand: what it does in between is boxed, so that it takes room only
//! while it is done.

mod admit;
mod receive;

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, Stream, stream};
use koinon_proto::{
    MAX_BATCH,
    v1::{
        AgentMessage, ClusterReport, Drain, HubMessage, LeaseGrant, Namespaces, Position,
        TrustBundle, WorkBody, hub_message::Body,
    },
};
use koinon_store::{Key, Snapshot};
use tokio::time::{Instant, sleep_until};
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::{
    Agents,
    dirty::Works,
    outbox::{self, Leave, Next, Outbox},
    pull,
    report::Health,
    resource,
    trail::Trail,
    work::Work,
};
use crate::{clock, pki::Enrolled};

/// An agent that has not said hello by then is no agent.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before something that the registry refused is tried again, and between two reports that are written.
const RETRY: Duration = Duration::from_secs(5);
const REPORTS: Duration = Duration::from_secs(1);
/// How long a session may last whose certificate does not end before: timers cannot go on for ever.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);
/// Bytes of bodies and their labels that come with the notices of one message; a session's buffer keeps the size of the largest.
/// What does not fit is pulled, in chunks and in turn.
const BODIES_ROOM: usize = 64 * 1024;
/// A lease is good for this many intervals, as OCM's is.
const LEASE_INTERVALS: u32 = 5;

/// Makes the stream of answers; polling it is what runs the session.
pub(super) fn stream(
    agents: Agents,
    agent: Enrolled,
    not_after: i64,
    inbound: Streaming<AgentMessage>,
    trail: Trail,
) -> impl Stream<Item = Result<HubMessage, Status>> + Send + 'static {
    let outbox = Outbox::new(
        agent.subject.cluster.as_str().into(),
        agent.subject.agent.as_str().into(),
    );
    let entering = Entering {
        agents,
        agent,
        outbox,
        inbound,
        ends_at: Instant::now() + clock::until_unix(not_after).min(LONGEST),
    };
    stream::unfold(
        Phase::Entering(Box::new(entering), Box::new(trail)),
        |mut phase| async move {
            loop {
                match phase {
                    Phase::Entering(entering, trail) => match Box::pin(entering.admit()).await {
                        Ok(session) => {
                            trail.done(200);
                            phase = Phase::Open(session);
                        }
                        Err(status) => {
                            trail.refused(&status);
                            return Some((Err(status), Phase::Over));
                        }
                    },
                    Phase::Open(mut session) => {
                        return match session.next().await {
                            Step::Say(body) => {
                                Some((Ok(HubMessage { body: Some(body) }), Phase::Open(session)))
                            }
                            Step::SayLast(body) => {
                                Some((Ok(HubMessage { body: Some(body) }), Phase::Over))
                            }
                            Step::Fail(status) => Some((Err(status), Phase::Over)),
                            Step::End => None,
                        };
                    }
                    Phase::Over => return None,
                }
            }
        },
    )
}

enum Phase {
    Entering(Box<Entering>, Box<Trail>),
    Open(Box<Session>),
    Over,
}

/// A session whose agent has not said hello.
struct Entering {
    agents: Agents,
    agent: Enrolled,
    outbox: Arc<Outbox>,
    inbound: Streaming<AgentMessage>,
    ends_at: Instant,
}

/// A session that was let in. Its end, however it comes, takes it off the roster.
struct Session {
    agents: Agents,
    /// The uid of the `ManagedCluster` that its certificate was issued for.
    uid: Uuid,
    outbox: Arc<Outbox>,
    inbound: Streaming<AgentMessage>,
    /// When its certificate expires.
    ends_at: Instant,
    /// What follows the hello, last first.
    greeting: Vec<Body>,
    /// Small bodies may come with their notices.
    bodies: bool,
    /// The last thing done was to say something: the agent's turn.
    listen: bool,
    lease_interval: Duration,
    /// The last heartbeat that was answered.
    answered: u64,
    accepted_rollback: Option<Position>,
    approved_deletions: i64,
    /// The namespaces that the agent was last told to keep.
    namespaces: Vec<String>,
    disposal: String,
    /// What the agent last said of its API server, to restore `Available` once it is heard of again.
    health: Option<Health>,
    lost: bool,
    report: Option<Box<ClusterReport>>,
    report_at: Instant,
    /// Removals that could not be recorded: told again, so that the agent confirms again.
    unrecorded: Vec<Arc<str>>,
    retry_at: Instant,
}

enum Step {
    Say(Body),
    SayLast(Body),
    Fail(Status),
    End,
}

impl Drop for Session {
    fn drop(&mut self) {
        let shared = &self.agents.0;
        shared.roster.leave(&self.outbox);
        shared.presence.forget(&self.outbox);
        shared.metrics.sessions.dec();
        tracing::debug!(cluster = %self.outbox.cluster, session = %self.outbox.session, "session ended");
    }
}

impl Session {
    /// Runs the session until there is something to say.
    async fn next(&mut self) -> Step {
        if let Some(body) = self.greeting.pop() {
            return Step::Say(body);
        }
        loop {
            // A fleet of changes must not keep the agent from being heard, nor the other way round.
            if std::mem::take(&mut self.listen)
                && let Some(message) = self.inbound.message().now_or_never()
                && let Some(step) = self.heard(message).await
            {
                return step;
            }
            if let Some(step) = self.tell().await {
                self.listen = true;
                return step;
            }
            let wake_at = self.wake_at();
            let message = tokio::select! {
                message = self.inbound.message() => Some(message),
                () = self.outbox.woken() => None,
                () = sleep_until(wake_at) => None,
            };
            if let Some(message) = message
                && let Some(step) = self.heard(message).await
            {
                return step;
            }
            if let Some(step) = self.due().await {
                return step;
            }
        }
    }

    async fn heard(&mut self, message: Result<Option<AgentMessage>, Status>) -> Option<Step> {
        match message {
            Ok(Some(message)) => match Box::pin(self.receive(message)).await {
                Ok(()) => None,
                Err(status) => {
                    self.agents.0.metrics.session_end("protocol");
                    tracing::warn!(cluster = %self.outbox.cluster, error = status.message(), "session broken off");
                    Some(Step::Fail(status))
                }
            },
            Ok(None) => {
                self.agents.0.metrics.session_end("agent");
                Some(Step::End)
            }
            Err(status) => {
                self.agents.0.metrics.session_end("connection");
                tracing::debug!(cluster = %self.outbox.cluster, error = status.message(), "session lost");
                Some(Step::End)
            }
        }
    }

    /// Takes the next thing to say from the outbox.
    async fn tell(&mut self) -> Option<Step> {
        loop {
            let works = || OwnWorks {
                snapshot: self.agents.store().snapshot(resource::WORKS),
                cluster: &self.outbox.cluster,
            };
            let body = match self.outbox.next(works, MAX_BATCH)? {
                Next::Leave(leave) => return Some(self.leave(leave)),
                Next::Grant(sequence) => {
                    Box::pin(self.restore_available()).await;
                    self.answered = sequence;
                    self.grant()
                }
                Next::Cluster => {
                    let (interval, before) = (self.lease_interval, self.namespaces.clone());
                    let leave = self.look_at_cluster();
                    if self.namespaces != before {
                        self.greeting.push(self.wanted());
                    }
                    match leave {
                        Some(leave) => return Some(self.leave(leave)),
                        // Told at once: the end of a long interval may lie behind the end of the new grace.
                        None if self.lease_interval != interval => self.grant(),
                        None => match self.greeting.pop() {
                            Some(news) => news,
                            None => continue,
                        },
                    }
                }
                Next::Decisions => {
                    let mut decisions = self.agents.0.placements.of(&self.outbox.cluster);
                    decisions.stamp = self.agents.stamp(decisions.revision);
                    Body::Decisions(decisions)
                }
                Next::Works(revision, told) => {
                    self.agents
                        .0
                        .metrics
                        .notices
                        .inc_by(told.works.len() as u64);
                    let stamp = self.agents.stamp(revision);
                    let mut room = if self.bodies { BODIES_ROOM } else { 0 };
                    let along = |name: &Arc<str>, work: &Work| self.body(name, work, &mut room);
                    Body::Notices(outbox::notices(revision, stamp, &told, along))
                }
            };
            return Some(Step::Say(body));
        }
    }

    /// The body of a work, if there is room for it: it spares the agent the round trip of a pull.
    fn body(&self, name: &Arc<str>, work: &Work, room: &mut usize) -> Option<WorkBody> {
        let stored = self
            .agents
            .store()
            .get(&work_key(&self.outbox.cluster, name))?;
        // It may have changed since; then another notice follows.
        let is_it = stored.uid == work.uid && stored.digest == work.digest;
        if !is_it {
            return None;
        }
        *room = room.checked_sub(pull::size(&stored))?;
        let sent = &self.agents.0.metrics.pulled_bytes;
        sent.inc_by(stored.body.len() as u64);
        Some(WorkBody {
            labels: (*stored.labels).clone(),
            data: stored.body.clone(),
        })
    }

    /// The namespaces as the cluster's status has them now.
    fn wanted(&self) -> Body {
        Body::Namespaces(Namespaces {
            names: self.namespaces.clone(),
        })
    }

    /// The lease as the cluster's object has it now, for the last heartbeat answered.
    fn grant(&self) -> Body {
        Body::Lease(LeaseGrant {
            sequence: self.answered,
            duration_ms: millis(self.lease_interval * LEASE_INTERVALS),
            heartbeat_interval_ms: millis(self.lease_interval),
        })
    }

    fn leave(&self, leave: Leave) -> Step {
        match leave {
            Leave::Drain { reason, spread_ms } => {
                self.agents.0.metrics.session_end("drained");
                tracing::debug!(cluster = %self.outbox.cluster, reason, "session drained");
                Step::SayLast(Body::Drain(Drain { reason, spread_ms }))
            }
            Leave::Replaced => {
                self.agents.0.metrics.session_end("replaced");
                Step::Fail(Status::aborted(
                    "replaced by a newer session of the same agent",
                ))
            }
        }
    }

    fn wake_at(&self) -> Instant {
        let report = self.report.as_ref().map(|_| self.report_at);
        let retry = (!self.unrecorded.is_empty()).then_some(self.retry_at);
        [report, retry]
            .into_iter()
            .flatten()
            .fold(self.ends_at, Instant::min)
    }

    /// Does what has become due.
    async fn due(&mut self) -> Option<Step> {
        let now = Instant::now();
        if now >= self.ends_at {
            self.agents.0.metrics.session_end("certificate_expired");
            return Some(Step::Fail(Status::unauthenticated(
                "the certificate has expired",
            )));
        }
        if self.report.is_some() && now >= self.report_at {
            Box::pin(self.write_report()).await;
        }
        if !self.unrecorded.is_empty() && now >= self.retry_at {
            for name in std::mem::take(&mut self.unrecorded) {
                self.outbox.work_again(&name);
            }
        }
        None
    }
}

/// The works of the session's own namespace; no other is ever looked at (P6).
struct OwnWorks<'a> {
    snapshot: Snapshot,
    cluster: &'a Arc<str>,
}

impl Works for OwnWorks<'_> {
    fn revision(&self) -> i64 {
        self.snapshot.revision().0
    }

    fn get(&self, name: &str) -> Option<Work> {
        self.snapshot
            .get(self.cluster, name)
            .map(|stored| Work::of(stored))
    }

    fn after(&self, name: &str, most: usize) -> Vec<(Arc<str>, Work)> {
        self.snapshot
            .after(self.cluster, name)
            .take_while(|stored| stored.key.namespace == *self.cluster)
            .take(most)
            .map(|stored| (stored.key.name.clone(), Work::of(stored)))
            .collect()
    }
}

fn trust_bundle(agents: &Agents) -> TrustBundle {
    TrustBundle {
        certificates_der: vec![agents.0.authority.certificate().to_vec().into()],
    }
}

fn work_key(cluster: &Arc<str>, name: &str) -> Key {
    Key::new(resource::WORKS, cluster.clone(), name)
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
