//! Turns notices into stored desired state.

mod fetch;
mod judge;
mod keep;
mod stray;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use koinon_proto::v1::AckOutcome;
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::judge::{Step, judge};
use super::{Held, Holding, Inbox, Notice, Origin, Store, inbox::Batch};
use crate::{
    backoff::Backoff,
    cluster,
    metrics::Metrics,
    outbox::Outbox,
    position::Memory,
    telemetry::Chain,
    unmanaged::Unmanaged,
    work::{Engine, Removed},
};

/// Notices that are dealt with at a time, so that bodies on the way are bounded.
const BATCH: usize = 64;

/// What a [`Keeper`] is made of.
#[derive(Debug)]
pub struct KeeperParts {
    /// Where desired state is stored.
    pub store: Store,
    /// What is held; the keeper alone changes it.
    pub holding: Holding,
    /// The position; the session changes it, the keeper stores it.
    pub memory: Arc<Mutex<Memory>>,
    /// Where notices come from.
    pub inbox: Inbox,
    /// Where acknowledgements go.
    pub outbox: Outbox,
    /// Who works on what is held.
    pub engine: Engine,
    /// Works whose objects are gone.
    pub removed: mpsc::UnboundedReceiver<Removed>,
    /// What the hub does not know.
    pub unmanaged: Unmanaged,
    /// Counters.
    pub metrics: Metrics,
}

/// Turns notices into stored desired state: the only task that changes what is held.
#[derive(Debug)]
pub struct Keeper {
    parts: KeeperParts,
    /// The position as it is stored.
    stored: Memory,
    /// Works that are gone but still stored.
    leaving: Vec<Removed>,
    /// Works that the hub did not tell in this session, and that are not stored as strays yet.
    untold: (u64, Vec<Arc<Held>>),
    backoff: Backoff,
    retry_at: Option<Instant>,
}

impl Keeper {
    /// Takes over what was loaded, and hands each work to its actor. `stored` is the position as the member has it apart from
    /// works.
    #[must_use]
    pub fn new(parts: KeeperParts, stored: Memory, loaded: Vec<Held>) -> Self {
        for held in loaded {
            let held = Arc::new(held);
            if held.stray.is_some() {
                parts.outbox.set_aside(&held.name);
            }
            parts.holding.insert(held.clone());
            parts.engine.desire(held);
        }
        parts
            .metrics
            .held_works
            .set(i64::try_from(parts.holding.len()).unwrap_or(i64::MAX));
        let (strays, leaving) = parts.holding.strays();
        parts.unmanaged.set_works(strays, leaving);
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        Self {
            parts,
            stored,
            leaving: Vec::new(),
            untold: (0, Vec::new()),
            backoff,
            retry_at: None,
        }
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(self.turn()).await.is_some() {}
    }

    async fn turn(&mut self) {
        let retry = async {
            match next(self.retry_at, self.parts.inbox.due_at()) {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(removed) = self.parts.removed.recv() => self.leaving.push(removed),
            () = self.parts.inbox.notified() => {}
            () = self.parts.unmanaged.works_doomed() => {}
            () = retry => {}
        }
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.retry_at = None;
        match self.work().await {
            Ok(()) => self.backoff.reset(),
            Err(error) => {
                warn!(error = %Chain(&error), "the desired state could not be stored");
                self.retry_at = Some(Instant::now() + self.backoff.next_delay());
            }
        }
    }

    async fn work(&mut self) -> cluster::Result<()> {
        while let Ok(removed) = self.parts.removed.try_recv() {
            self.leaving.push(removed);
        }
        // One does not wait for the other: what cannot be forgotten must not keep the agent from learning.
        let departed = self.depart().await;
        // What an admin accepted, and that a hub is held off, must survive a restart before anything is done about it.
        let memory = self.parts.memory.lock().clone();
        if (memory.rollbacks, &memory.held_off) != (self.stored.rollbacks, &self.stored.held_off) {
            self.store_position().await?;
        }
        while let Some(batch) = self.parts.inbox.take(BATCH) {
            let count = batch.notices.len();
            let outcome = self.batch(batch).await;
            debug!(count, "dealt with notices");
            outcome?;
        }
        self.part_with_strays().await?;
        departed
    }

    /// Stores the position, if it is another one.
    ///
    /// Each work is stored with the position at which it was learned, so this is only needed when there is no such work: a
    /// hub that was restored to a point at which this cluster's works were the same harms nothing.
    async fn store_position(&mut self) -> cluster::Result<()> {
        let memory = self.parts.memory.lock().clone();
        if memory != self.stored {
            self.parts.store.save_position(&memory).await?;
            self.stored = memory;
        }
        Ok(())
    }

    async fn batch(&mut self, batch: Batch) -> cluster::Result<()> {
        let Batch {
            session,
            notices,
            puller,
        } = batch;
        let memory = self.parts.memory.lock().clone();
        let mut to_pull = BTreeMap::new();
        let mut failure = None;
        for notice in notices {
            if !self.parts.inbox.is_current(session) {
                return Ok(());
            }
            let held = self.parts.holding.get(&notice.name);
            let ack = |outcome| {
                self.parts
                    .outbox
                    .ack(&notice.name, &notice.uid, notice.generation, outcome)
            };
            let stored = match judge(&notice, held.as_deref(), memory.held_off.is_some()) {
                Step::Known => {
                    if !notice.tombstone {
                        ack(AckOutcome::Stored);
                    }
                    Ok(())
                }
                Step::HoldBack => {
                    self.parts.metrics.held_back.inc();
                    ack(AckOutcome::Held);
                    Ok(())
                }
                Step::NotHere => {
                    ack(AckOutcome::Removed);
                    Ok(())
                }
                Step::Adopt | Step::Bury => {
                    let body = held.as_ref().map(|h| h.body.clone()).unwrap_or_default();
                    let labels = held.as_ref().map(|h| h.labels.clone()).unwrap_or_default();
                    self.keep(vec![work(&notice, labels, body, Origin::Member)])
                        .await
                }
                Step::Pull => {
                    to_pull.insert(notice.name.clone(), notice);
                    continue;
                }
            };
            if let Some(error) = self.dealt(session, vec![notice], stored) {
                failure = Some(error);
            }
        }
        if let (false, Some(puller)) = (to_pull.is_empty(), puller)
            && let Err(error) = self.pull(session, &mut to_pull, puller).await
        {
            failure = Some(error);
        }
        failure.map_or(Ok(()), Err)
    }
}

/// When to go on if nothing happens. While all of it waits for the member, no notice is due before that.
fn next(retry_at: Option<Instant>, due_at: Option<Instant>) -> Option<Instant> {
    retry_at.or(due_at)
}

fn work(
    notice: &Notice,
    labels: BTreeMap<String, String>,
    body: Arc<[u8]>,
    origin: Origin,
) -> Held {
    Held {
        name: notice.name.clone(),
        uid: notice.uid.clone(),
        generation: notice.generation,
        digest: notice.digest.clone(),
        tombstone: notice.tombstone,
        labels,
        directives: notice.directives.clone(),
        revision: notice.revision,
        stray: None,
        body,
        origin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_that_is_due_does_not_cut_a_pause_short() {
        let past = Instant::now();
        let later = past + Duration::from_secs(30);
        for (retry_at, due_at, expected) in [
            (None, None, None),
            (None, Some(past), Some(past)),
            (Some(later), None, Some(later)),
            (Some(later), Some(past), Some(later)),
            (Some(past), Some(later), Some(past)),
        ] {
            assert_eq!(next(retry_at, due_at), expected);
        }
    }
}
