use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use koinon_proto::v1::{AckOutcome, WorkRef};
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    Held, Holding, Inbox, Notice, Origin, Store, compress,
    inbox::Batch,
    pull::{Assembly, Pulled},
};
use crate::{
    backoff::Backoff,
    cluster,
    metrics::Metrics,
    outbox::Outbox,
    position::Memory,
    telemetry::Chain,
    work::{Engine, Removed},
};

/// Notices that are dealt with at a time, so that bodies on the way are bounded.
const BATCH: usize = 64;

/// Bodies that are stored at the same time.
const STORING: usize = 8;

/// Longest silence within a pull.
const PULL_TIMEOUT: Duration = Duration::from_secs(60);

/// What has to be done about a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing is new.
    Known,
    /// A hub that is behind asks for it (P4).
    HoldBack,
    /// Another work has the name; the one that is meant is long gone.
    NotHere,
    /// The body is here already.
    Adopt,
    /// The body has to be fetched.
    Pull,
    /// The work is to be removed.
    Bury,
}

/// Judges a notice. Pure.
fn judge(notice: &Notice, held: Option<&Held>, held_off: bool) -> Step {
    let same = held.filter(|held| held.uid == notice.uid);
    let unchanged = same.is_some_and(|held| {
        (
            held.generation,
            held.tombstone,
            held.digest.as_slice(),
            &held.directives,
        ) == (
            notice.generation,
            notice.tombstone,
            notice.digest.as_slice(),
            &notice.directives,
        )
    });
    if unchanged {
        return Step::Known;
    }
    if held_off {
        // Also a higher generation: it may have been made from a state that this cluster has left behind.
        return Step::HoldBack;
    }
    match (notice.tombstone, held, same) {
        (true, Some(_), None) => Step::NotHere,
        // What stays when it goes is said in its body, which may be newer than what is here.
        (true, held, _)
            if held.is_none_or(|held| held.digest != notice.digest || held.body.is_empty()) =>
        {
            Step::Pull
        }
        (true, _, _) => Step::Bury,
        (false, _, Some(same)) if same.digest == notice.digest && !same.body.is_empty() => {
            Step::Adopt
        }
        (false, _, _) => Step::Pull,
    }
}

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
    backoff: Backoff,
    retry_at: Option<Instant>,
}

impl Keeper {
    /// Takes over what was loaded, and hands each work to its actor.
    #[must_use]
    pub fn new(parts: KeeperParts, stored: Memory, loaded: Vec<Held>) -> Self {
        for held in loaded {
            let held = Arc::new(held);
            parts.holding.insert(held.clone());
            parts.engine.desire(held);
        }
        parts
            .metrics
            .held_works
            .set(i64::try_from(parts.holding.len()).unwrap_or(i64::MAX));
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        Self {
            parts,
            stored,
            leaving: Vec::new(),
            backoff,
            retry_at: None,
        }
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(self.turn()).await.is_some() {}
    }

