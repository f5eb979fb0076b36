//! What others have to say to a session: flags and the dirty set, never a queue.

use std::sync::Arc;

use koinon_proto::v1;
use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    dirty::{Dirty, Told, Works},
    work::Work,
};

/// Why a session is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leave {
    /// The agent is to reconnect after a random share of `spread_ms`.
    Drain { reason: String, spread_ms: u32 },
    /// A newer session of the same agent is there.
    Replaced,
}

/// One session, as the rest of the hub sees it.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) cluster: Arc<str>,
    pub(super) agent: Arc<str>,
    pub(super) session: Uuid,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    dirty: Dirty,
    decisions: bool,
    cluster: bool,
    granted: Option<u64>,
    leave: Option<Leave>,
}

/// What a session is to do next.
#[derive(Debug)]
pub(super) enum Next {
    Leave(Leave),
    /// A heartbeat is durable.
    Grant(u64),
    /// The cluster object changed.
    Cluster,
    /// The placements that name the cluster changed.
    Decisions,
    /// Works to tell.
    Works(Told),
}

impl Outbox {
    pub(super) fn new(cluster: Arc<str>, agent: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            cluster,
            agent,
            session: Uuid::new_v4(),
            state: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// Waits until there may be something to do.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Takes the most urgent thing to do.
    pub(super) fn next(&self, works: &impl Works, most: usize) -> Option<Next> {
        let mut state = self.state.lock();
        if let Some(leave) = state.leave.take() {
            return Some(Next::Leave(leave));
        }
        if let Some(sequence) = state.granted.take() {
            return Some(Next::Grant(sequence));
        }
        if std::mem::take(&mut state.cluster) {
            return Some(Next::Cluster);
        }
        if std::mem::take(&mut state.decisions) {
            return Some(Next::Decisions);
        }
        while !state.dirty.is_empty() {
            let told = state.dirty.take(works, most);
            if told != Told::default() {
                return Some(Next::Works(told));
            }
        }
        None
    }

    /// Begins: the agent knows `revision` if `in_sync`, else it is told everything.
    pub(super) fn begin(&self, revision: i64, in_sync: bool) {
        let mut state = self.state.lock();
        state.decisions = true;
        if in_sync {
            state.dirty.known_up_to(revision);
        } else {
            state.dirty.resync();
        }
    }

    pub(super) fn work_changed(
        &self,
        name: &Arc<str>,
        revision: i64,
        before: Option<&Work>,
        after: Option<&Work>,
    ) {
        if self
            .state
            .lock()
            .dirty
            .changed(name, revision, before, after)
        {
            self.wake.notify_one();
        }
    }

    pub(super) fn work_again(&self, name: &Arc<str>) {
        self.update(|state| state.dirty.again(name));
    }

    pub(super) fn resync(&self) {
        self.update(|state| state.dirty.resync());
    }

    pub(super) fn cluster_changed(&self) {
        self.update(|state| state.cluster = true);
    }

    pub(super) fn decisions_changed(&self) {
        self.update(|state| state.decisions = true);
    }

    pub(super) fn granted(&self, sequence: u64) {
        self.update(|state| state.granted = Some(sequence));
    }

    pub(super) fn leave(&self, leave: Leave) {
        self.update(|state| state.leave = Some(leave));
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.wake.notify_one();
    }
}

/// Builds the message that tells `works`; `body` finds those that come along.
pub(super) fn notices(
    revision: i64,
    stamp: String,
    told: &Told,
    mut body: impl FnMut(&Arc<str>, &Work) -> Option<v1::WorkBody>,
) -> v1::WorkNotices {
    let notices = told.works.iter().map(|(name, work)| v1::WorkNotice {
        body: told.new.contains(name).then(|| body(name, work)).flatten(),
        ..work.notice(name)
    });
    v1::WorkNotices {
        revision,
        stamp,
        notices: notices.collect(),
        complete: told.complete,
    }
}
