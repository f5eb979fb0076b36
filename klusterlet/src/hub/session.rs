//! The session: one stream to the hub, opened again for ever.

mod talk;

use std::{sync::Arc, time::Duration};

use koinon_proto::v1::{
    AgentMessage, ClusterReport, Hello, Statuses, Welcome, agent_message, hub_message,
};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{info, warn};

use super::{DialError, HubAddress, Lease, Puller, dial};
use crate::{
    backoff::Backoff,
    desired::{Holding, Inbox, Told},
    identity::{Anew, Enroller, Renewer},
    metrics::Metrics,
    namespaces::Wanted,
    outbox::{Outbox, Resend},
    position::{Memory, Position, Verdict},
    telemetry::Chain,
    unmanaged::Unmanaged,
    work::DeletionGuard,
};

/// Messages that wait for the transport. Everything behind them coalesces, so this only smooths bursts.
const OUTGOING: usize = 16;

/// Longest wait for the answer to Hello, and for the transport to take a message.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Heartbeat interval before the hub granted one.
const FIRST_INTERVAL: Duration = Duration::from_secs(10);

/// How soon, and at last how seldom, a hub is asked again that has deleted this cluster.
const FORMER: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(120));

/// What a [`Link`] is made of.
#[derive(Debug)]
pub struct LinkParts {
    /// The hub.
    pub address: HubAddress,
    /// Enrols again if the certificate is over.
    pub enroller: Enroller,
    /// The identity, and its renewal.
    pub renewer: Arc<Renewer>,
    /// UID of the member's `kube-system` namespace.
    pub cluster_uid: String,
    /// What is held.
    pub holding: Holding,
    /// The position.
    pub memory: Arc<Mutex<Memory>>,
    /// Where notices go.
    pub inbox: Inbox,
    /// Where statuses and acknowledgements come from.
    pub outbox: Outbox,
    /// What is reported about the cluster.
    pub report: watch::Receiver<Option<ClusterReport>>,
    /// What the hub wants of namespaces.
    pub namespaces: watch::Sender<Wanted>,
    /// The lease.
    pub lease: Lease,
    /// Holds mass deletions up.
    pub guard: DeletionGuard,
    /// What the hub does not know.
    pub unmanaged: Unmanaged,
    /// Counters.
    pub metrics: Metrics,
}

/// How a session ended.
#[derive(Debug)]
enum End {
    /// The process stops.
    Stop,
    /// The hub asked for it; wait that long.
    Drain(Duration),
    /// The certificate is over.
    Expired,
}

/// Why a session failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the hub refused the session ({}): {}", .0.code(), .0.message())]
    Refused(Status),
    #[error("the hub ended the session")]
    Closed,
    #[error("the hub does not answer")]
    Silent,
    #[error("the hub does not follow the protocol: {0}")]
    Protocol(&'static str),
}

/// Keeps a session open.
#[derive(Debug)]
pub struct Link {
    parts: LinkParts,
}

impl Link {
    /// Creates a link; nothing is opened yet.
    #[must_use]
    pub const fn new(parts: LinkParts) -> Self {
        Self { parts }
    }

