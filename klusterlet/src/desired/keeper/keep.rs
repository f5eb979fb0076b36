//! Stores works, and forgets them.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use koinon_proto::v1::AckOutcome;
use tracing::warn;

use super::{
    super::{Held, Notice},
    Keeper,
};
use crate::cluster;

/// Works that are forgotten at the same time.
const DEPARTING: usize = 8;

impl Keeper {
    /// Nothing of this name is held.
    pub(super) fn is_new(&self, held: &Held) -> bool {
        !held.tombstone && self.parts.holding.get(&held.name).is_none()
    }

    /// Lets the work's actor prepare what may be prepared before the work is stored.
    pub(super) fn announce(&self, held: &Held) {
        self.parts.engine.announce(Arc::new(held.clone()));
    }

    /// Takes note of what came of notices: they are done, or they wait. Returns an error that concerns all works: the member is
    /// away.
    pub(super) fn dealt(
        &self,
        session: u64,
        notices: Vec<Notice>,
        result: cluster::Result<()>,
    ) -> Option<cluster::Error> {
        let inbox = &self.parts.inbox;
        match result {
            Ok(()) => notices.iter().for_each(|n| inbox.settled(&n.name)),
            Err(error @ cluster::Error::Refused { .. }) => {
                for notice in notices {
                    warn!(work = %notice.name, %error, "the work could not be stored");
                    inbox.refuse(session, notice);
                }
            }
            Err(error) => {
                for notice in notices {
                    inbox.put_back(session, notice);
                }
                return Some(error);
            }
        }
        None
    }

    /// Stores works with the notices that told of them.
    pub(super) async fn take_in(
        &self,
        works: Vec<(Notice, Held)>,
    ) -> (Vec<Notice>, cluster::Result<()>) {
        let (notices, works) = works.into_iter().unzip();
        let result = self.keep(works).await;
        (notices, result)
    }

    /// Stores works, then tells the hub and the works' actors. Several works are new, all of them.
    ///
    /// # Errors
    /// When one of them could not be stored; then none counts as stored.
    pub(super) async fn keep(&self, mut works: Vec<Held>) -> cluster::Result<()> {
        for held in &mut works {
            if let Some(before) = self.parts.holding.get(&held.name) {
                held.told_since(&before);
            }
        }
        let memory = self.parts.memory.lock().clone();
        match works.as_slice() {
            [one] => {
                let before = self.parts.holding.get(&one.name);
                self.parts
                    .store
                    .save(one, before.as_deref(), &memory)
                    .await?;
            }
            several => {
                let several: Vec<&Held> = several.iter().collect();
                self.parts.store.save_new(&several, &memory).await?;
            }
        }
        let mut found = false;
        for held in works.into_iter().map(Arc::new) {
            let before = self.parts.holding.get(&held.name);
            if before.is_some_and(|before| before.stray.is_some()) {
                found = true;
                self.parts.outbox.take_back(&held.name);
            }
            self.parts.holding.insert(held.clone());
            if !held.tombstone {
                self.parts
                    .outbox
                    .ack(&held.name, &held.uid, held.generation, AckOutcome::Stored);
            }
            self.parts.engine.desire(held);
        }
        self.count();
        if found {
            self.count_strays();
        }
        Ok(())
    }

    /// Forgets the works whose objects are gone, and tells the hub.
    pub(super) async fn depart(&mut self) -> cluster::Result<()> {
        let mut going: Vec<Arc<Held>> = Vec::new();
        for removed in &self.leaving {
            let held = self.parts.holding.get(&removed.name);
            going.extend(held.filter(|held| held.uid == removed.uid && held.tombstone));
        }
        if !going.is_empty() {
            // The works' own Secrets carried the positions at which they were deleted.
            self.store_position().await?;
            let parts = &self.parts;
            stream::iter(going)
                .map(async |held| {
                    parts.store.remove(&held).await?;
                    parts.holding.remove(&held.name);
                    parts.engine.forget(&held.name);
                    parts
                        .outbox
                        .ack(&held.name, &held.uid, held.generation, AckOutcome::Removed);
                    Ok::<_, cluster::Error>(())
                })
                .buffer_unordered(DEPARTING)
                .try_collect::<()>()
                .await?;
            self.count();
            self.count_strays();
        }
        self.leaving.clear();
        Ok(())
    }

    fn count(&self) {
        let works = i64::try_from(self.parts.holding.len()).unwrap_or(i64::MAX);
        self.parts.metrics.held_works.set(works);
    }
}
