//! The life of one work.

mod agenda;
mod ensure;
mod failing;
mod leave;
mod look;
mod prepare;
mod settle;

pub use settle::Books;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use koinon_api::{applied::AppliedManifestResourceMeta, work::ManifestWorkStatus};
use parking_lot::Mutex;
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use self::agenda::Agenda;
use super::{
    Removed, Shared, Wish,
    apply::Remembered,
    complete::Completed,
    fight::Fight,
    pass::Slot,
    record::Record,
    removal::Removal,
    status::{self, Delayed},
    unmade::Unmade,
};
use crate::{
    backoff::{Backoff, spread},
    clock,
    cluster::{Error, ObjectKey, Wake, known::APPLIED_WORKS},
    desired::{Held, Origin},
    outbox::Kept,
};

/// What a look at a work is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    /// All manifests, and the record.
    Everything,
    /// Those whose objects were touched.
    Touched(BTreeSet<ObjectKey>),
    /// Of those that failed these, and these objects.
    Again(BTreeSet<ObjectKey>, Failed),
    /// Those that are left alone for a while: what they are like is reported, and nothing is written.
    Glance(BTreeSet<ObjectKey>),
    /// None: what was applied is to be recorded.
    Books,
}

/// Which of the manifests that failed are tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failed {
    All,
    /// By place in the work.
    These(BTreeSet<usize>),
}

/// Why a pass could not do its part.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the body of the work cannot be read: {0}")]
    Body(String),
    #[error(transparent)]
    Cluster(#[from] Error),
}

impl Trouble {
    /// Nothing of the work can be done before somebody mends it. What passes by itself is not worth a word on the hub, least of all of
    /// works that were applied before this process: what they are like is known there.
    const fn is_lasting(&self, origin: Origin) -> bool {
        match self {
            Self::Body(_) => true,
            Self::Cluster(Error::Refused { code: 403, .. }) => matches!(origin, Origin::Hub),
            Self::Cluster(error) => error.is_invalid(),
        }
    }
}

/// Works of fewer manifests look at what happens at once.
const LARGE: usize = 256;

/// How long a work takes no notice of events after it has looked at some. Each look sums up the conditions of all manifests: an
/// object that changes all the time, in a work of 10,000, would keep the agent from everything else.
fn breath(manifests: usize) -> Duration {
    let large = manifests.saturating_sub(LARGE);
    Duration::from_micros(50) * u32::try_from(large.min(10_000)).unwrap_or(u32::MAX)
}

/// Waits for events, not before `breath`.
async fn touched(wake: &Wake, breath: Instant) {
    sleep_until(breath).await;
    wake.notified().await;
}

/// The actors of all works, by name.
pub(super) type Actors = Arc<Mutex<HashMap<String, watch::Sender<Wish>>>>;

/// Owns everything that is known of one work.
pub(super) struct Actor {
    shared: Arc<Shared>,
    actors: Actors,
    desired: watch::Receiver<Wish>,
    name: String,
    wake: Arc<Wake>,
    record: Option<Record>,
    /// By place in the work. Boxed: a node of the tree has room for eleven, and most works have fewer manifests.
    slots: BTreeMap<usize, Box<Slot>>,
    memory: Arc<Mutex<BTreeMap<ObjectKey, Remembered>>>,
    tracked: BTreeSet<ObjectKey>,
    /// Applied but perhaps not recorded: it is not time yet, or the record could not be written.
    unrecorded: Vec<AppliedManifestResourceMeta>,
    /// Planned, and certainly not made.
    unmade: Unmade,
    fights: BTreeMap<ObjectKey, Fight>,
    status: Arc<Kept>,
    /// uid and generation that were looked at last.
    current: Option<(String, i64)>,
    agenda: Agenda,
    /// When events are looked at again.
    breath: Instant,
    /// Since when it is due that what was applied is recorded.
    books_since: Option<Instant>,
    /// Until when what the spec drops is left for others to take over.
    forbears: Option<Instant>,
    /// A look at everything has begun and not come to its end.
    everything: bool,
    /// A later agent has gone on with this work: it is left alone until then, unless that one goes on or the hub says something new.
    overtaken: Option<Instant>,
    backoff: Backoff,
    /// Why a deletion waits, if one does.
    delayed: Option<Delayed>,
    removal: Removal,
    /// What was complete according to a record that somebody deleted.
    lost: Completed,
    /// Tells when a deletion that is held may go on.
    room: watch::Receiver<u64>,
    /// What else may change what the work may do.
    policies: watch::Receiver<Option<Arc<crate::policy::Known>>>,
    rbac: watch::Receiver<u64>,
    has_executor: bool,
    /// Tells which Namespace or definition a work made.
    containers: broadcast::Receiver<Arc<ObjectKey>>,
}

