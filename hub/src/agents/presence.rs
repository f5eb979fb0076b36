//! Heartbeats: collected, flushed in one batch about once a second, answered once durable.

use std::{collections::HashMap, sync::Arc};

use koinon_store::Beat;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{Agents, outbox::Outbox};
use crate::telemetry::Chain;

/// Heartbeats that wait for the next flush: at most one per session, the latest.
#[derive(Debug, Default)]
pub(super) struct Presence {
    waiting: Mutex<HashMap<uuid::Uuid, (Arc<Outbox>, u64)>>,
    some: Notify,
}

impl Presence {
    /// Takes a heartbeat.
    pub(super) fn beat(&self, session: &Arc<Outbox>, sequence: u64) {
        self.waiting
            .lock()
            .insert(session.session, (session.clone(), sequence));
        self.some.notify_one();
    }

    /// Forgets what a session that ended had still to say.
    pub(super) fn forget(&self, session: &Outbox) {
        self.waiting.lock().remove(&session.session);
    }
}

/// Flushes until dropped.
///
/// What cannot be made durable is not answered and not kept: the agent's next heartbeat asks again, and a beat
/// written late would make a dead agent look alive.
pub(super) async fn run(agents: &Agents) {
    let shared = &agents.0;
    loop {
        shared.presence.some.notified().await;
        let begun = Instant::now();
        let waiting: Vec<_> = std::mem::take(&mut *shared.presence.waiting.lock())
            .into_values()
            .collect();
        let beats: Vec<_> = waiting
            .iter()
            .map(|(session, _)| Beat {
                cluster: session.cluster.to_string(),
                session: session.session,
            })
            .collect();
        if !beats.is_empty() {
            match agents.store().heartbeats().beat_many(&beats).await {
                Ok(()) => {
                    shared.metrics.heartbeats.inc_by(beats.len() as u64);
                    waiting
                        .iter()
                        .for_each(|(session, sequence)| session.granted(*sequence));
                }
                Err(error) => {
                    shared.metrics.heartbeats_refused.inc_by(beats.len() as u64);
                    tracing::warn!(error = %Chain(&error), heartbeats = beats.len(), "heartbeats are not durable; granting no leases");
                }
            }
        }
        tokio::time::sleep_until(begun + shared.settings.flush_interval).await;
    }
}
