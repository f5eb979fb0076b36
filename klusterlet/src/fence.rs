//! One agent at a time: a Lease in the member, held by whoever may write there.
//!
//! ```text
//!   holder:    reads the Lease every few seconds, and before a write if it has not for a while ─► may write until 8 s after
//!   newcomer:  writes a challenge ─► answered within 20 s: the holder lives, wait
//!                                 └► not answered: it is dead, or will find out before it writes again ─► take over
//! ```
//!
//! The holder writes only to answer, so nothing is written while there is one agent (P13). Both count on their own monotonic clock: the
//! holder from before it asked, the newcomer from after it saw the challenge in place, so the holder's right to write ends first,
//! whatever clocks say and however long a process was stopped. A holder that sees another one ends; started anew, it knows only what
//! is in the member, and waits. A holder that certainly is dead, or that ended in order, is not waited for.
//!
//! What was sent before a right ended may still arrive for as long as the network takes; preconditions of writes and the records
//! (`planned-by`) stand behind this.

mod holder;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::holder::Holder;
use crate::{
    backoff::Backoff,
    clock,
    cluster::{Cluster, Error, Result, known::LEASES, refused},
    telemetry::Chain,
};

/// Name of the Lease in the agent's namespace.
const NAME: &str = "klusterlet";

/// How long the holder may write after it asked whether it is the holder, and how often it asks.
const VALID: Duration = Duration::from_secs(8);
const ASK: Duration = Duration::from_secs(4);

/// How long a challenge must stay unanswered: the holder's right, and time for what it has sent to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a newcomer looks, and how often it challenges a holder that lives.
const LOOK: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_secs(30);

/// Annotations of the Lease: who waits for an answer, and where the holder's process is.
const CHALLENGER: &str = "koinon.dev/challenger";
const PROCESS: &str = "koinon.dev/process";

/// What a Lease says to somebody. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// It is his.
    Yours,
    /// It is his, and somebody asks whether he lives.
    Challenged,
    /// It is another one's, who was challenged, or was not.
    Others { challenged: bool },
    /// It is nobody's.
    Free,
}

fn says(lease: &Value, me: &Holder) -> Says {
    let annotation = |key: &str| {
        let annotations = lease.pointer("/metadata/annotations");
        annotations
            .and_then(|all| all.get(key))
            .and_then(Value::as_str)
    };
    let holder = lease.pointer("/spec/holderIdentity");
    let holder = holder.and_then(Value::as_str).unwrap_or_default();
    let challenged = annotation(CHALLENGER).is_some();
    if holder == me.name() {
        if challenged {
            Says::Challenged
        } else {
            Says::Yours
        }
    } else if holder.is_empty() || annotation(PROCESS).is_some_and(|process| me.knows_dead(process))
    {
        Says::Free
    } else {
        Says::Others { challenged }
    }
}

/// When a newcomer first saw the Lease in the version that it has.
#[derive(Debug, Default)]
struct Seen {
    version: String,
    at: Option<Instant>,
    /// When the last challenge was made.
    challenged: Option<Instant>,
}

impl Seen {
    /// How long the Lease has been as it is.
    fn unchanged(&mut self, version: &str, now: Instant) -> Duration {
        if self.version != version {
            (self.version, self.at) = (version.to_owned(), Some(now));
        }
        self.at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }

    fn may_challenge(&self, now: Instant) -> bool {
        self.challenged
            .is_none_or(|at| now.saturating_duration_since(at) >= AGAIN)
    }
}

#[derive(Debug, Default)]
struct State {
    /// When the last question was sent that was answered with yes.
    confirmed: Option<Instant>,
    /// When the last question was begun that nobody answered.
    unanswered: Option<Instant>,
    lost: bool,
}

/// The right to write into the member. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fence(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cluster: Cluster,
    namespace: String,
    me: Holder,
    state: Mutex<State>,
    /// One asks for all.
    asking: tokio::sync::Mutex<()>,
}

impl Fence {
    /// Creates a fence that is not held yet. `cluster` is for it alone: its questions must not wait behind what they are about.
    #[must_use]
    pub fn new(cluster: Cluster, namespace: String) -> Self {
        Self(Arc::new(Inner {
            cluster,
            namespace,
            me: Holder::here(),
            state: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }))
    }

