//! Works in the member cluster: from a desired body to live objects and back to a status.
//!
//! ```text
//!   desired body ─► plan ─► ordered apply ─► record (AppliedManifestWork) ─► prune ─► status ─► outbox
//!                             ▲                                                        
//!        drift: metadata watches, slow resync, retries                                 
//! ```
//!
//! One small actor per work. It alone touches what the work owns, so there is nothing to lock; a semaphore bounds how many
//! of them speak to the API server at once. `plan`, `order`, `update`, `diff`, `prune` and `status` are pure.

mod actor;
mod apply;
mod claims;
mod complete;
mod content;
mod diff;
mod executor;
mod fight;
mod guard;
mod ignore;
mod leftover;
mod managed;
mod order;
mod pass;
mod plan;
mod planned;
mod prune;
mod record;
mod removal;
mod remove;
mod rival;
mod server_side;
mod status;
mod unmade;
mod update;

pub use actor::Books;
pub use executor::{Executing, Rights, Without};
pub use guard::{Allowance, DeletionGuard};
pub use leftover::Leftovers;
pub(crate) use plan::matches;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, broadcast, mpsc, watch},
    time::Instant,
};

use crate::{
    clock,
    cluster::{Cluster, Mapper, ObjectKey, Watches},
    desired::{Held, Holding, Origin},
    feedback::RawJson,
    metrics::Metrics,
    outbox::Outbox,
    policy::Policies,
    tasks::{Policy, Tasks},
    unmanaged::Unmanaged,
};

/// How many works are worked on at once. What the API server is asked at a time is bounded by its client.
const CONCURRENCY: usize = 16;

/// Namespaces and definitions that were made, until all works have heard of them.
const CONTAINERS: usize = 64;

/// How many record what they own at once. A record costs the API server as much as applying did, and works may come any time.
const RECORDING: usize = 2;

/// What all actors share.
#[derive(Debug)]
struct Shared {
    cluster: Cluster,
    mapper: Mapper,
    watches: Watches,
    outbox: Outbox,
    naming: record::Naming,
    permits: Semaphore,
    recording: Semaphore,
    /// When the hub last asked for something new.
    asked_at: Mutex<Instant>,
    resync: Duration,
    forbearance: Duration,
    books: Books,
    raw_json: RawJson,
    executing: Executing,
    executors: executor::Executors,
    policies: Policies,
    guard: DeletionGuard,
    claims: claims::Claims,
    /// Tells which Namespaces and definitions were made.
    containers: broadcast::Sender<Arc<ObjectKey>>,
    unmanaged: Unmanaged,
    metrics: Metrics,
    removed: mpsc::UnboundedSender<Removed>,
    tasks: Tasks,
}

/// Tells that all a deleted work owned is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Name of the work.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// What an [`Engine`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// The member.
    pub cluster: Cluster,
    /// Where statuses go.
    pub outbox: Outbox,
    /// Names the hub in records: hex fingerprint of the CA that enrolled this agent.
    pub hub_hash: String,
    /// Names the agent in records; another installation in the same cluster has another one.
    pub agent_id: String,
    /// Period of the slow resync.
    pub resync: Duration,
    /// How long what a newer spec drops stays where it is, for another work to take it over. Whoever moves an object from one work
    /// to another writes one after the other, and the agent may be told of the first long before the second is written.
    pub forbearance: Duration,
    /// When what was applied is recorded.
    pub books: Books,
    /// Whether feedback may be structures.
    pub raw_json: RawJson,
    /// How works with an executor are applied.
    pub executing: Executing,
    /// What the member allows works to do.
    pub policies: Policies,
    /// Holds mass deletions up.
    pub guard: DeletionGuard,
    /// What the hub does not know.
    pub unmanaged: Unmanaged,
    /// Counters.
    pub metrics: Metrics,
    /// Owner of all tasks.
    pub tasks: Tasks,
}

/// What an actor is to bring about.
#[derive(Debug, Clone)]
struct Wish {
    held: Arc<Held>,
    /// It is stored in the member. Nothing is applied before that: what is applied must be known after any crash.
    stored: bool,
}

