//! Who is told that a resource has changed: all of it, or in one namespace.
//!
//! A thousand watchers of a namespace each are not woken by what happens in the other 999.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch as signal};

use super::{
    crier::{Circle, Crier},
    ring::Event,
};
use crate::key::Revision;

/// Namespaces are looked through for those that nobody follows any more when there are so many.
const FIRST_SWEEP: usize = 64;

#[derive(Debug)]
pub(super) struct Followers {
    /// Of the whole resource.
    all: Arc<Circle>,
    within: Mutex<Within>,
    bells: Mutex<Vec<Weak<Notify>>>,
    crier: Arc<Crier>,
}

/// Followers of single namespaces.
#[derive(Debug)]
struct Within {
    by_namespace: HashMap<Arc<str>, Arc<Circle>>,
    sweep_at: usize,
    /// When all of them were last woken.
    nudged: Revision,
}

impl Followers {
    pub(super) fn new(crier: Arc<Crier>) -> Self {
        Self {
            all: Arc::new(Circle::new(Revision::default())),
            within: Mutex::new(Within {
                by_namespace: HashMap::new(),
                sweep_at: FIRST_SWEEP,
                nudged: Revision::default(),
            }),
            bells: Mutex::default(),
            crier,
        }
    }

    /// Follows the whole resource.
    pub(super) fn all(&self) -> signal::Receiver<Revision> {
        self.all.join()
    }

    /// Follows one namespace.
    pub(super) fn within(&self, namespace: &Arc<str>) -> signal::Receiver<Revision> {
        let mut within = self.within.lock();
        if within.by_namespace.len() >= within.sweep_at {
            within.by_namespace.retain(|_, circle| !circle.is_empty());
            within.sweep_at = FIRST_SWEEP.max(within.by_namespace.len() * 2);
        }
        within
            .by_namespace
            .entry(namespace.clone())
            // What happened in the namespace before anybody followed it is not known: any event may be one of its own.
            .or_insert_with(|| Arc::new(Circle::new(self.all.revision())))
            .join()
    }

    /// Rings `bell` at every change.
    pub(super) fn ring(&self, bell: &Arc<Notify>) {
        self.bells.lock().push(Arc::downgrade(bell));
    }

    /// Tells of the events of a stretch that ends with `to`; they are in the ring already, in whose middle `middle` is.
    ///
    /// Who follows a namespace in which nothing happens sleeps, and yet must not fall out of the ring: all are woken before
    /// the ring has forgotten when they last were.
    pub(super) fn tell(&self, events: &[Arc<Event>], to: Revision, middle: Revision) {
        self.all.tell(to, &self.crier);
        {
            let mut within = self.within.lock();
            if !within.by_namespace.is_empty() {
                for event in events {
                    if let Some(circle) = within.by_namespace.get(&event.latest().key.namespace) {
                        circle.tell(to, &self.crier);
                    }
                }
            }
            if middle > within.nudged {
                within.nudged = to;
                within
                    .by_namespace
                    .values()
                    .for_each(|circle| circle.wake());
            }
        }
        self.bells.lock().retain(|bell| match bell.upgrade() {
            Some(bell) => {
                bell.notify_one();
                true
            }
            None => false,
        });
    }
}
