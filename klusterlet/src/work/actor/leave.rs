//! The end of a work: what it owns goes, then its record, then the work itself.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    super::{
        Removed, prune,
        record::{self, Record},
        remove::{self, Fate, Leaving},
        status,
    },
    Actor, Trouble,
};
use crate::{backoff::spread, clock, desired::Held};

impl Actor {
    /// One pass over a work that is deleted. Returns when to look again.
    pub(super) async fn leave(&mut self, held: &Held) -> Instant {
        let shared = self.shared.clone();
        let _permit = shared.permits.acquire().await;
        match self.try_leave(held).await {
            Ok(true) => {
                info!(work = %self.name, "removed");
                // The receiver lives as long as the process.
                let _ = shared.removed.send(Removed {
                    name: held.name.clone(),
                    uid: held.uid.clone(),
                });
                // Forgotten by the receiver; until then there is nothing to do.
                Instant::now() + spread(shared.resync)
            }
            Ok(false) => Instant::now() + self.backoff.next_delay().min(Duration::from_secs(5)),
            Err(trouble) => {
                warn!(work = %self.name, error = %trouble, "the work could not be removed");
                Instant::now() + self.backoff.next_delay()
            }
        }
    }

    async fn try_leave(&mut self, held: &Held) -> Result<bool, Trouble> {
        let Some(mut record) =
            record::get(&self.shared.cluster, &self.shared.naming, &self.name).await?
        else {
            return Ok(true);
        };
        if !record.deleting {
            let owned = record.owned().len();
            self.shared.guard.applied(&self.name, owned);
            self.delayed = self.ask(held, owned);
            self.report(held, status::deleting(&self.status, &clock::now()));
            if self.delayed.is_some() {
                return Ok(false);
            }
            record::delete(&self.shared.cluster, &record).await?;
            record.deleting = true;
        }
        self.dismantle(held, &mut record).await
    }

    /// Deletes what a deleted record owns, one step for each object, and lets the record go when nothing is left.
    pub(super) async fn dismantle(
        &mut self,
        held: &Held,
        record: &mut Record,
    ) -> Result<bool, Trouble> {
        // Objects that were applied but never recorded are ours as well.
        let mut all = record.owned();
        let unrecorded = self.unrecorded.iter();
        let unrecorded: Vec<_> = unrecorded.filter(|u| !all.contains(u)).cloned().collect();
        all.extend(unrecorded);
        let (mut pending, mut trouble, mut delayed) = (Vec::new(), None, None);
        let judge = self.shared.policies.known().await;
        let spec = held.spec().map_err(|e| Trouble::Body(e.to_string()))?;
        let leaving = Leaving {
            spec: &spec,
            directives: &held.directives,
            policies: &judge,
        };
        for object in all {
            let removed = remove::remove(&self.shared.cluster, &object, &record.owner, &leaving);
            match removed.await {
                Ok(Fate::Done) => {}
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
        self.postpone(held, delayed);
        let applied = record::fitting(prune::sorted(pending));
        record::set_applied(&self.shared.cluster, record, applied).await?;
        if let Some(error) = trouble {
            return Err(error.into());
        }
        if done {
            record::release(&self.shared.cluster, record).await?;
            self.unrecorded.clear();
        }
        Ok(done)
    }
}
