//! The life of one work.

mod leave;
mod look;
mod prepare;
mod settle;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use koinon_api::{applied::AppliedManifestResourceMeta, work::ManifestWorkStatus};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::warn;

use super::{
    Shared, Wish,
    apply::Remembered,
    complete::Completed,
    fight::Fight,
    pass::Slot,
    planned::Planned,
    record::{self, Expect, Record},
    removal::Removal,
    status::{self, Delayed},
};
use crate::{
    backoff::{Backoff, spread},
    clock,
    cluster::{Error, ObjectKey, Resource, Wake, is_news, known::APPLIED_WORKS},
    desired::{Held, Origin},
};

/// What a look at a work is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    /// All manifests, and the record.
    Everything,
    /// Those whose objects were touched.
    Touched(BTreeSet<ObjectKey>),
    /// Those that failed, and these.
    Again(BTreeSet<ObjectKey>),
    /// None: what was applied is to be recorded.
    Books,
}

/// Why a pass could not do its part.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the body of the work cannot be read: {0}")]
    Body(String),
    #[error(transparent)]
    Cluster(#[from] Error),
}

/// Owns everything that is known of one work.
pub(super) struct Actor {
    shared: Arc<Shared>,
    desired: watch::Receiver<Wish>,
    name: String,
    wake: Arc<Wake>,
    record: Option<Record>,
    slots: BTreeMap<usize, Slot>,
    memory: Arc<Mutex<BTreeMap<ObjectKey, Remembered>>>,
    tracked: BTreeSet<ObjectKey>,
    /// Applied but perhaps not recorded, because the record could not be written.
    unrecorded: Vec<AppliedManifestResourceMeta>,
    fights: BTreeMap<ObjectKey, Fight>,
    /// Objects that are left alone until then.
    resting: BTreeMap<ObjectKey, Instant>,
    status: Arc<ManifestWorkStatus>,
    /// uid and generation that were looked at last.
    current: Option<(String, i64)>,
    resync_at: Instant,
    /// When what was applied is to be recorded, if it is not.
    books_at: Option<Instant>,
    /// When to look again at what is not as it should be.
    retry_at: Option<Instant>,
    /// A look at everything has begun and not come to its end.
    everything: bool,
    /// Another agent has gone on with this work: nothing is done until the hub says something new.
    overtaken: bool,
    backoff: Backoff,
    /// Why a deletion waits, if one does.
    delayed: Option<Delayed>,
    removal: Removal,
    /// What was complete according to a record that somebody deleted.
    lost: Completed,
    approvals: watch::Receiver<i64>,
    /// What else may change what the work may do.
    policies: watch::Receiver<Option<Arc<crate::policy::Known>>>,
    rbac: watch::Receiver<u64>,
    has_executor: bool,
}

