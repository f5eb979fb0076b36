//! The agent plane: enrolment and sessions.
//!
//! ```text
//!   agent ──Enrol──► enrol ─► join token, identity, certificate
//!   agent ◄─Attach─► session ─┬─ heartbeats ─► presence ─► one durable flush a second ─► lease grants
//!                      ▲      ├─ statuses ───► inbox ────► one shared lane into the store
//!                      │      └─ report, acks ► registry
//!                    dirty set ◄── router ◄── watch cache (works, decisions, clusters)
//!   agent ──Pull───► pull ─► bodies of its own namespace, by digest
//! ```
//!
//! A session is one task: its response stream polls the agent's messages and the session's dirty set. There is no
//! queue per agent, so a slow agent costs memory for the names of its works and nothing more (P12). Identity is
//! the certificate's; no message names a cluster (P6). Nothing here connects to an agent (P7).

mod crowd;
mod dirty;
mod enrol;
mod inbox;
mod metrics;
mod outbox;
mod own;
mod placements;
mod presence;
mod pull;
mod removal;
mod renew;
mod report;
mod resource;
mod roster;
mod router;
mod service;
mod session;
mod throttle;
mod token;
mod trail;
mod transitions;
mod work;

use std::{sync::Arc, time::Duration};

use koinon_store::{Revision, Store};
use parking_lot::RwLock;

use crate::{audit::Audit, metrics::Metrics, pki::Authority, registry::Client};

pub use service::serve;

/// What may be set of the agent plane.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long an issued agent certificate is valid.
    pub certificate_ttl: Duration,
    /// How long the flush of heartbeats waits for more of them.
    pub flush_interval: Duration,
    /// Where calls are recorded, if they are.
    pub audit: Option<Audit>,
}

/// The agent plane of this replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Agents(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Client,
    authority: Arc<Authority>,
    settings: Settings,
    metrics: metrics::AgentMetrics,
    roster: roster::Roster,
    placements: placements::Placements,
    presence: presence::Presence,
    inbox: inbox::Inbox,
    pulls: pull::Places,
    enrolments: tokio::sync::Semaphore,
    /// Held while a use of a token is spent.
    spending: tokio::sync::Mutex<()>,
    /// Failed enrolments, by network.
    failures: throttle::Throttle<std::net::IpAddr>,
    /// Calls without an agent's certificate that have a record, by network.
    strangers: throttle::Throttle<std::net::IpAddr>,
    /// Certificates issued, by cluster.
    issued: throttle::Throttle<String>,
    /// UIDs that names are bound to, as far as they were asked for; forgotten when a cluster goes.
    bound: RwLock<std::collections::HashMap<Arc<str>, Arc<str>>>,
}

impl Agents {
    /// Builds the agent plane; [`Agents::tasks`] have to run for it to work.
    #[must_use]
    pub fn new(
        client: Client,
        authority: Arc<Authority>,
        settings: Settings,
        metrics: &Metrics,
    ) -> (Self, Work) {
        let agent_metrics = metrics::AgentMetrics::new(metrics);
        let (inbox, lane) = inbox::Inbox::new(client.store().clone(), agent_metrics.clone());
        let issued = throttle::Throttle::of_certificates(settings.certificate_ttl);
        let agents = Self(Arc::new(Shared {
            client,
            authority,
            settings,
            metrics: agent_metrics,
            roster: roster::Roster::default(),
            placements: placements::Placements::default(),
            presence: presence::Presence::default(),
            inbox,
            pulls: pull::Places::default(),
            enrolments: tokio::sync::Semaphore::new(enrol::CONCURRENT),
            spending: tokio::sync::Mutex::default(),
            failures: throttle::Throttle::of_failures(),
            strangers: throttle::Throttle::of_strangers(),
            issued,
            bound: RwLock::default(),
        }));
        let work = Work {
            agents: agents.clone(),
            lane,
        };
        (agents, work)
    }

    /// Ends all sessions with a request to reconnect, and refuses new ones.
    pub fn drain(&self, reason: &str) {
        self.0.roster.close(reason);
    }

    fn store(&self) -> &Store {
        self.0.client.store()
    }

    /// The stamp of a revision as positions carry it (P4).
    fn stamp(&self, revision: i64) -> String {
        self.store()
            .stamp(Revision(revision))
            .map(|stamp| stamp.to_string())
            .unwrap_or_default()
    }
}

/// The background work of the agent plane.
#[derive(Debug)]
pub struct Work {
    agents: Agents,
    lane: inbox::Lane,
}

impl Work {
    /// Runs until stopped: routes changes to sessions, writes statuses, flushes heartbeats.
    pub async fn run(self, stop: tokio_util::sync::CancellationToken) {
        let Self { agents, lane } = self;
        let routing = stop.run_until_cancelled(router::run(&agents));
        let beating = stop.run_until_cancelled(presence::run(&agents));
        // The lane ends by itself: what it took it writes before it goes.
        tokio::join!(routing, beating, lane.run(stop.clone()));
    }
}
