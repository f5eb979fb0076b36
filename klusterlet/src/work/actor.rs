//! The life of one work.

mod leave;
mod settle;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use koinon_api::{
    applied::AppliedManifestResourceMeta, labels::condition, meta, work::ManifestWorkStatus,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::{
    Shared,
    apply::Remembered,
    fight::{self, Fight},
    pass::{Availability, DEFINITION_PATIENCE, Pass, Slot},
    plan,
    record::{self, Expect, Record},
    status::{self, Delayed},
};
use crate::{
    backoff::{Backoff, spread},
    clock,
    cluster::{Error, ObjectKey, Resource, Wake, is_news, known::APPLIED_WORKS},
    desired::{Held, Origin},
};

/// Which manifests a pass looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    /// All, and the record.
    Everything,
    /// Those whose objects were touched, and always those that failed.
    Touched(BTreeSet<ObjectKey>),
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
    desired: watch::Receiver<Arc<Held>>,
    name: String,
    wake: Arc<Wake>,
    record: Option<Record>,
    slots: BTreeMap<usize, Slot>,
    memory: BTreeMap<ObjectKey, Remembered>,
    tracked: BTreeSet<ObjectKey>,
    /// Applied but perhaps not recorded, because the record could not be written.
    unrecorded: Vec<AppliedManifestResourceMeta>,
    fights: BTreeMap<ObjectKey, Fight>,
    /// Objects that are left alone until then.
    resting: BTreeMap<ObjectKey, Instant>,
    status: ManifestWorkStatus,
    /// uid and generation that were looked at last.
    current: Option<(String, i64)>,
    resync_at: Instant,
    backoff: Backoff,
    /// Why a deletion waits for an approval, if one does.
    delayed: Option<Delayed>,
    approvals: watch::Receiver<i64>,
    /// What else may change what the work may do.
    policies: watch::Receiver<Option<Arc<crate::policy::Known>>>,
    rbac: watch::Receiver<u64>,
    has_executor: bool,
}