    /// Waits until this process is the holder.
    pub async fn acquire(&self) {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
        let (mut seen, mut told) = (Seen::default(), false);
        loop {
            let wait = match self.try_acquire(&mut seen).await {
                Ok(true) => return,
                Ok(false) => {
                    if !std::mem::replace(&mut told, true) {
                        warn!(lease = NAME, namespace = %self.0.namespace, "another agent works in this cluster; waiting for its end");
                    }
                    backoff.reset();
                    LOOK
                }
                Err(error) => {
                    let wait = backoff.next_delay();
                    warn!(error = %Chain(&error), retry_in = ?wait, "the agent's lease cannot be taken");
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn try_acquire(&self, seen: &mut Seen) -> Result<bool> {
        let Some(lease) = self.read().await? else {
            let sent = Instant::now();
            return Ok(self.make().await? && self.confirm(sent));
        };
        let unchanged = seen.unchanged(version(&lease), Instant::now());
        let take = match says(&lease, &self.0.me) {
            Says::Yours | Says::Challenged | Says::Free => true,
            Says::Others { challenged } => challenged && unchanged >= PATIENCE,
        };
        if take {
            let sent = Instant::now();
            return Ok(self.write(&self.mine(Some(&lease))).await?.is_some() && self.confirm(sent));
        }
        if says(&lease, &self.0.me) == (Says::Others { challenged: false })
            && seen.may_challenge(Instant::now())
        {
            let mut challenge = lease.clone();
            challenge["metadata"]["annotations"][CHALLENGER] = json!(self.0.me.name());
            if let Some(written) = self.write(&challenge).await? {
                let now = Instant::now();
                seen.unchanged(version(&written), now);
                seen.challenged = Some(now);
            }
        }
        Ok(false)
    }

    /// Asks every few seconds whether this process still is the holder, and answers challenges, until `stop` or until it is not.
    pub async fn keep(self, stop: CancellationToken) {
        loop {
            let pause = stop.run_until_cancelled(tokio::time::sleep(ASK));
            if pause.await.is_none() {
                return;
            }
            // An API server that is away takes no writes either.
            let _ = self.ask().await; // what it says is read below
            if self.0.state.lock().lost {
                warn!("another agent has taken over this cluster; ending");
                return;
            }
        }
    }

    /// Returns when this process may write: at once, as a rule.
    ///
    /// # Errors
    /// When another agent has taken over, or nobody can tell.
    pub async fn admit(&self) -> Result<()> {
        if self.is_valid() {
            return Ok(());
        }
        self.ask().await
    }

    fn is_valid(&self) -> bool {
        let state = self.0.state.lock();
        let fresh = |at: Instant| at.elapsed() < VALID;
        !state.lost && state.confirmed.is_some_and(fresh)
    }

    /// Asks. Boxed: asking is a call of a client, and a client's call may ask.
    fn ask(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.do_ask())
    }

    async fn do_ask(&self) -> Result<()> {
        let asked = Instant::now();
        let _turn = self.0.asking.lock().await;
        // Somebody asked meanwhile: his answer is as good as another one.
        {
            let state = self.0.state.lock();
            let since = |at: Option<Instant>| at.is_some_and(|at| at >= asked);
            if !state.lost && since(state.confirmed) {
                return Ok(());
            }
            if since(state.unanswered) {
                return Err(Error::Timeout);
            }
        }
        let began = Instant::now();
        let outcome = self.question().await;
        if outcome.is_err() {
            self.0.state.lock().unanswered = Some(began);
        }
        outcome
    }

    async fn question(&self) -> Result<()> {
        for _ in 0..3 {
            if self.0.state.lock().lost {
                return Err(lost());
            }
            let sent = Instant::now();
            let written = match self.read().await? {
                // Somebody deleted it.
                None => self.make().await?,
                Some(lease) => match says(&lease, &self.0.me) {
                    Says::Yours => true,
                    Says::Challenged => self.write(&self.mine(Some(&lease))).await?.is_some(),
                    Says::Others { .. } | Says::Free => {
                        self.0.state.lock().lost = true;
                        return Err(lost());
                    }
                },
            };
            if written {
                self.confirm(sent);
                return Ok(());
            }
        }
        Err(Error::Timeout)
    }

    fn confirm(&self, sent: Instant) -> bool {
        self.0.state.lock().confirmed = Some(sent);
        true
    }

    /// Gives the Lease up, so that the next agent need not wait. Nothing may be written after that.
    pub async fn release(&self) {
        if self.0.state.lock().confirmed.take().is_none() {
            return;
        }
        let Ok(Some(mut lease)) = self.read().await else {
            return;
        };
        if matches!(says(&lease, &self.0.me), Says::Yours | Says::Challenged) {
            lease["spec"]["holderIdentity"] = json!("");
            match self.write(&lease).await {
                Ok(_) => info!("gave the agent's lease up"),
                Err(error) => warn!(error = %Chain(&error), "the agent's lease was not given up"),
            }
        }
    }

    /// Makes the Lease; false if somebody else did.
    async fn make(&self) -> Result<bool> {
        let (inner, mine) = (&self.0, self.mine(None));
        match inner.cluster.create(&LEASES, &inner.namespace, &mine).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_already_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn read(&self) -> Result<Option<Value>> {
        self.0.cluster.get(&LEASES, &self.0.namespace, NAME).await
    }

    /// Replaces the Lease if it still is what was read; `None` if it is not.
    async fn write(&self, lease: &Value) -> Result<Option<Value>> {
        let written = self
            .0
            .cluster
            .replace(&LEASES, &self.0.namespace, NAME, lease);
        match written.await {
            Ok(written) => Ok(Some(written)),
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The Lease with this process as its holder, and nobody asking.
    fn mine(&self, before: Option<&Value>) -> Value {
        let now = clock::now()
            .0
            .strftime("%Y-%m-%dT%H:%M:%S.000000Z")
            .to_string();
        let text = |pointer: &str| before.and_then(|lease| lease.pointer(pointer));
        let me = self.0.me.name();
        let held = text("/spec/holderIdentity").and_then(Value::as_str) == Some(me);
        let transitions = text("/spec/leaseTransitions")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        let acquired = text("/spec/acquireTime").filter(|_| held).cloned();
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": NAME, "namespace": self.0.namespace,
                "resourceVersion": text("/metadata/resourceVersion"),
                "annotations": {PROCESS: self.0.me.process()},
            },
            "spec": {
                "holderIdentity": me,
                "leaseDurationSeconds": PATIENCE.as_secs(),
                "acquireTime": acquired.unwrap_or_else(|| json!(now)),
                "renewTime": now,
                "leaseTransitions": transitions + i64::from(!held && before.is_some()),
            },
        })
    }
}

fn version(lease: &Value) -> &str {
    let version = lease.pointer("/metadata/resourceVersion");
    version.and_then(Value::as_str).unwrap_or_default()
}

fn lost() -> Error {
    refused(
        409,
        "Conflict",
        "another agent works in this cluster".to_owned(),
    )
}

#[cfg(test)]
mod tests;