    /// Opens sessions until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let mut former = Backoff::new(FORMER.0, FORMER.1);
        while !stop.is_cancelled() {
            let started = Instant::now();
            let end = self.session(&stop).await;
            self.parts.inbox.close();
            self.parts.unmanaged.set_sure(false);
            self.parts.metrics.connected.set(0);
            if started.elapsed() > Duration::from_secs(60) {
                backoff.reset();
            }
            let wait = match end {
                Ok(End::Stop) => return,
                Ok(End::Drain(wait)) => {
                    info!(?wait, "the hub asks to reconnect");
                    backoff.reset();
                    wait
                }
                Ok(End::Expired) => {
                    warn!("the certificate is over; enrolling again");
                    if stop.run_until_cancelled(self.enrol_again()).await.is_none() {
                        return;
                    }
                    Duration::ZERO
                }
                Err(Error::Refused(status)) if is_former(&status) => {
                    let joining = self.join_anew(&mut former);
                    match stop.run_until_cancelled(joining).await {
                        Some(wait) => wait,
                        None => return,
                    }
                }
                Err(error) => {
                    let wait = backoff.next_delay().min(patience(&self.parts.lease));
                    warn!(hub = %self.parts.address, error = %Chain(&error), retry_in = ?wait, "no session with the hub; the cluster stays as it is");
                    wait
                }
            };
            stop.run_until_cancelled(tokio::time::sleep(wait)).await;
        }
    }

    /// The hub has deleted this cluster. All stays as it is here; the agent joins anew if it was given another token, and else asks
    /// now and then, for the hub may be an old copy of itself. Returns how long to wait.
    async fn join_anew(&mut self, backoff: &mut Backoff) -> Duration {
        let shared = &self.parts.renewer.shared;
        self.parts.metrics.former_identity.set(1);
        match self.parts.enroller.join_anew(&shared.current()).await {
            Anew::Joined(stored) => {
                if let Err(error) = shared.replace(*stored) {
                    warn!(%error, "the new identity is unusable");
                }
                backoff.reset();
                Duration::ZERO
            }
            Anew::Waits(why) => {
                let wait = backoff.next_delay();
                warn!(hub = %self.parts.address, why, retry_in = ?wait, "this cluster was deleted on the hub; what it has stays, and it joins anew only with another join token");
                wait
            }
        }
    }

    async fn enrol_again(&mut self) {
        let stored = self.parts.enroller.identity().await;
        if let Err(error) = self.parts.renewer.shared.replace(stored) {
            warn!(%error, "the new identity is unusable");
        }
    }

    async fn session(&mut self, stop: &CancellationToken) -> Result<End, Error> {
        let validity = self.parts.renewer.shared.validity();
        self.parts
            .metrics
            .certificate_expiry
            .set(validity.map_or(0, |v| v.until));
        if validity.is_none_or(|v| v.is_over(crate::clock::unix())) {
            return Ok(End::Expired);
        }
        let connect = async {
            let channel = dial(&self.parts.address, self.parts.renewer.shared.tls()).await?;
            let mut puller = Puller::new(channel);
            let (sender, receiver) = mpsc::channel(OUTGOING);
            // The hub answers with headers only once it can read Hello, so Hello is under way before the call.
            sender
                .try_send(message(agent_message::Body::Hello(self.hello())))
                .map_err(|_| Error::Closed)?;
            let incoming = puller
                .client()
                .attach(ReceiverStream::new(receiver))
                .await
                .map_err(Error::Refused)?
                .into_inner();
            Ok::<_, Error>((puller, sender, incoming))
        };
        let Some(connected) = stop
            .run_until_cancelled(tokio::time::timeout(ANSWER_TIMEOUT, connect))
            .await
        else {
            return Ok(End::Stop);
        };
        let (puller, sender, mut incoming) = connected.map_err(|_| Error::Silent)??;

        let Some(first) = stop
            .run_until_cancelled(tokio::time::timeout(ANSWER_TIMEOUT, incoming.message()))
            .await
        else {
            return Ok(End::Stop);
        };
        let welcome = match first
            .map_err(|_| Error::Silent)?
            .map_err(Error::Refused)?
            .ok_or(Error::Closed)?
            .body
        {
            Some(hub_message::Body::Welcome(welcome)) => welcome,
            Some(hub_message::Body::Drain(drain)) => return Ok(End::Drain(share(drain.spread_ms))),
            _ => return Err(Error::Protocol("the first message is not Welcome")),
        };
        let interval = interval(welcome.heartbeat_interval_ms).unwrap_or(FIRST_INTERVAL);
        info!(hub = %self.parts.address, session = %welcome.session_id, in_sync = welcome.in_sync, "session opened");
        let verdict = judge(&self.parts, &welcome)?;
        // Hub and agent agree on all works but the strays: so it still does not have these.
        let agree = welcome.in_sync && verdict == Verdict::Follow;
        self.parts.unmanaged.set_sure(agree);
        let told = if welcome.in_sync {
            Told::All
        } else {
            Told::Some
        };
        self.parts.inbox.open(puller.clone(), told);
        match welcome.statuses() {
            Statuses::Known => self.parts.outbox.all_known(),
            Statuses::Follow => self.parts.outbox.await_digests(),
            Statuses::Unspecified => self.parts.outbox.renew(if welcome.in_sync {
                Resend::Unconfirmed
            } else {
                Resend::All
            }),
        }
        self.parts.metrics.sessions.inc();
        self.parts.metrics.connected.set(1);
        self.parts.metrics.former_identity.set(0);
        self.parts.report.mark_changed();
        talk::talk(
            &mut self.parts,
            talk::Open::new(sender, interval),
            puller,
            &mut incoming,
            stop,
        )
        .await
    }

    fn hello(&self) -> Hello {
        Hello {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            features: vec![koinon_proto::BODIES.to_owned()],
            cluster_uid: self.parts.cluster_uid.clone(),
            seen: self.parts.memory.lock().seen.clone().map(Into::into),
            held_digest: self.parts.holding.digest().to_vec().into(),
            statuses_digest: self.parts.outbox.digest().to_vec().into(),
        }
    }
}

