//! What is counted.

use std::sync::{Arc, atomic::AtomicU64};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// The process's counters. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    /// Works that are held.
    pub held_works: Gauge,
    /// Works that are held and that the hub does not know.
    pub unmanaged_works: Gauge,
    /// 1 while a session is open.
    pub connected: Gauge,
    /// 1 while the hub says that it has deleted this cluster.
    pub former_identity: Gauge,
    /// 1 while a hub is held off (P4).
    pub rollback_hold: Gauge,
    /// 1 while a mass deletion waits for an approval.
    pub deletion_hold: Gauge,
    /// Works that are left to a later agent.
    pub overtaken_works: Gauge,
    /// Watches on applied objects that fail just now.
    pub deaf_watches: Gauge,
    /// Unix time at which the certificate ends.
    pub certificate_expiry: Gauge,
    /// Sessions that were opened.
    pub sessions: Counter<u64, AtomicU64>,
    /// Writes to applied objects.
    pub member_writes: Counter<u64, AtomicU64>,
    /// Writes that undid somebody else's change.
    pub repairs: Counter<u64, AtomicU64>,
    /// Looks at a work that left something undone.
    pub failed_passes: Counter<u64, AtomicU64>,
    /// Notices that were held back from a hub that is behind.
    pub held_back: Counter<u64, AtomicU64>,
    /// Bytes of pulled bodies.
    pub pulled_bytes: Counter<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("koinon_klusterlet");
        macro_rules! metric {
            ($name:literal, $help:literal) => {{
                let metric = Default::default();
                registry.register($name, $help, Clone::clone(&metric));
                metric
            }};
        }
        let held_works: Gauge = metric!("held_works", "Works that are held in the member");
        let unmanaged_works: Gauge = metric!(
            "unmanaged_works",
            "Works that are held in the member and that the hub does not know"
        );
        let connected: Gauge = metric!("connected", "1 while a session with the hub is open");
        let former_identity: Gauge = metric!(
            "former_identity",
            "1 while the hub says that it has deleted this cluster"
        );
        let rollback_hold: Gauge = metric!(
            "rollback_hold",
            "1 while a hub that is behind what this cluster knows is held off"
        );
        let deletion_hold: Gauge = metric!(
            "deletion_hold",
            "1 while a mass deletion waits for an approval"
        );
        let overtaken_works: Gauge =
            metric!("overtaken_works", "Works that are left to a later agent");
        let deaf_watches: Gauge = metric!(
            "deaf_watches",
            "Watches on applied objects that fail just now"
        );
        let certificate_expiry: Gauge = metric!(
            "certificate_expiry_seconds",
            "Unix time at which the certificate ends"
        );
        let sessions: Counter = metric!("sessions", "Sessions that were opened");
        let member_writes: Counter = metric!("member_writes", "Writes to applied objects");
        let repairs: Counter = metric!(
            "repairs",
            "Writes that undid a change made by somebody else"
        );
        let failed_passes: Counter = metric!(
            "failed_passes",
            "Looks at a work that left something undone"
        );
        let held_back: Counter = metric!(
            "held_back_notices",
            "Notices held back from a hub that is behind"
        );
        let pulled_bytes: Counter = metric!("pulled_bytes", "Bytes of pulled bodies");
        Self {
            registry: Arc::new(Mutex::new(registry)),
            held_works,
            unmanaged_works,
            connected,
            former_identity,
            rollback_hold,
            deletion_hold,
            overtaken_works,
            deaf_watches,
            certificate_expiry,
            sessions,
            member_writes,
            repairs,
            failed_passes,
            held_back,
            pulled_bytes,
        }
    }
}

impl Metrics {
    /// Renders everything in the OpenMetrics text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry.lock());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_rendered() {
        let metrics = Metrics::default();
        metrics.sessions.inc();
        let text = metrics.render();
        assert!(
            text.contains("koinon_klusterlet_sessions_total 1"),
            "{text}"
        );
        assert!(text.contains("koinon_klusterlet_rollback_hold 0"), "{text}");
    }
}
