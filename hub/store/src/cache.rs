//! The watch cache: every object in memory, and the recent events of every resource.
//!
//! One writer (whoever holds `writer`) applies contiguous stretches of the change log; readers take
//! snapshots that nobody waits for. A stretch is published in an order that makes P1 easy to see:
//! objects, then events, then who follows them is told, then the revision. So whoever loads the revision first finds all that led to it.

mod crier;
mod followers;
mod intern;
mod ring;
mod snapshot;
mod watch;

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch as signal};
use uuid::Uuid;

pub(crate) use self::{crier::Crier, ring::Limits};
use self::{followers::Followers, intern::Bodies, ring::Ring, snapshot::Objects};
pub use self::{
    ring::{Event, Expired},
    snapshot::Snapshot,
    watch::{Batch, Moves, Watch},
};
use crate::{
    key::{Digest, Key, Revision},
    lineage::Lineage,
    seal::Sealer,
    stored::Stored,
};

/// What one change does to the cache.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Put(Stored),
    Status { key: Key, uid: Uuid, status: Bytes },
    Delete { key: Key },
}

impl Effect {
    pub(crate) fn key(&self) -> &Key {
        match self {
            Self::Put(stored) => &stored.key,
            Self::Status { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// One entry of the change log.
#[derive(Clone, Debug)]
pub(crate) struct Delta {
    pub(crate) revision: Revision,
    pub(crate) effect: Effect,
}

/// Why a stretch of the log was not applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The stretch begins after what the cache has: read the log from there first.
    #[error("changes between {have} and {from} are missing")]
    Gap { have: Revision, from: Revision },
    /// A change does not fit the state before it: the cache no longer is the replay of the log.
    #[error("change {revision} does not fit the cached state of {key}")]
    Corrupt { revision: Revision, key: Key },
}

/// One resource's part of the cache.
#[derive(Debug)]
struct Resource {
    name: Arc<str>,
    objects: ArcSwap<Objects>,
    ring: RwLock<Ring>,
    followers: Followers,
}

#[derive(Debug)]
pub(crate) struct Cache {
    resources: RwLock<HashMap<Arc<str>, Arc<Resource>>>,
    revision: signal::Sender<Revision>,
    /// Held while a stretch is applied; the table of shared bodies belongs to the writer.
    writer: Mutex<Bodies>,
    /// Events after this revision are known for every resource that says nothing else.
    floor: Revision,
    limits: Limits,
    lineage: Lineage,
    /// Opens what comes from the log.
    sealer: Sealer,
    crier: Arc<Crier>,
}

impl Cache {
    /// Makes a cache that holds `objects` as they are at `revision`.
    pub(crate) fn new(
        revision: Revision,
        floor: Revision,
        limits: Limits,
        objects: Vec<Stored>,
    ) -> Self {
        let cache = Self {
            resources: RwLock::default(),
            revision: signal::Sender::new(revision),
            writer: Mutex::default(),
            floor,
            limits,
            lineage: Lineage::default(),
            sealer: Sealer::default(),
            crier: Arc::default(),
        };
        {
            let mut bodies = cache.writer.lock();
            let mut grouped: HashMap<Arc<str>, Objects> = HashMap::new();
            for mut stored in objects {
                bodies.share(&mut stored);
                grouped
                    .entry(stored.key.resource.clone())
                    .or_default()
                    .put(Arc::new(stored));
            }
            for (name, objects) in grouped {
                cache.resource(&name).objects.store(Arc::new(objects));
            }
        }
        cache
    }

    /// The same cache, which can read sealed changes.
    pub(crate) fn with_sealer(mut self, sealer: Sealer) -> Self {
        self.sealer = sealer;
        self
    }

    /// Wakes crowds of watchers, if somebody runs it.
    pub(crate) fn crier(&self) -> Arc<Crier> {
        Arc::clone(&self.crier)
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Fills the ring of `resource` with `events`, all that happened after `floor`.
    pub(crate) fn remember(&self, resource: &Arc<str>, floor: Revision, events: Vec<Arc<Event>>) {
        let resource = self.resource(resource);
        let mut ring = resource.ring.write();
        *ring = Ring::new(floor, self.limits);
        ring.extend(events);
    }

    /// The histories of the revisions up to which the cache is complete; filled before those are published.
    pub(crate) fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// The revision up to which the cache is complete.
    pub(crate) fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    /// Waits until the cache is complete up to `revision`.
    pub(crate) async fn reached(&self, revision: Revision) {
        let mut current = self.revision.subscribe();
        // The sender lives in `self`: it cannot be gone.
        let _ = current.wait_for(|current| *current >= revision).await;
    }

    pub(crate) fn moves(&self, resources: &[Arc<str>]) -> Moves {
        let bell = Arc::new(Notify::new());
        for name in resources {
            self.resource(name).followers.ring(&bell);
        }
        Moves(bell)
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Stored>> {
        self.existing(&key.resource)?
            .objects
            .load()
            .get(&key.namespace, &key.name)
            .cloned()
    }

    pub(crate) fn snapshot(&self, resource: &str) -> Snapshot {
        // First the revision: all that led to it is in the objects read next.
        let revision = self.revision();
        match self.existing(resource) {
            Some(resource) => Snapshot::new(&resource.objects.load(), revision),
            None => Snapshot::empty(revision),
        }
    }

    /// All objects of a resource as they were at a revision that the cache has come past, if the events since are known.
    pub(crate) fn past(&self, resource: &str, revision: Revision) -> Result<Snapshot, Expired> {
        let resource = self.resource(&Arc::from(resource));
        // Nobody publishes meanwhile: objects and events belong together.
        let (mut objects, events) = {
            let _writer = self.writer.lock();
            let events = resource.ring.read().after(revision, usize::MAX)?;
            (Objects::clone(&resource.objects.load()), events)
        };
        for event in events.iter().rev() {
            match &event.before {
                Some(before) => drop(objects.put(Arc::clone(before))),
                None => drop(objects.remove(&event.latest().key, event.revision)),
            }
        }
        Ok(Snapshot::past(&objects, revision))
    }

    pub(crate) fn watch(
        self: &Arc<Self>,
        resource: &str,
        from: Revision,
    ) -> Result<Watch, Expired> {
        Watch::new(self.clone(), self.resource(&Arc::from(resource)), from)
    }

    /// Applies all changes with revisions in `(from, to]`; those that the cache has already are skipped.
    ///
    /// Returns the state that each change left, or the last one of what it deleted; `None` for a change that is in the cache
    /// already and no longer among the events.
    pub(crate) fn apply(
        &self,
        from: Revision,
        to: Revision,
        deltas: Vec<Delta>,
    ) -> Result<Vec<Option<Arc<Stored>>>, ApplyError> {
        let mut bodies = self.writer.lock();
        let have = self.revision();
        if from > have {
            return Err(ApplyError::Gap { have, from });
        }
        if to <= have {
            return Ok(deltas.iter().map(|delta| self.left(delta)).collect());
        }
        let mut states = Vec::with_capacity(deltas.len());
        let mut touched: Vec<(Arc<Resource>, Objects, Vec<Arc<Event>>)> = Vec::new();
        for delta in deltas {
            if delta.revision <= have {
                states.push(self.left(&delta));
                continue;
            }
            let Delta { revision, effect } = delta;
            let name = &effect.key().resource;
            let at = match touched
                .iter()
                .position(|(resource, ..)| resource.name == *name)
            {
                Some(at) => at,
                None => {
                    let resource = self.resource(name);
                    let objects = Objects::clone(&resource.objects.load());
                    touched.push((resource, objects, Vec::new()));
                    touched.len() - 1
                }
            };
            let (resource, objects, events) = &mut touched[at];
            let event = step(objects, &mut bodies, &resource.name, revision, effect)?;
            states.push(Some(event.latest().clone()));
            events.push(Arc::new(event));
        }
        let mut told = Vec::with_capacity(touched.len());
        for (resource, objects, events) in touched {
            resource.objects.store(Arc::new(objects));
            let middle = {
                let mut ring = resource.ring.write();
                ring.extend(events.iter().cloned());
                ring.middle()
            };
            told.push((resource, events, middle));
        }
        // Followers first: whoever has seen the revision finds all that lags behind it marked as such.
        for (resource, events, middle) in told {
            resource.followers.tell(&events, to, middle);
        }
        self.revision.send_replace(to);
        bodies.sweep();
        Ok(states)
    }

    /// The state that a change left which the cache has already, if its event is still known.
    fn left(&self, delta: &Delta) -> Option<Arc<Stored>> {
        let resource = self.existing(&delta.effect.key().resource)?;
        let before = Revision(delta.revision.0 - 1);
        let events = resource.ring.read().after(before, 1).ok()?;
        let event = events.first()?;
        (event.revision == delta.revision).then(|| event.latest().clone())
    }

    /// A body that some object in the cache, or one of the recent past, has.
    pub(crate) fn body(&self, digest: &Digest) -> Option<Bytes> {
        self.writer.lock().get(digest)
    }

    fn existing(&self, name: &str) -> Option<Arc<Resource>> {
        self.resources.read().get(name).cloned()
    }

    fn resource(&self, name: &Arc<str>) -> Arc<Resource> {
        if let Some(resource) = self.existing(name) {
            return resource;
        }
        let new = || Resource {
            name: name.clone(),
            objects: ArcSwap::default(),
            ring: RwLock::new(Ring::new(self.floor, self.limits)),
            followers: Followers::new(Arc::clone(&self.crier)),
        };
        self.resources
            .write()
            .entry(name.clone())
            .or_insert_with(|| Arc::new(new()))
            .clone()
    }
}

/// Applies one change to `objects` and says what happened.
fn step(
    objects: &mut Objects,
    bodies: &mut Bodies,
    resource: &Arc<str>,
    revision: Revision,
    effect: Effect,
) -> Result<Event, ApplyError> {
    match effect {
        Effect::Put(mut stored) => {
            stored.key.resource = resource.clone();
            bodies.share(&mut stored);
            let after = Arc::new(stored);
            let before = objects.put(after.clone());
            Ok(Event {
                revision,
                before,
                after: Some(after),
            })
        }
        Effect::Status { key, uid, status } => {
            let before = objects
                .get(&key.namespace, &key.name)
                .filter(|stored| stored.uid == uid)
                .cloned();
            let Some(before) = before else {
                return Err(ApplyError::Corrupt { revision, key });
            };
            let after = Arc::new(before.with_status(revision, status));
            objects.put(after.clone());
            Ok(Event {
                revision,
                before: Some(before),
                after: Some(after),
            })
        }
        Effect::Delete { key } => match objects.remove(&key, revision) {
            Some(before) => Ok(Event {
                revision,
                before: Some(before),
                after: None,
            }),
            None => Err(ApplyError::Corrupt { revision, key }),
        },
    }
}

#[cfg(test)]
mod tests;
