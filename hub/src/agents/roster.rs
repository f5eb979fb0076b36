//! Who is connected to this replica.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;

use super::outbox::{Leave, Outbox};

/// Reconnections a second that a replica takes at ease; half of what was measured on two cores.
const RECONNECTS_PER_SECOND: usize = 1500;

/// The sessions of this replica by cluster. Some clusters have more than one agent.
#[derive(Debug, Default)]
pub(super) struct Roster(RwLock<Sessions>);

#[derive(Debug, Default)]
struct Sessions {
    by_cluster: HashMap<Arc<str>, Vec<Arc<Outbox>>>,
    closed: bool,
}

impl Roster {
    /// Adds a session; an older one of the same agent is told to go. Says no once closed.
    pub(super) fn join(&self, outbox: &Arc<Outbox>) -> bool {
        let mut sessions = self.0.write();
        if sessions.closed {
            return false;
        }
        let of_cluster = sessions
            .by_cluster
            .entry(outbox.cluster.clone())
            .or_default();
        of_cluster.retain(|other| {
            let stays = other.agent != outbox.agent;
            if !stays {
                other.leave(Leave::Replaced);
            }
            stays
        });
        of_cluster.push(outbox.clone());
        true
    }

    /// Takes a session out.
    pub(super) fn leave(&self, outbox: &Outbox) {
        let mut sessions = self.0.write();
        if let Some(of_cluster) = sessions.by_cluster.get_mut(&outbox.cluster) {
            of_cluster.retain(|other| other.session != outbox.session);
            if of_cluster.is_empty() {
                sessions.by_cluster.remove(&outbox.cluster);
            }
        }
    }

    /// Calls `f` for each session of a cluster.
    pub(super) fn of(&self, cluster: &str, f: impl Fn(&Outbox)) {
        if let Some(of_cluster) = self.0.read().by_cluster.get(cluster) {
            of_cluster.iter().for_each(|outbox| f(outbox));
        }
    }

    /// Calls `f` for each session.
    pub(super) fn all(&self, f: impl Fn(&Outbox)) {
        self.0
            .read()
            .by_cluster
            .values()
            .flatten()
            .for_each(|outbox| f(outbox));
    }

    /// Sends everybody away, spread over the time that others need to take them in.
    pub(super) fn close(&self, reason: &str) {
        let mut sessions = self.0.write();
        sessions.closed = true;
        let count: usize = sessions.by_cluster.values().map(Vec::len).sum();
        let spread_ms = 250
            + u32::try_from(count * 1000 / RECONNECTS_PER_SECOND)
                .unwrap_or(60_000)
                .min(60_000);
        for outbox in sessions.by_cluster.values().flatten() {
            outbox.leave(Leave::Drain {
                reason: reason.to_owned(),
                spread_ms,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::{dirty::Works, outbox::Next, work::Work};

    struct NoWorks;

    impl Works for NoWorks {
        fn revision(&self) -> i64 {
            0
        }
        fn get(&self, _: &str) -> Option<Work> {
            None
        }
        fn after(&self, _: &str, _: usize) -> Vec<(Arc<str>, Work)> {
            Vec::new()
        }
    }

    fn outbox(cluster: &str, agent: &str) -> Arc<Outbox> {
        Outbox::new(cluster.into(), agent.into())
    }

    #[test]
    fn a_newer_session_of_the_same_agent_replaces_the_older() {
        let roster = Roster::default();
        let (old, other, new) = (
            outbox("east", "a"),
            outbox("east", "b"),
            outbox("east", "a"),
        );
        assert!(roster.join(&old) && roster.join(&other) && roster.join(&new));
        assert!(matches!(
            old.next(|| NoWorks, 1),
            Some(Next::Leave(Leave::Replaced))
        ));
        assert!(other.next(|| NoWorks, 1).is_none() && new.next(|| NoWorks, 1).is_none());
        roster.leave(&old);
        let count = std::cell::Cell::new(0);
        roster.of("east", |_| count.set(count.get() + 1));
        assert_eq!(count.get(), 2);
    }

    #[test]
    fn a_closed_roster_takes_nobody_in() {
        let roster = Roster::default();
        let one = outbox("east", "a");
        roster.join(&one);
        roster.close("bye");
        assert!(matches!(
            one.next(|| NoWorks, 1),
            Some(Next::Leave(Leave::Drain { .. }))
        ));
        assert!(!roster.join(&outbox("west", "a")));
    }
}