/// Runs the actors.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    actors: actor::Actors,
}

impl Engine {
    /// Creates an engine without works; what was removed is told through the receiver.
    ///
    /// The channel is unbounded, but each work sends at most one message per deletion.
    #[must_use]
    pub fn new(parts: Parts) -> (Self, mpsc::UnboundedReceiver<Removed>) {
        let Parts {
            cluster,
            outbox,
            hub_hash,
            agent_id,
            resync,
            forbearance,
            books,
            raw_json,
            executing,
            policies,
            guard,
            unmanaged,
            metrics,
            tasks,
        } = parts;
        let (removed, receiver) = mpsc::unbounded_channel();
        let executors = executor::Executors::new(cluster.clone(), tasks.clone());
        let shared = Shared {
            mapper: Mapper::new(cluster.clone()),
            watches: Watches::new(cluster.clone(), tasks.clone(), metrics.deaf_watches.clone()),
            cluster,
            outbox,
            naming: record::Naming {
                hub_hash,
                agent_id,
                process: record::process(clock::unix()),
            },
            permits: Semaphore::new(CONCURRENCY),
            recording: Semaphore::new(RECORDING),
            asked_at: Mutex::new(Instant::now()),
            resync,
            forbearance,
            books,
            raw_json,
            executing,
            executors,
            policies,
            guard,
            claims: claims::Claims::default(),
            containers: broadcast::Sender::new(CONTAINERS),
            unmanaged,
            metrics,
            removed,
            tasks,
        };
        (
            Self {
                shared: Arc::new(shared),
                actors: Arc::default(),
            },
            receiver,
        )
    }

    /// Hands a work, or a newer state of it, to its actor. It must be stored.
    pub fn desire(&self, held: Arc<Held>) {
        self.shared.claims.begin(&held);
        self.wish(Wish { held, stored: true });
    }

    /// Tells of a new work that is being stored, so that its record is made meanwhile. [`Engine::desire`] follows.
    pub fn announce(&self, held: Arc<Held>) {
        if !self.actors.lock().contains_key(&held.name) {
            self.wish(Wish {
                held,
                stored: false,
            });
        }
    }

    fn wish(&self, wish: Wish) {
        *self.shared.asked_at.lock() = Instant::now();
        let mut actors = self.actors.lock();
        // An actor whose work is gone has ended, perhaps before it was forgotten.
        if let Some(actor) = actors.get(&wish.held.name).filter(|a| !a.is_closed()) {
            actor.send_replace(wish);
            return;
        }
        let name = wish.held.name.clone();
        if wish.held.origin == Origin::Member {
            // It was here before this process: how much is applied is known when all of those have been looked at.
            self.shared.guard.expect(&name);
        }
        let (sender, receiver) = watch::channel(wish);
        self.shared.tasks.spawn(
            "work",
            Policy::Optional,
            actor::Actor::new(self.shared.clone(), self.actors.clone(), receiver).run(),
        );
        actors.insert(name, sender);
    }

    /// Ends the actor of a work; its objects stay as they are.
    pub fn forget(&self, name: &str) {
        let mut actors = self.actors.lock();
        actors.remove(name);
        if actors.len() < actors.capacity() / 8 {
            let room = actors.len() * 2;
            actors.shrink_to(room);
        }
        drop(actors);
        self.shared.outbox.forget(name);
        self.shared.claims.forget(name);
        self.shared.unmanaged.hold(name, None);
    }

    /// Looks after records of works that are not held; see [`Leftovers`]. With `grace`, what the hub does not know is evicted after it.
    #[must_use]
    pub fn leftovers(&self, holding: Holding, grace: Option<Duration>) -> Leftovers {
        Leftovers::new(self.clone(), holding, grace)
    }

    fn is_at_work(&self, name: &str) -> bool {
        self.actors.lock().contains_key(name)
    }

    /// Number of open watches on applied objects.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.shared.watches.count()
    }
}
