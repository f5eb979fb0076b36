//! What a work owns, and what it owned: records the one, deletes the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use koinon_api::{applied::AppliedManifestResourceMeta, work::ManifestWorkSpec};
use tokio::{sync::SemaphorePermit, time::Instant};
use tracing::debug;

use super::{
    super::{
        Shared, executor,
        pass::Slot,
        planned::place,
        prune,
        record::{self, Record},
        removal::{Leaving, Quota},
        status::Delayed,
    },
    Actor, Trouble,
};
use crate::{
    backoff::spread,
    cluster::{ObjectKey, Resource, known::APPLIED_WORKS},
    desired::Held,
};

/// How long uids wait to be recorded. The record names the objects already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Books {
    /// At first.
    pub later: Duration,
    /// Again, while works wait to be applied, while works keep coming, or while others are recorded.
    pub again: Duration,
    /// Works keep coming as long as the last one came less than this ago.
    pub quiet: Duration,
    /// For works to stop coming.
    pub patience: Duration,
}

impl Default for Books {
    fn default() -> Self {
        Self {
            later: Duration::from_millis(700),
            again: Duration::from_millis(500),
            quiet: Duration::from_secs(1),
            patience: Duration::from_secs(10),
        }
    }
}

/// When what is applied is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settle {
    /// When there is time, if nothing depends on it.
    Soon,
    Now,
}

impl Actor {
    /// Takes the turn to record what is applied. Puts it off if there is something that has less time: a record costs the API
    /// server as much as applying a work does, so works that come one after the other would each wait for those before them.
    pub(super) fn recording<'s>(&mut self, shared: &'s Shared) -> Option<SemaphorePermit<'s>> {
        let now = Instant::now();
        let since = *self.books_since.get_or_insert(now);
        let books = shared.books;
        let coming = now.duration_since(*shared.asked_at.lock()) < books.quiet;
        let turn = if shared.permits.available_permits() == 0
            || coming && now.duration_since(since) < books.patience
        {
            None
        } else {
            shared.recording.try_acquire().ok()
        };
        if turn.is_none() {
            self.agenda.books = Some(now + spread(books.again));
        }
        turn
    }

    /// Remembers and reports that a deletion waits, or no longer does.
    pub(super) fn postpone(&mut self, held: &Held, delayed: Option<Delayed>) {
        if self.delayed != delayed {
            if held.stray.is_some() {
                let why = delayed.as_ref().map(Delayed::message);
                self.shared.unmanaged.hold(&self.name, why);
            }
            self.delayed = delayed;
            self.report(held, (*self.status.open()).clone());
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
        let wanted: Vec<_> = self
            .slots
            .values()
            .filter_map(|slot| slot.applied())
            .collect();
        let unmapped: Vec<_> = self
            .slots
            .values()
            .filter_map(|slot| slot.unmapped.as_deref().cloned())
            .collect();
        let recorded = record.owned_with(&self.unrecorded);
        let mut pruning = prune::prune(&recorded, &wanted, &unmapped);
        let unreadable = |slot: &Slot| slot.key().is_none() && slot.unmapped.is_none();
        let forbears = self.forbears.filter(|until| Instant::now() < *until);
        self.agenda.drops = forbears.filter(|_| !pruning.drop.is_empty());
        // One that cannot be read may be meant for any of them.
        if self.agenda.drops.is_some() || self.slots.values().any(|slot| unreadable(slot)) {
            let spared = std::mem::take(&mut pruning.drop).into_iter();
            pruning.keep.extend(spared.filter(|o| !o.uid.is_empty()));
            pruning.keep = prune::sorted(pruning.keep);
        }
        let (shared, mut keep) = (self.shared.clone(), pruning.keep);
        // A uid that is missing is told by the owner reference; a wrong one must not be left for later.
        let uids: BTreeMap<_, _> = record.applied.iter().map(|o| (place(o), &o.uid)).collect();
        let made_anew = |o: &AppliedManifestResourceMeta| {
            let recorded = uids.get(&place(o));
            recorded.is_some_and(|uid| !o.uid.is_empty() && **uid != o.uid)
        };
        if when == Settle::Soon
            && pruning.drop.is_empty()
            && !keep.iter().any(made_anew)
            && keep.iter().all(|o| record.planned.covers(&place(o)))
        {
            shared.guard.content(&self.name);
            shared.guard.applied(&self.name, keep.len());
            self.postpone(held, None);
            let applied = record::fitting(keep);
            // What was learned is remembered until it is recorded: by then the agent may not be let look any more.
            self.unrecorded = new_in(&applied, &record.applied);
            self.agenda.books = if applied == record.applied {
                None
            } else {
                // An object that changes all the time must not put it off for ever.
                let later = Instant::now() + spread(shared.books.later);
                Some(self.agenda.books.map_or(later, |due| due.min(later)))
            };
            self.books_since = self.agenda.books.and(self.books_since);
            self.record = Some(record);
            return Ok(true);
        }
        (self.agenda.books, self.books_since) = (None, None);
        self.unrecorded.clone_from(&keep);
        let judge = shared.policies.known().await;
        // Also what could not be read this time.
        let kept: Vec<_> = match pruning.drop.is_empty() {
            true => Vec::new(),
            false => wanted.iter().chain(&keep).cloned().collect(),
        };
        let (owner, planned) = (record.owner.clone(), record.planned.clone());
        let leaving = Leaving {
            cluster: &shared.cluster,
            deleter: executor::deleter(&shared.cluster, shared.executing, spec.executor.as_ref()),
            owner: &owner,
            planned: &planned,
            spec,
            directives: &held.directives,
            policies: &judge,
            unmade: &self.unmade,
            keep: &kept,
            claims: &shared.claims,
            quota: Quota {
                guard: &shared.guard,
                work: &self.name,
                told: held.revision,
                kept: keep.len(),
            },
        };
        let progress = Box::pin(self.removal.step(pruning.drop, &leaving)).await;
        for object in &progress.gone {
            debug!(work = %self.name, resource = %object.resource, name = %object.name, "pruned");
        }
        let delayed = progress.why();
        // An approval is told; there is nothing to try until then.
        let done = progress.pending.is_empty() || delayed.as_ref().is_some_and(Delayed::is_mass);
        let gone: BTreeSet<_> = progress.gone.iter().map(place).collect();
        keep.extend(progress.pending);
        let applied = record::fitting(prune::sorted(keep));
        let written = record::set_applied(&shared.cluster, &mut record, applied).await;
        if written.is_ok() {
            self.unrecorded = Vec::new();
            record.planned.retain(|place| !gone.contains(place));
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
        progress.trouble.map_or(Ok(done), |error| Err(error.into()))
    }
}

/// What is `applied` and not recorded like that.
fn new_in(
    applied: &[AppliedManifestResourceMeta],
    recorded: &[AppliedManifestResourceMeta],
) -> Vec<AppliedManifestResourceMeta> {
    if applied == recorded {
        return Vec::new();
    }
    let recorded: BTreeSet<_> = recorded.iter().collect();
    let new = applied.iter().filter(|object| !recorded.contains(object));
    new.cloned().collect()
}
