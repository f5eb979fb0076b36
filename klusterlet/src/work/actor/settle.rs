//! What a work owns, and what it owned: records the one, deletes the other.

use std::sync::Arc;

use koinon_api::work::ManifestWorkSpec;
use tokio::time::Instant;
use tracing::debug;

use super::{
    super::{
        guard::Permit,
        prune,
        record::{self, Record},
        remove::{self, Fate, Leaving},
        status::Delayed,
    },
    Actor, Trouble,
};
use crate::{
    cluster::{ObjectKey, Resource, known::APPLIED_WORKS},
    desired::Held,
};

impl Actor {
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
            self.report(held, self.status.clone());
        }
    }

    /// Records what is applied and deletes what is no longer asked for. False while something is still on its way out.
    pub(super) async fn settle(
        &mut self,
        held: &Held,
        spec: &ManifestWorkSpec,
        mut record: Record,
    ) -> Result<bool, Trouble> {
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
        let recorded: Vec<_> = record
            .applied
            .iter()
            .chain(&self.unrecorded)
            .cloned()
            .collect();
        let pruning = prune::prune(&recorded, &planned, &unmapped);
        self.unrecorded.clone_from(&pruning.keep);
        let (mut keep, mut pending, mut trouble) = (pruning.keep, Vec::new(), None);
        let mut delayed = self.ask(held, pruning.drop.len());
        let waits = delayed.is_some();
        let kept = keep.len() + if waits { pruning.drop.len() } else { 0 };
        let judge = self.shared.policies.known().await;
        let leaving = Leaving {
            spec,
            directives: &held.directives,
            policies: &judge,
        };
        for object in pruning.drop {
            if waits {
                pending.push(object);
                continue;
            }
            let removed = remove::remove(&self.shared.cluster, &object, &record.owner, &leaving);
            match removed.await {
                Ok(Fate::Done) => {
                    debug!(work = %self.name, resource = %object.resource, name = %object.name, "pruned")
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
        let written =
            record::set_applied(&self.shared.cluster, &mut record, prune::sorted(keep)).await;
        record.created = false;
        if written.is_ok() {
            self.unrecorded.clear();
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
