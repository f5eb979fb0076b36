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
    /// Works to tell, as they are at this revision.
    Works(i64, Told),
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
    ///
    /// `works` is asked here and not before, while nobody marks anything: a work is changed before it is marked, so whoever looks
    /// after the marks sees every change that they stand for. With works of a moment before, a mark would be taken off for a
    /// change that is not told.
    pub(super) fn next<W: Works>(&self, works: impl FnOnce() -> W, most: usize) -> Option<Next> {
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
        if state.dirty.is_empty() {
            return None;
        }
        let works = works();
        while !state.dirty.is_empty() {
            let told = state.dirty.take(&works, most);
            if told != Told::default() {
                return Some(Next::Works(works.revision(), told));
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

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::atomic::{AtomicI64, Ordering},
        thread,
    };

    use koinon_store::Digest;

    use super::*;

    type Hub = BTreeMap<Arc<str>, Work>;

    impl Works for Arc<Hub> {
        fn revision(&self) -> i64 {
            0
        }

        fn get(&self, name: &str) -> Option<Work> {
            BTreeMap::get(self, name).cloned()
        }

        fn after(&self, _: &str, _: usize) -> Vec<(Arc<str>, Work)> {
            Vec::new()
        }
    }

    /// A work changes while a session takes what is to be told: what was marked before is told when nothing is left.
    #[test]
    fn no_change_is_lost_between_a_mark_and_what_it_stands_for() {
        const CHANGES: i64 = 50_000;
        let (outbox, name) = (Outbox::new("east".into(), "a".into()), Arc::from("w"));
        let hub = Mutex::new(Arc::new(Hub::new()));
        let work = |generation| Work {
            uid: Uuid::nil(),
            generation,
            digest: Digest::of(b""),
            tombstone: false,
            directives: BTreeMap::new(),
        };
        let (mut told, marked) = (0, AtomicI64::new(0));
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for generation in 1..=CHANGES {
                    // Published first, marked then, as the router does.
                    *hub.lock() = Arc::new([(Arc::clone(&name), work(generation))].into());
                    let (before, after) = (work(generation - 1), work(generation));
                    outbox.work_changed(&name, generation, Some(&before), Some(&after));
                    marked.store(generation, Ordering::SeqCst);
                }
            });
            loop {
                let over = writer.is_finished();
                let marked = marked.load(Ordering::SeqCst);
                while let Some(next) = outbox.next(|| Arc::clone(&hub.lock()), 8) {
                    if let Next::Works(_, works) = next {
                        told = works
                            .works
                            .iter()
                            .map(|(_, work)| work.generation)
                            .fold(told, i64::max);
                    }
                }
                assert!(told >= marked, "{marked} was not told");
                if over {
                    break;
                }
            }
        });
        assert_eq!(told, CHANGES);
    }
}