    async fn turn(&mut self) {
        let retry_at = self.retry_at;
        let retry = async {
            match retry_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(removed) = self.parts.removed.recv() => self.leaving.push(removed),
            () = self.parts.inbox.notified() => {}
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
        while let Some(removed) = self.leaving.last().cloned() {
            self.depart(&removed).await?;
            self.leaving.pop();
        }
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
        Ok(())
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
                    self.keep(work(&notice, labels, body, Origin::Member)).await
                }
                Step::Pull => {
                    to_pull.insert(notice.name.clone(), notice);
                    continue;
                }
            };
            if let Err(error) = stored {
                self.parts.inbox.put_back(session, notice);
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

    /// Fetches and stores bodies; what fails goes back to the inbox.
    async fn pull(
        &self,
        session: u64,
        wanted: &mut BTreeMap<String, Notice>,
        mut puller: crate::hub::Puller,
    ) -> cluster::Result<()> {
        let works = wanted
            .values()
            .map(|n| WorkRef {
                name: n.name.clone(),
                uid: n.uid.clone(),
                digest: n.digest.clone().into(),
            })
            .collect();
        let (mut storing, mut assembly, mut failure) =
            (FuturesUnordered::new(), Assembly::default(), None);
        let mut chunks = match tokio::time::timeout(PULL_TIMEOUT, puller.pull(works)).await {
            Ok(Ok(chunks)) => Some(chunks),
            Ok(Err(status)) => {
                debug!(code = ?status.code(), "a pull was refused");
                failure = Some(cluster::Error::Unreachable(format!(
                    "pull: {}",
                    status.message()
                )));
                None
            }
            Err(_) => {
                failure = Some(cluster::Error::Timeout);
                None
            }
        };
        loop {
            let receiving = chunks.is_some();
            let next = async {
                match &mut chunks {
                    Some(stream) => tokio::time::timeout(PULL_TIMEOUT, stream.message())
                        .await
                        .ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((notice, result)) = storing.next(), if !storing.is_empty() => {
                    if let Err(error) = result {
                        self.parts.inbox.put_back(session, notice);
                        failure = Some(error);
                    }
                }
                chunk = next, if receiving && storing.len() < STORING => match chunk {
                    Some(Ok(Some(chunk))) => match assembly.add(chunk) {
                        Ok(Some(pulled)) => {
                            self.parts.metrics.pulled_bytes.inc_by(pulled.body.len() as u64);
                            if let Some(notice) = wanted.remove(&pulled.name).filter(|n| n.digest == pulled.digest && n.uid == pulled.uid) {
                                storing.push(self.take_in(notice, Some(pulled)));
                            }
                        }
                        Ok(None) => {}
                        Err(error) => {
                            failure = Some(cluster::Error::Unreachable(error.to_string()));
                            chunks = None;
                        }
                    },
                    // The end. Works that are still wanted are gone on the hub; newer notices follow.
                    Some(Ok(None)) => {
                        for notice in std::mem::take(wanted).into_values().filter(|n| n.tombstone) {
                            storing.push(self.take_in(notice, None));
                        }
                        chunks = None;
                    }
                    Some(Err(status)) => {
                        failure = Some(cluster::Error::Unreachable(format!("pull: {}", status.message())));
                        chunks = None;
                    }
                    None => {
                        failure = Some(cluster::Error::Timeout);
                        chunks = None;
                    }
                },
                else => break,
            }
        }
        drop(storing);
        for notice in std::mem::take(wanted).into_values() {
            self.parts.inbox.put_back(session, notice);
        }
        failure.map_or(Ok(()), Err)
    }

    /// Stores a work with the body that was pulled; one that is deleted, and gone on the hub, with what is here.
    async fn take_in(
        &self,
        notice: Notice,
        pulled: Option<Pulled>,
    ) -> (Notice, cluster::Result<()>) {
        let Some(pulled) = pulled else {
            let held = self.parts.holding.get(&notice.name);
            let (labels, body) = held
                .filter(|held| held.uid == notice.uid)
                .map(|held| (held.labels.clone(), held.body.clone()))
                .unwrap_or_default();
            let result = self.keep(work(&notice, labels, body, Origin::Member)).await;
            return (notice, result);
        };
        let compressed = compress(&pulled.body);
        drop(pulled.body);
        let result = match compressed {
            Ok(body) => {
                self.keep(work(&notice, pulled.labels, body, Origin::Hub))
                    .await
            }
            Err(error) => Err(cluster::Error::Unreachable(error.to_string())),
        };
        (notice, result)
    }

    /// Stores a work, then tells the hub and the work's actor.
    async fn keep(&self, held: Held) -> cluster::Result<()> {
        let before = self.parts.holding.get(&held.name);
        let memory = self.parts.memory.lock().clone();
        self.parts
            .store
            .save(&held, before.as_deref(), &memory)
            .await?;
        let held = Arc::new(held);
        self.parts.holding.insert(held.clone());
        self.parts
            .metrics
            .held_works
            .set(i64::try_from(self.parts.holding.len()).unwrap_or(i64::MAX));
        if !held.tombstone {
            self.parts
                .outbox
                .ack(&held.name, &held.uid, held.generation, AckOutcome::Stored);
        }
        self.parts.engine.desire(held);
        Ok(())
    }

    /// Forgets a work whose objects are gone, and tells the hub.
    async fn depart(&mut self, removed: &Removed) -> cluster::Result<()> {
        let Some(held) = self
            .parts
            .holding
            .get(&removed.name)
            .filter(|held| held.uid == removed.uid && held.tombstone)
        else {
            return Ok(());
        };
        // The work's own Secret carried the position at which it was deleted.
        self.store_position().await?;
        self.parts.store.remove(&held).await?;
        self.parts.holding.remove(&held.name);
        self.parts
            .metrics
            .held_works
            .set(i64::try_from(self.parts.holding.len()).unwrap_or(i64::MAX));
        self.parts.engine.forget(&held.name);
        self.parts
            .outbox
            .ack(&held.name, &held.uid, held.generation, AckOutcome::Removed);
        Ok(())
    }
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
        body,
        origin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(uid: &str, generation: i64, digest: u8, tombstone: bool) -> Notice {
        Notice {
            name: "w".into(),
            uid: uid.into(),
            generation,
            digest: vec![digest],
            tombstone,
            directives: BTreeMap::new(),
            revision: 9,
        }
    }

    fn held(uid: &str, generation: i64, digest: u8, tombstone: bool) -> Held {
        work(
            &notice(uid, generation, digest, tombstone),
            BTreeMap::new(),
            Arc::from([1_u8].as_slice()),
            Origin::Member,
        )
    }

    /// held, notice, held off → step
    #[test]
    fn notices_are_judged_by_uid_generation_and_whether_the_hub_is_trusted() {
        use Step::{Adopt, Bury, HoldBack, Known, NotHere, Pull};
        let cases = [
            (None, notice("a", 1, 1, false), false, Pull),
            (None, notice("a", 1, 1, true), false, Pull),
            (
                Some(held("a", 1, 1, false)),
                notice("a", 2, 2, true),
                false,
                Pull,
            ),
            (
                Some(held("a", 1, 1, false)),
                notice("a", 1, 1, false),
                false,
                Known,
            ),
            (
                Some(held("a", 1, 1, false)),
                notice("a", 2, 2, false),
                false,
                Pull,
            ),
            (
                Some(held("a", 1, 1, false)),
                notice("a", 2, 1, false),
                false,
                Adopt,
            ),
            (
                Some(held("a", 1, 1, false)),
                notice("a", 1, 1, true),
                false,
                Bury,
            ),
            (
                Some(held("a", 1, 1, true)),
                notice("a", 1, 1, true),
                false,
                Known,
            ),
            (
                Some(held("a", 1, 1, true)),
                notice("b", 1, 2, false),
                false,
                Pull,
            ),
            // P3: a tombstone is for a uid, not for a name.
            (
                Some(held("b", 1, 1, false)),
                notice("a", 1, 1, true),
                false,
                NotHere,
            ),
            // After an accepted rollback the hub's word counts, also an older one.
            (
                Some(held("a", 7, 7, false)),
                notice("a", 5, 5, false),
                false,
                Pull,
            ),
            // P4
            (None, notice("a", 1, 1, false), true, HoldBack),
            (None, notice("a", 1, 1, true), true, HoldBack),
            (
                Some(held("a", 7, 7, false)),
                notice("a", 7, 7, true),
                true,
                HoldBack,
            ),
            (
                Some(held("a", 7, 7, false)),
                notice("a", 5, 5, false),
                true,
                HoldBack,
            ),
            (
                Some(held("a", 7, 7, false)),
                notice("b", 9, 9, false),
                true,
                HoldBack,
            ),
            (
                Some(held("a", 7, 7, false)),
                notice("a", 7, 7, false),
                true,
                Known,
            ),
            (
                Some(held("a", 7, 7, false)),
                notice("a", 8, 8, false),
                true,
                HoldBack,
            ),
        ];
        for (held, notice, held_off, expected) in cases {
            assert_eq!(
                judge(&notice, held.as_ref(), held_off),
                expected,
                "{held:?} {notice:?} {held_off}"
            );
        }
    }
}