/// Judges the hub by its welcome (P4).
fn judge(parts: &LinkParts, welcome: &Welcome) -> Result<Verdict, Error> {
    let offered: Position = welcome
        .position
        .clone()
        .ok_or(Error::Protocol("Welcome without a position"))?
        .into();
    let accepted = welcome.accepted_rollback.clone().map(Position::from);
    let mut memory = parts.memory.lock();
    let verdict = memory.welcome(&offered, &welcome.stamp_at_seen, accepted.as_ref());
    parts
        .metrics
        .rollback_hold
        .set(i64::from(verdict == Verdict::HoldOff));
    parts.guard.approve(welcome.approved_deletions);
    if verdict != Verdict::HoldOff {
        parts.unmanaged.order(&welcome.disposal, offered.revision);
    }
    match verdict {
        Verdict::Follow => {}
        Verdict::FollowRollback => {
            warn!(incarnation = %offered.incarnation, revision = offered.revision, "following a hub that was rolled back, as an admin accepted")
        }
        Verdict::HoldOff => {
            // A hub that is not followed approves and orders nothing.
            parts.guard.approve(0);
            parts.unmanaged.order("", 0);
            warn!(seen = ?memory.seen, ?offered, "the hub is behind what this cluster knows; nothing is deleted or rolled back until an admin accepts it");
        }
    }
    Ok(verdict)
}

/// The hub says that the certificate is of a cluster that it does not have any more.
fn is_former(status: &Status) -> bool {
    let said = status.metadata().get(koinon_proto::REFUSAL);
    said.is_some_and(|said| said == koinon_proto::FORMER_IDENTITY)
}

fn message(body: agent_message::Body) -> AgentMessage {
    AgentMessage { body: Some(body) }
}

/// How long not to dial at most: a hub that comes back waits for its agents no longer than a lease lasts.
fn patience(lease: &Lease) -> Duration {
    lease.duration().unwrap_or(Duration::MAX) / 3
}

fn interval(millis: u32) -> Option<Duration> {
    (millis > 0).then(|| Duration::from_millis(u64::from(millis.clamp(100, 600_000))))
}

/// Returns this agent's random share of a spread.
fn share(spread_ms: u32) -> Duration {
    Duration::from_millis(u64::from(spread_ms.min(600_000))).mul_f64(rand::random_range(0.0..1.0))
}
