//! What happens while a session is open.

use std::{collections::VecDeque, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use koinon_api::names::is_dns_label;
use koinon_proto::v1::{
    AckBatch, AgentMessage, ClusterReport, DeletionHold, Heartbeat, HubMessage, RollbackHold,
    Unmanaged, WorkNotices, WorkStatusBatch, agent_message::Body, hub_message,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tracing::{debug, info, warn};

use super::{ANSWER_TIMEOUT, End, Error, LinkParts, Puller, interval, judge, message, share};
use crate::{
    desired::{Notice, Told},
    position::Verdict,
};

/// Heartbeats without an answer after which the session counts as dead.
const UNANSWERED: usize = 6;

/// How soon a renewal that failed is tried again.
const RENEW_RETRY: Duration = Duration::from_secs(60);

/// A chore that runs beside the conversation, so that no lease waits for it.
enum Chore {
    Renewed(anyhow::Result<()>),
    Trusted(anyhow::Result<()>),
}

/// The agent's side of an open stream.
pub(super) struct Open {
    sender: mpsc::Sender<AgentMessage>,
    interval: Duration,
    beat_at: Instant,
    sequence: u64,
    /// Heartbeats on their way, with when they were sent.
    unanswered: VecDeque<(u64, Instant)>,
    /// The holds that were reported last.
    holds: Holds,
}

impl Open {
    pub(super) fn new(sender: mpsc::Sender<AgentMessage>, interval: Duration) -> Self {
        Self {
            sender,
            interval,
            beat_at: Instant::now(),
            sequence: 0,
            unanswered: VecDeque::new(),
            holds: Holds::default(),
        }
    }

    async fn send(&self, body: Body) -> Result<(), Error> {
        match tokio::time::timeout(ANSWER_TIMEOUT, self.sender.send(message(body))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => Err(Error::Silent),
        }
    }

    async fn beat(&mut self) -> Result<(), Error> {
        if self.unanswered.len() >= UNANSWERED {
            return Err(Error::Silent);
        }
        self.sequence += 1;
        let now = Instant::now();
        self.unanswered.push_back((self.sequence, now));
        self.beat_at = now + self.interval;
        self.send(Body::Heartbeat(Heartbeat {
            sequence: self.sequence,
        }))
        .await
    }

    /// Returns when the heartbeat was sent that a grant answers; it answers all before it as well.
    fn answered(&mut self, sequence: u64) -> Option<Instant> {
        let mut sent = None;
        while let Some((number, at)) = self.unanswered.front().copied()
            && number <= sequence
        {
            self.unanswered.pop_front();
            sent = (number == sequence).then_some(at);
        }
        sent
    }

    fn set_interval(&mut self, interval: Option<Duration>) {
        let Some(interval) = interval.filter(|i| *i != self.interval) else {
            return;
        };
        // A shorter interval must not wait for the end of the longer one.
        self.beat_at = self.beat_at.min(Instant::now() + interval);
        self.interval = interval;
    }

    async fn report(&mut self, report: Option<ClusterReport>, holds: Holds) -> Result<(), Error> {
        let Some(mut report) = report else {
            return Ok(());
        };
        self.holds.clone_from(&holds);
        (report.rollback_hold, report.deletion_hold) = (holds.rollback, holds.deletion);
        (report.unmanaged, report.unmanaged_unknown) = holds.unmanaged;
        self.send(Body::Report(report)).await
    }
}

/// Talks until one side ends it.
pub(super) async fn talk(
    parts: &mut LinkParts,
    mut open: Open,
    puller: Puller,
    incoming: &mut Streaming<HubMessage>,
    stop: &CancellationToken,
) -> Result<End, Error> {
    let mut chores: FuturesUnordered<BoxFuture<'static, Chore>> = FuturesUnordered::new();
    let mut renew_at = Some(Instant::now() + parts.renewer.due_in());
    let mut more = true;
    loop {
        let renewal = renew_at.unwrap_or_else(|| Instant::now() + RENEW_RETRY);
        tokio::select! {
            // Leases first: a cluster must not look dead because it has much to say.
            biased;
            () = stop.cancelled() => return Ok(End::Stop),
            () = sleep_until(open.beat_at) => open.beat().await?,
            received = incoming.message() => {
                let body = received.map_err(Error::Refused)?.ok_or(Error::Closed)?.body;
                match body {
                    Some(hub_message::Body::Lease(grant)) => {
                        if let Some(sent) = open.answered(grant.sequence) {
                            parts.lease.granted(sent, Duration::from_millis(u64::from(grant.duration_ms)));
                            parts.outbox.confirm(grant.sequence);
                        }
                        // Also on a grant that answers nothing new: the cluster's lease was changed.
                        open.set_interval(interval(grant.heartbeat_interval_ms));
                    }
                    Some(hub_message::Body::Notices(notices)) => take(parts, notices),
                    Some(hub_message::Body::Decisions(decisions)) => {
                        parts
                            .memory
                            .lock()
                            .advance(decisions.revision, &decisions.stamp);
                        debug!(placements = decisions.placements.len(), "decisions that name this cluster");
                    }
                    Some(hub_message::Body::Trust(bundle)) => {
                        let renewer = parts.renewer.clone();
                        chores.push(async move { Chore::Trusted(renewer.trust(&bundle.certificates_der).await) }.boxed());
                    }
                    Some(hub_message::Body::Namespaces(wanted)) => {
                        let wanted = wanted.names.into_iter().filter(|name| is_dns_label(name));
                        parts.namespaces.send_replace(Some(wanted.collect()));
                    }
                    Some(hub_message::Body::Drain(drain)) => {
                        debug!(reason = %drain.reason, "drain");
                        return Ok(End::Drain(share(drain.spread_ms)));
                    }
                    Some(hub_message::Body::StatusDigests(known)) => parts.outbox.compare(known),
                    // An admin may accept a rollback while the session is open; what was held back is then asked for anew.
                    Some(hub_message::Body::Welcome(welcome)) => {
                        let verdict = judge(parts, &welcome)?;
                        if verdict == Verdict::FollowRollback {
                            return Ok(End::Drain(Duration::ZERO));
                        }
                    }
                    None => {}
                }
            }
            changed = parts.report.changed() => {
                changed.map_err(|_| Error::Closed)?;
                let report = parts.report.borrow_and_update().clone();
                open.report(report, holds(parts)).await?;
            }
            () = parts.unmanaged.changed() => {}
            () = async { if !more { parts.outbox.notified().await } } => {
                let acks = parts.outbox.take_acks();
                let statuses = parts.outbox.take_reports(open.sequence + 1);
                more = !acks.is_empty() || !statuses.is_empty();
                if !acks.is_empty() {
                    open.send(Body::Acks(AckBatch { acks })).await?;
                }
                if !statuses.is_empty() {
                    open.send(Body::Statuses(WorkStatusBatch { statuses })).await?;
                }
            }
            () = sleep_until(renewal), if renew_at.is_some() => {
                renew_at = None;
                let (renewer, puller) = (parts.renewer.clone(), puller.clone());
                chores.push(async move { Chore::Renewed(renewer.renew(puller).await) }.boxed());
            }
            Some(chore) = chores.next(), if !chores.is_empty() => match chore {
                Chore::Renewed(Ok(())) => {
                    parts.metrics.certificate_expiry.set(parts.renewer.shared.validity().map_or(0, |v| v.until));
                    info!("certificate renewed");
                    renew_at = Some(Instant::now() + parts.renewer.due_in().max(Duration::from_secs(1)));
                }
                Chore::Renewed(Err(error)) => {
                    warn!(%error, "the certificate could not be renewed");
                    renew_at = Some(Instant::now() + RENEW_RETRY.mul_f64(rand::random_range(1.0..1.5)));
                }
                Chore::Trusted(Ok(())) => {}
                Chore::Trusted(Err(error)) => warn!(%error, "the hub's new trust bundle was not taken over"),
            },
        }
        let holds = holds(parts);
        if holds != open.holds {
            let report = parts.report.borrow().clone();
            open.report(report, holds).await?;
        }
    }
}

/// What the agent holds up at this moment, and what it holds that the hub does not know.
#[derive(Debug, Clone, Default, PartialEq)]
struct Holds {
    rollback: Option<RollbackHold>,
    deletion: Option<DeletionHold>,
    unmanaged: (Option<Unmanaged>, bool),
}

fn holds(parts: &LinkParts) -> Holds {
    let deletions = parts.guard.hold();
    parts
        .metrics
        .deletion_hold
        .set(i64::from(deletions.is_some()));
    Holds {
        rollback: parts.memory.lock().hold(),
        deletion: deletions,
        unmanaged: parts.unmanaged.report(),
    }
}

fn take(parts: &LinkParts, notices: WorkNotices) {
    let revision = notices.revision;
    parts.memory.lock().advance(revision, &notices.stamp);
    let told = if notices.complete {
        Told::All
    } else {
        Told::Some
    };
    let all = notices.notices.into_iter().map(|n| Notice {
        name: n.name,
        uid: n.uid,
        generation: n.generation,
        digest: n.digest.to_vec(),
        tombstone: n.tombstone,
        directives: n.directives,
        revision,
        body: n.body,
    });
    parts.inbox.add(all, told);
}
