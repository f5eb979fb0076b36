use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use crate::metrics::{Label, Metrics};

/// Counts of the agent plane.
#[derive(Debug, Clone)]
pub(super) struct AgentMetrics {
    pub(super) sessions: Gauge,
    enrolments: Family<Label, Counter>,
    session_ends: Family<Label, Counter>,
    rejected: Family<Label, Counter>,
    acks: Family<Label, Counter>,
    pub(super) notices: Counter,
    pub(super) statuses: Counter,
    pub(super) heartbeats: Counter,
    pub(super) heartbeats_refused: Counter,
    pub(super) pulled_bytes: Counter,
    pub(super) resyncs: Counter,
}

impl AgentMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            sessions: metrics.register("agent_sessions", "Open sessions", Gauge::default()),
            enrolments: metrics.register(
                "enrolments",
                "Enrolment calls by outcome",
                Family::default(),
            ),
            session_ends: metrics.register(
                "agent_session_ends",
                "Ended sessions by reason",
                Family::default(),
            ),
            rejected: metrics.register(
                "agent_rejected",
                "Parts of agent messages not taken, by reason",
                Family::default(),
            ),
            acks: metrics.register(
                "agent_acks",
                "Acknowledgements by outcome",
                Family::default(),
            ),
            notices: metrics.register("agent_notices", "Works told to agents", Counter::default()),
            statuses: metrics.register(
                "agent_statuses",
                "Work statuses written or found equal",
                Counter::default(),
            ),
            heartbeats: metrics.register(
                "agent_heartbeats",
                "Durable heartbeats",
                Counter::default(),
            ),
            heartbeats_refused: metrics.register(
                "agent_heartbeats_refused",
                "Heartbeats that could not be made durable",
                Counter::default(),
            ),
            pulled_bytes: metrics.register(
                "agent_pulled_bytes",
                "Bytes of bodies pulled",
                Counter::default(),
            ),
            resyncs: metrics.register(
                "agent_resyncs",
                "Sessions that began out of sync",
                Counter::default(),
            ),
        }
    }

    pub(super) fn enrolment(&self, outcome: &'static str) {
        self.enrolments.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(super) fn session_end(&self, reason: &'static str) {
        self.session_ends.get_or_create(&[("reason", reason)]).inc();
    }

    pub(super) fn reject(&self, reason: &'static str) {
        self.rejected.get_or_create(&[("reason", reason)]).inc();
    }

    pub(super) fn ack(&self, outcome: &'static str) {
        self.acks.get_or_create(&[("outcome", outcome)]).inc();
    }
}
