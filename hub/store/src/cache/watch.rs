//! A watcher: a cursor into a resource's ring, nothing more.

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch as signal},
    time::{Instant, Sleep, sleep_until},
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
    /// The only namespace that is followed, if not all.
    namespace: Option<Arc<str>>,
    /// Revision of the last event in what is followed, or of a later one.
    changed: signal::Receiver<Revision>,
    /// All events up to here were handed out.
    position: Revision,
    /// Last revision that the caller was told.
    told: Revision,
    progress: Duration,
    progress_at: Instant,
    /// Set for when progress is due, or was due when it was set: to set it anew at each event costs more than that it goes off too soon.
    alarm: Option<Pin<Box<Sleep>>>,
}

/// Wakes whoever has many watches once for all of them.
#[derive(Debug)]
pub struct Moves(pub(super) Arc<Notify>);

impl Moves {
    /// Forgets what has happened so far: looked at next is the state after it.
    pub fn begin(&mut self) {
        // Takes what has rung meanwhile, and waits for nothing.
        std::pin::pin!(self.0.notified()).enable();
    }

    /// Waits until something has happened since [`Moves::begin`]; [`Watch::is_behind`] says where.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) {
        self.0.notified().await;
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
        let changed = resource.followers.all();
        Ok(Self {
            cache,
            resource,
            namespace: None,
            changed,
            position: from,
            told: from,
            progress: PROGRESS,
            progress_at: Instant::now() + PROGRESS,
            alarm: None,
        })
    }

    /// Tells of the revision this often, when nothing else happens, and not every second.
    #[must_use]
    pub fn telling_every(mut self, progress: Duration) -> Self {
        self.progress = progress;
        self.progress_at = Instant::now() + progress;
        self
    }

    /// Follows one namespace only, and is not woken by what happens elsewhere.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        let namespace = Arc::from(namespace);
        self.changed = self.resource.followers.within(&namespace);
        self.namespace = Some(namespace);
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
            let due = self.progress_at;
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if alarm.is_elapsed() || alarm.deadline() > due {
                alarm.as_mut().reset(due);
            }
            tokio::select! {
                // The sender lives in `self.resource`: it cannot be gone.
                _ = self.changed.changed() => {}
                () = alarm.as_mut() => {}
            }
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
        let (events, upto) = self.events()?;
        self.position = if events.len() == BATCH {
            upto
        } else {
            upto.max(revision)
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

    /// The next events, and the revision up to which these are all that the ring has.
    fn events(&self) -> Result<(Vec<Arc<Event>>, Revision), Expired> {
        let Some(namespace) = &self.namespace else {
            let events = self.resource.ring.read().after(self.position, BATCH)?;
            let upto = events.last().map_or(self.position, |event| event.revision);
            return Ok((events, upto));
        };
        // Followers are told before the revision is published that was read before this: up to there, nothing is missing.
        if !self.is_behind() {
            return Ok((Vec::new(), self.position));
        }
        let ring = self.resource.ring.read();
        ring.after_within(self.position, namespace, BATCH)
    }

    #[cfg(test)]
    pub(super) fn is_woken(&self) -> bool {
        self.changed.has_changed().unwrap_or_default()
    }
}