impl Actor {
    pub(super) fn new(shared: Arc<Shared>, desired: watch::Receiver<Arc<Held>>) -> Self {
        let name = desired.borrow().name.clone();
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
            memory: BTreeMap::new(),
            tracked: BTreeSet::new(),
            unrecorded: Vec::new(),
            fights: BTreeMap::new(),
            resting: BTreeMap::new(),
            status: ManifestWorkStatus::default(),
            current: None,
            resync_at: Instant::now(),
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(60)),
            delayed: None,
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
            let held = self.desired.borrow_and_update().clone();
            let deadline = if held.tombstone {
                self.leave(&held).await
            } else {
                self.stay(&held, scope).await
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
            let rested = self
                .resting
                .values()
                .min()
                .copied()
                .unwrap_or(deadline)
                .min(deadline);
            tokio::select! {
                // A new desired state makes everything else that happened moot.
                biased;
                changed = self.desired.changed() => {
                    changed.ok()?;
                    self.backoff.reset();
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
                () = sleep_until(rested) => {
                    let now = Instant::now();
                    if now >= self.resync_at {
                        return Some(Scope::Everything);
                    }
                    // A retry looks at what failed; what is fine was not touched.
                    let over: BTreeSet<_> = self.resting.iter().filter(|(_, until)| **until <= now).map(|(key, _)| key.clone()).collect();
                    self.resting.retain(|key, _| !over.contains(key));
                    return Some(Scope::Touched(over));
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
                    self.memory.get(&key).map(|m| m.version.as_str()),
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
        let _permit = shared.permits.acquire().await;
        if scope == Scope::Everything {
            self.resync_at = Instant::now() + spread(shared.resync);
        }
        let healthy = match self.pass(held, scope).await {
            Ok(healthy) => healthy,
            Err(trouble) => {
                warn!(work = %self.name, error = %trouble, "the work could not be looked at");
                false
            }
        };
        if healthy {
            self.backoff.reset();
            self.resync_at
        } else {
            shared.metrics.failed_passes.inc();
            self.resync_at
                .min(Instant::now() + self.backoff.next_delay())
        }
    }

    async fn pass(&mut self, held: &Held, scope: Scope) -> Result<bool, Trouble> {
        let shared = self.shared.clone();
        let spec = held.spec().map_err(|e| Trouble::Body(e.to_string()))?;
        let manifests = plan::manifests(&spec);
        let another = |(uid, _): &(String, i64)| *uid != held.uid;
        if self.current.as_ref().is_some_and(another)
            || meta::condition(&self.status.conditions, condition::DELETING).is_some()
        {
            // What was said was said of another work, or of the end of this one.
            self.status = ManifestWorkStatus::default();
        }
        let newer = self
            .current
            .as_ref()
            .is_none_or(|(uid, generation)| (uid, *generation) != (&held.uid, held.generation));
        let scope = if newer || self.record.is_none() {
            Scope::Everything
        } else {
            scope
        };
        if scope == Scope::Everything && !self.ensure_record(held, newer).await? {
            return Ok(false);
        }
        let Some(mut record) = self.record.clone() else {
            return Ok(false);
        };
        record.completed = record.completed.of(&held.uid);

        // First for the policies to be known at all: that is no change of them.
        shared.policies.known().await;
        self.policies.mark_unchanged();
        self.rbac.mark_unchanged();
        self.has_executor = spec.executor.is_some();
        let judge = shared.policies.known().await;
        let pass = Pass {
            judge: &judge,
            shared: &shared,
            work: &self.name,
            wake: &self.wake,
            spec: &spec,
            manifests: &manifests,
            owner: &record.owner,
            fresh: record.created && newer,
            completed: &record.completed,
            recorded: &record.applied,
            patience: Instant::now() + DEFINITION_PATIENCE,
            availability: Availability::of(&held.directives),
        };
        for manifest in &manifests {
            let due = match (&scope, self.slots.get(&manifest.ordinal)) {
                (Scope::Everything, _) | (_, None) => true,
                (Scope::Touched(touched), Some(slot)) => {
                    slot.outcome.applied.is_err()
                        || slot.key.as_ref().is_some_and(|key| touched.contains(key))
                }
            };
            if !due {
                continue;
            }
            let mut slot = pass.apply(manifest, &mut self.memory).await;
            shared.metrics.member_writes.inc_by(u64::from(slot.writes));
            if let Some(key) = &slot.key
                && slot.writes > 0
                && !newer
            {
                shared.metrics.repairs.inc();
                if let Some(rest) = self
                    .fights
                    .entry(key.clone())
                    .or_default()
                    .repaired(Instant::now())
                {
                    let rival = slot.rival.as_deref().unwrap_or("somebody");
                    warn!(work = %self.name, resource = %key.resource.plural, namespace = %key.namespace, name = %key.name, rival, "an applied object is changed again and again; leaving it alone for a while");
                    slot.outcome.derived.push(fight::contested(rival, rest));
                    self.resting.insert(key.clone(), Instant::now() + rest);
                }
            }
            self.slots.insert(manifest.ordinal, slot);
        }
        self.slots.retain(|ordinal, _| *ordinal < manifests.len());
        self.current = Some((held.uid.clone(), held.generation));
        let outcomes: Vec<_> = self
            .slots
            .values()
            .map(|slot| slot.outcome.clone())
            .collect();
        let frozen = record.completed.all();
        let completed = record.completed.after(self.slots.values(), held.generation);
        if completed != record.completed && !(completed.is_empty() && record.completed.is_empty()) {
            // Before anybody hears of it: what was said to be complete must not be applied again.
            record::set_completed(&shared.cluster, &mut record, completed).await?;
        }
        let generation = frozen.unwrap_or(held.generation);
        let status = status::status(&self.status, generation, &outcomes, &clock::now());
        self.report(held, status);
        let settled = if frozen.is_some() {
            self.record = Some(record);
            Ok(true)
        } else {
            self.settle(held, &spec, record).await
        };
        self.track();
        if newer {
            let failed = outcomes.iter().filter(|o| o.applied.is_err()).count();
            info!(work = %self.name, generation = held.generation, manifests = outcomes.len(), failed, "applied");
        }
        Ok(settled? && outcomes.iter().all(|o| o.applied.is_ok()))
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
        )
        .await?;
        if record.deleting {
            // Somebody deleted it here: what it owns goes first, then all is made again.
            self.record = None;
            self.memory.clear();
            self.dismantle(held, &mut record).await?;
            self.backoff.reset();
            return Ok(false);
        }
        if self
            .record
            .as_ref()
            .is_some_and(|before| before.owner != record.owner)
        {
            self.memory.clear();
        }
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
        Ok(true)
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
            self.memory.remove(key);
            self.fights.remove(key);
            self.resting.remove(key);
        }
        self.tracked = keep;
        self.tracked.extend(wanted);
    }

    fn report(&mut self, held: &Held, mut status: ManifestWorkStatus) {
        status::delay(&mut status, self.delayed.as_ref(), &clock::now());
        let shown = status::fit(&status, status::MOST);
        if let Ok(json) = serde_json::to_vec(&shown) {
            self.shared
                .outbox
                .report(&held.name, &held.uid, Bytes::from(json));
        }
        self.status = status;
    }
}
