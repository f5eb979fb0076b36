//! The end of a work: what it owns goes, then its record, then the work itself.

use std::time::Duration;

use koinon_api::{labels::condition, meta};
use tokio::time::Instant;
use tracing::warn;

use super::{
    super::{
        executor,
        planned::place,
        prune,
        record::{self, Record},
        removal::{self, Leaving, Quota},
        status::{self, Delayed},
    },
    Actor, Trouble,
};
use crate::{backoff::spread, clock, crds, desired::Held};

impl Actor {
    /// One pass over a work that is deleted. Returns when to look again; `None` when nothing is left of it.
    pub(super) async fn leave(&mut self, held: &Held) -> Option<Instant> {
        let shared = self.shared.clone();
        let _permit = shared.permits.acquire().await;
        let left = Box::pin(self.try_leave(held)).await;
        shared.guard.counted(&self.name);
        match left {
            Ok(true) => None,
            Ok(false) => {
                let wait = match &self.delayed {
                    // Approvals are told, and that there is room for other reasons than time.
                    Some(delayed) if delayed.is_mass() => spread(shared.resync),
                    Some(delayed) if !delayed.is_going() => self.backoff.next_delay(),
                    // It may be gone at any moment, and after a restart no watch tells. Each look reads all that is left.
                    Some(_) => self.backoff.next_delay().min(self.removal.pause()),
                    None => self.backoff.next_delay().min(Duration::from_secs(5)),
                };
                let room = shared.guard.room_at(&self.name, Instant::now());
                let again = Instant::now() + wait;
                Some(room.map_or(again, |room| room.min(again)))
            }
            Err(trouble) => {
                warn!(work = %self.name, error = %trouble, "the work could not be removed");
                if self.delayed.is_none() {
                    self.postpone(held, Some(Delayed::failed(trouble.to_string())));
                }
                self.restore_definitions(&trouble).await;
                Some(Instant::now() + self.backoff.next_delay())
            }
        }
    }

    async fn try_leave(&mut self, held: &Held) -> Result<bool, Trouble> {
        let Some(mut record) =
            record::get(&self.shared.cluster, &self.shared.naming, &self.name).await?
        else {
            return Ok(true);
        };
        self.count(&record);
        let before = self.status.open();
        if meta::condition(&before.conditions, condition::DELETING).is_none() {
            self.report(held, status::deleting(&before, &clock::now()));
        }
        self.dismantle(held, &mut record).await
    }

    /// Deletes what a record owns, one step for each object, and lets the record go when nothing is left.
    async fn dismantle(&mut self, held: &Held, record: &mut Record) -> Result<bool, Trouble> {
        // Objects that were applied but never recorded are ours as well.
        let all = record.owned_with(&self.unrecorded);
        let shared = self.shared.clone();
        let spec = match held.spec() {
            Ok(spec) => spec,
            // What is to stay is not known, so nothing is deleted; somebody let go of it here.
            Err(_) if record.deleting => {
                self.let_go(held, record).await?;
                return Ok(true);
            }
            Err(error) => return Err(Trouble::Body(error.to_string())),
        };
        let judge = shared.policies.known().await;
        let leaving = Leaving {
            cluster: &shared.cluster,
            deleter: executor::deleter(&shared.cluster, shared.executing, spec.executor.as_ref()),
            owner: &record.owner,
            planned: &record.planned,
            spec: &spec,
            directives: &held.directives,
            policies: &judge,
            unmade: &self.unmade,
            keep: &[],
            claims: &shared.claims,
            quota: Quota {
                guard: &shared.guard,
                work: &self.name,
                told: held.revision,
                kept: 0,
            },
        };
        let progress = Box::pin(self.removal.step(all, &leaving)).await;
        let done = progress.pending.is_empty();
        self.postpone(held, progress.why());
        if !done {
            let applied = record::fitting(prune::sorted(progress.pending));
            record::set_applied(&shared.cluster, record, applied).await?;
        }
        if let Some(error) = progress.trouble {
            return Err(error.into());
        }
        if done {
            if !record.deleting {
                record::delete(&shared.cluster, record).await?;
            }
            record::release(&shared.cluster, record).await?;
            self.unrecorded = Vec::new();
        }
        Ok(done)
    }

    /// Lets go of all that a deleted record owns, and of the record. Nothing of it is deleted: only the hub may want that (P3),
    /// and whoever deletes records, perhaps all of them with their definition, need not mean the objects.
    pub(super) async fn let_go(&mut self, held: &Held, record: &Record) -> Result<(), Trouble> {
        let shared = self.shared.clone();
        let cluster = &shared.cluster;
        let mut all = record.owned_with(&self.unrecorded);
        all.retain(|object| !object.uid.is_empty() || !self.unmade.has(&place(object)));
        let (owner, planned) = (&record.owner, &record.planned);
        let let_go = removal::let_go(cluster, &all, owner, planned, &held.directives).await;
        if let Err(error) = let_go {
            // The record stays until then, or the garbage collector would take what could not be let go of. Somebody has to know.
            self.postpone(held, Some(Delayed::failed(error.to_string())));
            return Err(error.into());
        }
        record::release(cluster, record).await?;
        self.unrecorded = Vec::new();
        Ok(())
    }

    /// Makes the agent's own definitions anew if somebody deleted them: without them nothing can be recorded.
    pub(super) async fn restore_definitions(&self, trouble: &Trouble) {
        let Trouble::Cluster(error) = trouble else {
            return;
        };
        if error.is_not_found()
            && let Err(error) = crds::install(&self.shared.cluster).await
        {
            warn!(%error, "the agent's definitions could not be installed");
        }
    }
}
