//! What a work owns, and what it owned: records the one, deletes the other.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use koinon_api::work::ManifestWorkSpec;
use tokio::time::Instant;
use tracing::debug;

use super::{
    super::{
        guard::Permit,
        planned::place,
        prune,
        record::{self, Record},
        remove::{self, Fate, Leaving},
        status::Delayed,
    },
    Actor, Trouble,
};
use crate::{
    backoff::spread,
    cluster::{ObjectKey, Resource, known::APPLIED_WORKS},
    desired::Held,
};

/// How long uids may wait to be recorded. The record names the objects already.
const LATER: Duration = Duration::from_millis(700);

/// How often they wait again while works wait to be applied, and at most how long after they were due.
const AGAIN: Duration = Duration::from_millis(300);

/// When what is applied is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settle {
    /// When there is time, if nothing depends on it.
    Soon,
    Now,
}

impl Actor {
    /// Puts off what has time while works wait to be applied.
    pub(super) fn put_off(&mut self) -> bool {
        let busy = self.shared.permits.available_permits() == 0;
        if busy {
            self.books_at = Some(Instant::now() + spread(AGAIN));
        }
        busy
    }

    /// Asks whether so many objects may be deleted; if not, returns why.
    pub(super) fn ask(&self, held: &Held, objects: usize) -> Option<Delayed> {
        if objects == 0 {
            self.shared.guard.content(&self.name);
            return None;
        }
        match self
            .shared
            .guard
            .ask(&self.name, objects, held.revision, Instant::now())
        {
            Permit::Granted => None,
            Permit::Held(message) => Some(Delayed::mass(message)),
        }
    }

    /// Remembers and reports that a deletion waits, or no longer does.
    pub(super) fn postpone(&mut self, held: &Held, delayed: Option<Delayed>) {
        if self.delayed != delayed {
            self.delayed = delayed;
            self.report(held, (*self.status).clone());
        }
    }

    /// Records what is applied and deletes what is no longer asked for. False while something is still on its way out.
    pub(super) async fn settle(
        &mut self,
        held: &Held,
        spec: &ManifestWorkSpec,
        mut record: Record,
        when: Settle,
    ) -> Result<bool, Trouble> {
        record.created = false;
        let planned: Vec<_> = self
            .slots
            .values()
            .filter_map(|slot| slot.applied.clone())
            .collect();
        let unmapped: Vec<_> = self
            .slots
            .values()
            .filter_map(|slot| slot.unmapped.clone())
            .collect();
        let mut recorded = record.applied.clone();
        recorded.extend(self.unrecorded.iter().cloned());
        recorded.extend(record.owned().into_iter().filter(|o| o.uid.is_empty()));
        let pruning = prune::prune(&recorded, &planned, &unmapped);
        let (mut keep, mut pending, mut trouble) = (pruning.keep, Vec::new(), None);
        let mut delayed = self.ask(held, pruning.drop.len());
        let waits = delayed.is_some();
        let kept = keep.len() + if waits { pruning.drop.len() } else { 0 };
        if when == Settle::Soon
            && pruning.drop.is_empty()
            && keep.iter().all(|o| record.planned.covers(&place(o)))
        {
            self.shared.guard.applied(&self.name, kept);
            self.postpone(held, None);
            self.books_at =
                (record::fitting(keep) != record.applied).then(|| Instant::now() + spread(LATER));
            self.record = Some(record);
            return Ok(true);
        }
        self.books_at = None;
        self.unrecorded.clone_from(&keep);
        let judge = self.shared.policies.known().await;
        let leaving = Leaving {
            spec,
            directives: &held.directives,
            policies: &judge,
        };
        let mut gone = BTreeSet::new();
        for object in pruning.drop {
            if waits {
                pending.push(object);
                continue;
            }
            let removed = remove::remove(&self.shared.cluster, &object, &record.owner, &leaving);
            match removed.await {
                Ok(Fate::Done) => {
                    debug!(work = %self.name, resource = %object.resource, name = %object.name, "pruned");
                    gone.insert(place(&object));
                }
                Ok(Fate::Pending) => pending.push(object),
                Ok(Fate::Held(why)) => {
                    delayed = Some(why);
                    pending.push(object);
                }
                Err(error) => {
                    trouble = Some(error);
                    pending.push(object);
                }
            }
        }
        let done = pending.is_empty();
        keep.extend(pending);
        let applied = record::fitting(prune::sorted(keep));
        let written = record::set_applied(&self.shared.cluster, &mut record, applied).await;
        if written.is_ok() {
            self.unrecorded.clear();
            record.planned.retain(|place| !gone.contains(place));
            self.shared.guard.applied(&self.name, kept);
        }
        let key = ObjectKey {
            resource: Arc::new(Resource::clone(&APPLIED_WORKS)),
            namespace: String::new(),
            name: record.owner.name.clone(),
        };
        self.shared
            .watches
            .seen(&self.name, &key, Some(&record.version));
        self.record = Some(record);
        self.postpone(held, delayed);
        written?;
        trouble.map_or(Ok(done), |error| Err(error.into()))
    }
}