impl Actor {
    pub(super) fn new(shared: Arc<Shared>, desired: watch::Receiver<Wish>) -> Self {
        let name = desired.borrow().held.name.clone();
        let approvals = shared.guard.approvals();
        let policies = shared.policies.changes();
        let rbac = shared.executors.changes();
        Self {
            shared,
            desired,
            name,
            wake: Arc::default(),
            record: None,
            slots: BTreeMap::new(),
            memory: Arc::default(),
            tracked: BTreeSet::new(),
            unrecorded: Vec::new(),
            fights: BTreeMap::new(),
            resting: BTreeMap::new(),
            status: Arc::default(),
            current: None,
            resync_at: Instant::now(),
            books_at: None,
            retry_at: None,
            everything: false,
            overtaken: false,
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(60)),
            delayed: None,
            removal: Removal::default(),
            lost: Completed::default(),
            approvals,
            policies,
            rbac,
            has_executor: false,
        }
    }

    /// Keeps the work as desired until it is forgotten or the process stops.
    pub(super) async fn run(mut self) {
        let stop = self.shared.tasks.stop().clone();
        stop.run_until_cancelled(self.live()).await;
        for key in &self.tracked {
            self.shared.watches.remove(&self.name, key);
        }
        self.shared.guard.content(&self.name);
        self.shared.guard.applied(&self.name, 0);
    }

    async fn live(&mut self) {
        let mut scope = Scope::Everything;
        loop {
            let Wish { held, stored } = self.desired.borrow_and_update().clone();
            if !stored {
                Box::pin(self.prepare(&held)).await;
                if self.desired.changed().await.is_err() {
                    return;
                }
                continue;
            }
            // Boxed: an actor that waits, as nearly all do, takes no room for what it would do.
            let deadline = if held.tombstone {
                Box::pin(self.leave(&held)).await
            } else {
                Some(Box::pin(self.stay(&held, scope)).await)
            };
            drop(held);
            // At the end of the work its actor ends: another work of its name gets another one.
            let Some(deadline) = deadline else {
                return;
            };
            scope = match self.wait(deadline).await {
                Some(scope) => scope,
                None => return,
            };
        }
    }

    /// Waits for the next reason to look; `None` when the work is forgotten.
    async fn wait(&mut self, deadline: Instant) -> Option<Scope> {
        loop {
            let rested = self.resting.values().min().copied();
            let next = [rested, self.books_at]
                .into_iter()
                .flatten()
                .fold(deadline, Instant::min);
            tokio::select! {
                // A new desired state makes everything else that happened moot.
                biased;
                changed = self.desired.changed() => {
                    changed.ok()?;
                    self.backoff.reset();
                    self.removal.look_again();
                    self.overtaken = false;
                    return Some(Scope::Everything);
                }
                Ok(()) = self.approvals.changed(), if self.delayed.is_some() => {
                    self.backoff.reset();
                    return Some(Scope::Everything);
                }
                Ok(()) = self.policies.changed() => return Some(Scope::Everything),
                Ok(()) = self.rbac.changed(), if self.has_executor => return Some(Scope::Everything),
                () = self.wake.notified() => {
                    if let Some(scope) = self.woken() {
                        return Some(scope);
                    }
                }
                () = sleep_until(next) => {
                    let now = Instant::now();
                    if now >= self.resync_at {
                        return Some(Scope::Everything);
                    }
                    if now < deadline && rested.is_none_or(|rested| now < rested) {
                        return Some(Scope::Books);
                    }
                    // A retry looks at what failed; what is fine was not touched.
                    let over: BTreeSet<_> = self.resting.iter().filter(|(_, until)| **until <= now).map(|(key, _)| key.clone()).collect();
                    self.resting.retain(|key, _| !over.contains(key));
                    return Some(Scope::Again(over));
                }
            }
        }
    }

    /// Sorts out what was touched; our own writes and resting objects are no reason to look.
    fn woken(&self) -> Option<Scope> {
        let mut touched = BTreeSet::new();
        for (key, version) in self.wake.take() {
            if *key.resource == *APPLIED_WORKS {
                let seen = self.record.as_ref().map(|record| record.version.as_str());
                if is_news(version.as_deref(), seen) {
                    return Some(Scope::Everything);
                }
            } else if !self.resting.contains_key(&key)
                && is_news(
                    version.as_deref(),
                    self.memory.lock().get(&key).map(|m| m.version.as_str()),
                )
            {
                touched.insert(key);
            }
        }
        (!touched.is_empty()).then_some(Scope::Touched(touched))
    }

    /// One pass over a work that is to stay. Returns when to look again.
    async fn stay(&mut self, held: &Held, scope: Scope) -> Instant {
        let shared = self.shared.clone();
        if scope == Scope::Books && self.put_off() {
            return self.deadline();
        }
        let _permit = shared.permits.acquire().await;
        if scope == Scope::Everything {
            self.everything = true;
            self.resync_at = Instant::now() + spread(shared.resync);
        }
        let books = scope == Scope::Books;
        // What was due stays due until it was done: an answer that does not come must not make it forgotten.
        let scope = if self.everything && !books {
            Scope::Everything
        } else {
            scope
        };
        let outcome = self.pass(held, scope).await;
        if outcome.is_ok() {
            shared.claims.end(held);
            self.everything &= books;
        }
        let healthy = match outcome {
            Ok(healthy) => healthy,
            Err(trouble) => {
                warn!(work = %self.name, error = %trouble, "the work could not be looked at");
                if let Trouble::Body(_) = &trouble {
                    let why = trouble.to_string();
                    let status =
                        status::unreadable(&self.status, held.generation, &why, &clock::now());
                    self.report(held, status);
                }
                self.restore_definitions(&trouble).await;
                false
            }
        };
        match (healthy, books) {
            (true, true) => {}
            (true, false) => {
                self.backoff.reset();
                self.retry_at = None;
            }
            (false, _) => {
                shared.metrics.failed_passes.inc();
                let again = Instant::now() + self.backoff.next_delay();
                if books {
                    self.books_at = Some(again);
                } else {
                    self.retry_at = Some(again);
                }
            }
        }
        self.deadline()
    }

    /// When to look again at the latest.
    fn deadline(&self) -> Instant {
        self.retry_at
            .map_or(self.resync_at, |retry| retry.min(self.resync_at))
    }

    /// Makes sure that the record exists; false while an earlier one is still on its way out.
    async fn ensure_record(&mut self, held: &Held, newer: bool) -> Result<bool, Trouble> {
        let expect = if self.record.is_none() && newer && held.origin == Origin::Hub {
            Expect::Nothing
        } else {
            Expect::Existing
        };
        let mut record = record::ensure(
            &self.shared.cluster,
            &self.shared.naming,
            &self.name,
            &held.labels,
            expect,
            &Planned::default(),
        )
        .await?;
        if record.deleting {
            // Somebody deleted it here, and all is to stay: it is let go of, and then adopted by a new record.
            warn!(work = %self.name, "the record of the work was deleted; nothing else is");
            self.record = None;
            self.memory.lock().clear();
            self.let_go(&record).await?;
            self.lost = record.completed;
            self.backoff.reset();
            return Ok(false);
        }
        let lost = std::mem::take(&mut self.lost);
        if record.created && !lost.is_empty() {
            record::set_completed(&self.shared.cluster, &mut record, lost).await?;
        }
        let another = record.planner.as_deref() != Some(&self.shared.naming.process);
        if another
            && let Some(before) = &self.record
            && before.owner == record.owner
            && before.planner != record.planner
        {
            warn!(work = %self.name, "another agent works on this work; it is left alone until the hub says something new");
            self.overtaken = true;
        }
        if self
            .record
            .as_ref()
            .is_some_and(|before| before.owner != record.owner)
        {
            self.memory.lock().clear();
        }
        self.adopt(record);
        Ok(true)
    }

    /// Watches the record from now on.
    fn adopt(&mut self, record: Record) {
        let key = ObjectKey {
            resource: Arc::new(Resource::clone(&APPLIED_WORKS)),
            namespace: String::new(),
            name: record.owner.name.clone(),
        };
        self.shared.watches.add(&self.name, &self.wake, &key);
        self.shared
            .watches
            .seen(&self.name, &key, Some(&record.version));
        self.tracked.insert(key);
        self.record = Some(record);
    }

    /// Watches exactly the objects of the work and its record.
    fn track(&mut self) {
        let wanted: BTreeSet<ObjectKey> = self
            .slots
            .values()
            .filter_map(|slot| slot.key.clone())
            .collect();
        let (keep, stale): (BTreeSet<_>, BTreeSet<_>) = std::mem::take(&mut self.tracked)
            .into_iter()
            .partition(|key| wanted.contains(key) || *key.resource == *APPLIED_WORKS);
        for key in &stale {
            self.shared.watches.remove(&self.name, key);
            self.memory.lock().remove(key);
            self.fights.remove(key);
            self.resting.remove(key);
        }
        self.tracked = keep;
        self.tracked.extend(wanted);
    }

    fn report(&mut self, held: &Held, mut status: ManifestWorkStatus) {
        status::delay(&mut status, self.delayed.as_ref(), &clock::now());
        let status = Arc::new(status);
        let shown = status::fit(&status, status::MOST);
        self.shared.outbox.report(&held.name, &held.uid, shown);
        self.status = status;
    }
}
