//! A watcher: a cursor into a resource's ring, nothing more.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch as signal,
    time::{Instant, timeout_at},
};

use super::{Cache, Event, Expired, Resource};
use crate::key::Revision;

/// Events handed out at once; bounds what a slow watcher keeps alive.
const BATCH: usize = 256;
/// How often a watcher hears of the revision when nothing else happens.
const PROGRESS: Duration = Duration::from_secs(1);

/// Follows one resource from a revision on.
#[derive(Debug)]
pub struct Watch {
    cache: Arc<Cache>,
    resource: Arc<Resource>,
    changed: signal::Receiver<Revision>,
    /// All events up to here were handed out.
    position: Revision,
    /// Last revision that the caller was told.
    told: Revision,
    progress: Duration,
    progress_at: Instant,
}

/// Wakes whoever has many watches once for all of them.
#[derive(Debug)]
pub struct Moves(pub(super) signal::Receiver<Revision>);

impl Moves {
    /// Forgets what has happened so far: looked at next is the state after it.
    pub fn begin(&mut self) {
        self.0.mark_unchanged();
    }

    /// Waits until something has happened since [`Moves::begin`]; [`Watch::is_behind`] says where.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The store is gone, and nothing will happen any more.
            std::future::pending::<()>().await;
        }
    }
}

/// What happened since the last batch.
#[derive(Clone, Debug)]
pub struct Batch {
    /// In order of revision; empty when only the revision has moved.
    pub events: Vec<Arc<Event>>,
    /// Every event up to here has been handed out: where a later watch can begin.
    pub revision: Revision,
}

impl Watch {
    pub(super) fn new(
        cache: Arc<Cache>,
        resource: Arc<Resource>,
        from: Revision,
    ) -> Result<Self, Expired> {
        resource.ring.read().after(from, 0)?;
        let changed = resource.changed.subscribe();
        Ok(Self {
            cache,
            resource,
            changed,
            position: from,
            told: from,
            progress: PROGRESS,
            progress_at: Instant::now() + PROGRESS,
        })
    }

    /// Tells of the revision this often, when nothing else happens, and not every second.
    #[must_use]
    pub fn telling_every(mut self, progress: Duration) -> Self {
        self.progress = progress;
        self.progress_at = Instant::now() + progress;
        self
    }

    /// Whether there are events that were not handed out yet.
    pub fn is_behind(&self) -> bool {
        *self.changed.borrow() > self.position
    }

    /// Waits for events, or for the revision to move without any.
    ///
    /// # Errors
    /// [`Expired`] when the watcher was so slow that events it had not read were dropped.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Batch, Expired> {
        loop {
            if let Some(batch) = self.try_next()? {
                return Ok(batch);
            }
            // An error means that the time is up (the sender lives in `self.resource`); look at the revision then.
            let _ = timeout_at(self.progress_at, self.changed.changed()).await;
        }
    }

    /// What there is without waiting.
    ///
    /// # Errors
    /// As for [`Watch::next`].
    pub fn try_next(&mut self) -> Result<Option<Batch>, Expired> {
        self.changed.mark_unchanged();
        // First the revision: all that led to it is in the ring read next.
        let revision = self.cache.revision();
        let events = self.resource.ring.read().after(self.position, BATCH)?;
        let last = events.last().map_or(self.position, |event| event.revision);
        self.position = if events.len() == BATCH {
            last
        } else {
            last.max(revision)
        };
        let now = Instant::now();
        if events.is_empty() && (self.position == self.told || now < self.progress_at) {
            if now >= self.progress_at {
                self.progress_at = now + self.progress;
            }
            return Ok(None);
        }
        self.told = self.position;
        self.progress_at = now + self.progress;
        Ok(Some(Batch {
            events,
            revision: self.position,
        }))
    }
}
