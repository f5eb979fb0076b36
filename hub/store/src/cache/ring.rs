//! The recent events of one resource.

use std::{collections::VecDeque, sync::Arc};

use crate::{key::Revision, stored::Stored};

/// One change as a watcher sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub revision: Revision,
    /// The state before; `None` for a creation.
    pub before: Option<Arc<Stored>>,
    /// The state after; `None` for a deletion.
    pub after: Option<Arc<Stored>>,
}

impl Event {
    /// The state after the change, or the last one of a deleted object.
    pub fn latest(&self) -> &Arc<Stored> {
        self.after
            .as_ref()
            .or(self.before.as_ref())
            .expect("an event has a state before or after it")
    }

    /// Rough number of bytes that this event alone keeps in memory.
    fn weight(&self) -> usize {
        const FIXED: usize = 256;
        let Some(before) = &self.before else {
            return FIXED;
        };
        let body = match &self.after {
            Some(after) if after.digest == before.digest => 0,
            _ => before.body.len(),
        };
        FIXED + before.metadata.len() + before.status.len() + body
    }
}

/// The events since a revision are no longer all known: list again, then watch from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("revision {from} is older than {floor}, the oldest that can be continued from")]
pub struct Expired {
    pub from: Revision,
    pub floor: Revision,
}

/// How much of the past is kept for each resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

/// All events of a resource after `floor`, in order.
#[derive(Debug)]
pub(super) struct Ring {
    events: VecDeque<Arc<Event>>,
    floor: Revision,
    weight: usize,
    limits: Limits,
}

impl Ring {
    pub(super) fn new(floor: Revision, limits: Limits) -> Self {
        Self {
            events: VecDeque::new(),
            floor,
            weight: 0,
            limits,
        }
    }

    pub(super) fn extend(&mut self, events: impl IntoIterator<Item = Arc<Event>>) {
        for event in events {
            self.weight += event.weight();
            self.events.push_back(event);
        }
        while self.events.len() > self.limits.events || self.weight > self.limits.bytes {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.weight -= oldest.weight();
            self.floor = oldest.revision;
        }
    }

    /// Up to `limit` events after `from`.
    pub(super) fn after(&self, from: Revision, limit: usize) -> Result<Vec<Arc<Event>>, Expired> {
        if from < self.floor {
            return Err(Expired {
                from,
                floor: self.floor,
            });
        }
        let start = self.events.partition_point(|event| event.revision <= from);
        Ok(self.events.range(start..).take(limit).cloned().collect())
    }

    /// Up to `limit` events of one namespace after `from`, and the revision up to which these are all.
    pub(super) fn after_within(
        &self,
        from: Revision,
        namespace: &str,
        limit: usize,
    ) -> Result<(Vec<Arc<Event>>, Revision), Expired> {
        if from < self.floor {
            return Err(Expired {
                from,
                floor: self.floor,
            });
        }
        let start = self.events.partition_point(|event| event.revision <= from);
        let mut found = Vec::new();
        let mut upto = from;
        for event in self.events.range(start..) {
            upto = event.revision;
            if &*event.latest().key.namespace == namespace {
                found.push(Arc::clone(event));
                if found.len() == limit {
                    break;
                }
            }
        }
        Ok((found, upto))
    }

    /// Revision of the event in the middle.
    pub(super) fn middle(&self) -> Revision {
        self.events
            .get(self.events.len() / 2)
            .map_or(self.floor, |event| event.revision)
    }
}
