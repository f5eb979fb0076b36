//! The record of a work: made sure of, watched, and left to a later agent.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    super::{
        planned::Planned,
        record::{self, Expect, Record},
        unmade::Unmade,
    },
    Actor, Trouble,
};
use crate::{
    cluster::{ObjectKey, Resource, known::APPLIED_WORKS},
    desired::{Held, Origin},
};

impl Actor {
    /// Makes sure that the record exists; false while an earlier one is still on its way out.
    pub(super) async fn ensure_record(
        &mut self,
        held: &Held,
        newer: bool,
    ) -> Result<bool, Trouble> {
        let expect = if self.record.is_none() && newer && held.origin == Origin::Hub {
            Expect::Nothing
        } else {
            Expect::Existing
        };
        let mut record = record::ensure(
            &self.shared.cluster,
            &self.shared.naming,
            &self.name,
            &held.labels,
            expect,
            &Planned::default(),
        )
        .await?;
        if record.deleting {
            // Somebody deleted it here, and all is to stay: it is let go of, and then adopted by a new record.
            warn!(work = %self.name, "the record of the work was deleted; nothing else is");
            self.record = None;
            self.memory.lock().clear();
            self.let_go(held, &record).await?;
            self.lost = record.completed;
            self.backoff.reset();
            return Ok(false);
        }
        let lost = std::mem::take(&mut self.lost);
        if record.created && !lost.is_empty() {
            record::set_completed(&self.shared.cluster, &mut record, lost).await?;
        }
        if let Some(before) = self.record.clone()
            && before.owner == record.owner
        {
            self.heed(&before, &record);
        }
        if self
            .record
            .as_ref()
            .is_some_and(|before| before.owner != record.owner)
        {
            self.memory.lock().clear();
        }
        self.count(&record);
        self.adopt(record);
        Ok(true)
    }

    /// Leaves the work to a later agent that has gone on with it, until that one has not touched it for a whole period: it may
    /// have died since, and nobody else would look.
    fn heed(&mut self, before: &Record, record: &Record) {
        let now = Instant::now();
        let patience = now + self.shared.resync;
        if record::is_overtaken(before, record, &self.shared.naming.process) {
            warn!(work = %self.name, "a later agent works on this work; it is left to that one");
            self.overtake(Some(patience));
        } else if self.overtaken.is_some() && before.version != record.version {
            self.overtake(Some(patience));
        } else if self.overtaken.is_some_and(|until| until <= now) {
            info!(work = %self.name, "nobody else works on this work any more");
            self.overtake(None);
        }
    }

    pub(super) fn overtake(&mut self, until: Option<Instant>) {
        let before = i64::from(self.overtaken.is_some());
        let change = i64::from(until.is_some()) - before;
        self.shared.metrics.overtaken_works.inc_by(change);
        self.overtaken = until;
    }

    /// Counts what the work owns, if nobody has since the agent started: how much is a mass depends on it.
    pub(super) fn count(&self, record: &Record) {
        if self.shared.guard.expects(&self.name) {
            self.shared.guard.applied(&self.name, record.owned().len());
            self.shared.guard.counted(&self.name);
        }
    }

    /// Watches the record from now on.
    pub(super) fn adopt(&mut self, record: Record) {
        let same = |before: &Record| before.owner == record.owner;
        if !self.record.as_ref().is_some_and(same) {
            self.unmade = Unmade::default();
        }
        if record.created {
            // What names it as its owner has yet to be made.
            self.unmade.planned(record.planned.places());
        }
        let key = ObjectKey {
            resource: Arc::new(Resource::clone(&APPLIED_WORKS)),
            namespace: String::new(),
            name: record.owner.name.clone(),
        };
        self.shared.watches.add(&self.name, &self.wake, &key);
        self.shared
            .watches
            .seen(&self.name, &key, Some(&record.version));
        self.tracked.insert(key);
        self.record = Some(record);
    }
}