impl Actor {
    pub(super) fn new(shared: Arc<Shared>, actors: Actors, desired: watch::Receiver<Wish>) -> Self {
        let name = desired.borrow().held.name.clone();
        let room = shared.guard.room();
        let policies = shared.policies.changes();
        let rbac = shared.executors.changes();
        let containers = shared.containers.subscribe();
        Self {
            shared,
            actors,
            desired,
            name,
            wake: Arc::default(),
            record: None,
            slots: BTreeMap::new(),
            memory: Arc::default(),
            tracked: BTreeSet::new(),
            unrecorded: Vec::new(),
            unmade: Unmade::default(),
            fights: BTreeMap::new(),
            status: Arc::default(),
            current: None,
            agenda: Agenda::new(Instant::now()),
            breath: Instant::now(),
            books_since: None,
            forbears: None,
            everything: false,
            overtaken: None,
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(60)),
            delayed: None,
            removal: Removal::default(),
            lost: Completed::default(),
            room,
            policies,
            rbac,
            has_executor: false,
            containers,
        }
    }

    /// Keeps the work as desired until it is forgotten, all of it is gone, or the process stops.
    pub(super) async fn run(mut self) {
        let stop = self.shared.tasks.stop().clone();
        stop.run_until_cancelled(self.live()).await;
    }

    async fn live(&mut self) {
        let mut scope = Scope::Everything;
        loop {
            let Wish { held, stored } = self.desired.borrow_and_update().clone();
            if !stored {
                Box::pin(self.prepare(&held)).await;
                if self.desired.changed().await.is_err() {
                    return self.release();
                }
                continue;
            }
            // Boxed: an actor that waits, as nearly all do, takes no room for what it would do.
            if !held.tombstone {
                self.agenda.stays();
                Box::pin(self.stay(&held, scope)).await;
            } else if self.is_kept() && scope != Scope::Everything {
                Box::pin(self.stay(&held, scope)).await;
            } else if let Some(again) = Box::pin(self.leave(&held)).await {
                self.agenda.leaves(again);
                if self.is_kept() {
                    Box::pin(self.stay(&held, Scope::Everything)).await;
                }
            } else if self.ends(&held) {
                return;
            } else {
                scope = Scope::Everything;
                continue;
            }
            drop(held);
            scope = match self.wait().await {
                Some(scope) => scope,
                None => return self.release(),
            };
        }
    }

    /// Says whether a work that is deleted is kept as it was: nothing of it may go before somebody agrees, perhaps for days, and
    /// perhaps nobody meant it.
    fn is_kept(&self) -> bool {
        self.delayed.as_ref().is_some_and(Delayed::is_mass) && !self.removal.has_begun()
    }

    /// Ends the actor of a work of which nothing is left: another work of its name gets another one. False if something else is
    /// wanted under the name by now; then it begins anew.
    fn ends(&mut self, held: &Held) -> bool {
        let actors = self.actors.clone();
        // Whoever wishes for something holds this, too: a wish finds either an actor that looks at it, or none.
        let mut actors = actors.lock();
        self.release();
        let wanted = self.desired.has_changed();
        if matches!(wanted, Ok(true)) {
            *self = Self::new(
                self.shared.clone(),
                self.actors.clone(),
                self.desired.clone(),
            );
            return false;
        }
        if wanted.is_ok() {
            actors.remove(&self.name);
        }
        drop(actors);
        info!(work = %self.name, "removed");
        // The receiver lives as long as the process.
        let _ = self.shared.removed.send(Removed {
            name: held.name.clone(),
            uid: held.uid.clone(),
        });
        true
    }

    /// Lets everybody forget what the actor has told them.
    fn release(&mut self) {
        for key in std::mem::take(&mut self.tracked) {
            self.shared.watches.remove(&self.name, &key);
        }
        self.overtake(None);
        self.shared.guard.content(&self.name);
        self.shared.guard.applied(&self.name, 0);
        self.shared.guard.counted(&self.name);
    }

    /// Waits for the next reason to look; `None` when the work is forgotten.
    async fn wait(&mut self) -> Option<Scope> {
        loop {
            let next = self.agenda.next();
            tokio::select! {
                // A new desired state makes everything else that happened moot.
                biased;
                changed = self.desired.changed() => {
                    changed.ok()?;
                    self.backoff.reset();
                    self.removal.look_again();
                    self.overtake(None);
                    return Some(Scope::Everything);
                }
                Ok(()) = self.room.changed(), if self.delayed.is_some() => {
                    if self.shared.guard.may_go(&self.name, Instant::now()) {
                        self.backoff.reset();
                        return Some(Scope::Everything);
                    }
                }
                Ok(()) = self.policies.changed() => return Some(Scope::Everything),
                Ok(()) = self.rbac.changed(), if self.has_executor => return Some(Scope::Everything),
                made = self.containers.recv(), if !self.agenda.failing.is_empty() => {
                    let made = match made {
                        Ok(made) => Some(made),
                        // So many that some were not heard: it may have been one of those.
                        Err(RecvError::Lagged(_)) => None,
                        Err(RecvError::Closed) => return None,
                    };
                    let slots = &self.slots;
                    let homeless = |ordinal: usize| slots.get(&ordinal).is_some_and(|slot| slot.waits_for(made.as_deref()));
                    self.agenda.failing.hope(Instant::now(), homeless);
                }
                () = touched(&self.wake, self.breath) => {
                    if let Some(scope) = self.woken() {
                        return Some(scope);
                    }
                }
                () = sleep_until(next) => {
                    if let Some(scope) = self.agenda.due(Instant::now()) {
                        return Some(scope);
                    }
                }
            }
        }
    }

    /// Sorts out what was touched; our own writes and resting objects are no reason to look.
    fn woken(&mut self) -> Option<Scope> {
        let mut touched = BTreeSet::new();
        for (key, touch) in self.wake.take() {
            if *key.resource == *APPLIED_WORKS {
                let seen = self.record.as_ref().map(|record| record.version.as_str());
                if touch.is_news(seen) {
                    return Some(Scope::Everything);
                }
                continue;
            }
            if !touch.is_news(self.memory.lock().get(&key).map(|m| m.version.as_str())) {
                continue;
            }
            if self.agenda.resting.contains_key(&key) {
                self.agenda.changes(key, Instant::now());
            } else {
                touched.insert(key);
            }
        }
        (!touched.is_empty()).then_some(Scope::Touched(touched))
    }

    /// One pass over a work that is to stay.
    async fn stay(&mut self, held: &Held, scope: Scope) {
        let shared = self.shared.clone();
        let books = scope == Scope::Books;
        let _turn = match books.then(|| self.recording(&shared)) {
            Some(None) => return,
            turn => turn,
        };
        let _permit = shared.permits.acquire().await;
        if self.agenda.failing.is_empty() {
            // What was made before this look, it finds.
            self.containers = self.containers.resubscribe();
        }
        if scope == Scope::Everything {
            self.everything = true;
            self.agenda.full = Instant::now() + spread(shared.resync);
        }
        // What was due stays due until it was done: an answer that does not come must not make it forgotten.
        let scope = if self.everything && !books {
            Scope::Everything
        } else {
            scope
        };
        // Boxed now, not before: many may wait for a permit, and few have one.
        let outcome = Box::pin(self.pass(held, scope)).await;
        shared.guard.counted(&self.name);
        if outcome.is_ok() {
            self.everything &= books;
        }
        let done = match outcome {
            Ok(done) => done,
            Err(trouble) => {
                warn!(work = %self.name, error = %trouble, "the work could not be looked at");
                shared.claims.tried(held);
                let known = self.current.as_ref().map(|(_, generation)| *generation);
                if trouble.is_lasting(held.origin) && known != Some(held.generation) {
                    let why = format!("Failed to apply manifest work: {trouble}");
                    let status = status::not_begun(
                        &self.status.open(),
                        held.generation,
                        &why,
                        &clock::now(),
                    );
                    self.report(held, status);
                }
                self.restore_definitions(&trouble).await;
                false
            }
        };
        self.breath = Instant::now() + breath(self.slots.len());
        match (done, books) {
            (true, true) => {}
            (true, false) => {
                self.backoff.reset();
                // What is held goes on when there is room, which needs nobody's word. A deletion knows that by itself.
                let room = shared.guard.room_at(&self.name, Instant::now());
                self.agenda.retry = room.filter(|_| !held.tombstone);
            }
            (false, _) => {
                shared.metrics.failed_passes.inc();
                let again = Instant::now() + self.backoff.next_delay();
                if books {
                    self.agenda.books = Some(again);
                } else {
                    self.agenda.retry = Some(again);
                }
            }
        }
    }

    /// Watches exactly the objects of the work and its record.
    fn track(&mut self) {
        let wanted: BTreeSet<ObjectKey> = self
            .slots
            .values()
            .filter_map(|slot| slot.key().cloned())
            .collect();
        let (keep, stale): (BTreeSet<_>, BTreeSet<_>) = std::mem::take(&mut self.tracked)
            .into_iter()
            .partition(|key| wanted.contains(key) || *key.resource == *APPLIED_WORKS);
        for key in &stale {
            self.shared.watches.remove(&self.name, key);
            self.memory.lock().remove(key);
            self.fights.remove(key);
            self.agenda.resting.remove(key);
        }
        self.tracked = keep;
        self.tracked.extend(wanted);
    }

    fn report(&mut self, held: &Held, mut status: ManifestWorkStatus) {
        status::delay(&mut status, self.delayed.as_ref(), &clock::now());
        let status = Arc::new(status);
        let shown = status::fit(&status, status::MOST);
        let kept = Arc::new(Kept::of(&shown));
        self.shared
            .outbox
            .report(&held.name, &held.uid, kept.clone());
        self.status = if Arc::ptr_eq(&shown, &status) {
            kept
        } else {
            Arc::new(Kept::unreported(status))
        };
    }
}
