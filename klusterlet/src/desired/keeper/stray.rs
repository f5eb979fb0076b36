//! Works that the hub does not have: noted at the end of a resync, disposed of by order.
//!
//! That a hub lacks a work deletes nothing (P3). A stray work is kept applied, is counted and told, and is left out of the
//! digest by which hub and agent compare what they hold, so that they agree again.

use std::{collections::BTreeSet, sync::Arc};

use tracing::{info, warn};

use super::{super::Held, Keeper};
use crate::{clock, cluster, unmanaged::Doomed};

impl Keeper {
    /// Notes which works the hub does not have if it has just told all of them, and disposes of those that are doomed.
    pub(super) async fn part_with_strays(&mut self) -> cluster::Result<()> {
        if let Some((session, known)) = self.parts.inbox.complete() {
            self.untold = (session, self.untold(&known));
            self.parts.unmanaged.look_again();
            if self.untold.1.is_empty() && self.is_followed() {
                self.parts.unmanaged.set_sure(true);
            }
        }
        self.note_strays().await?;
        let mut doomed = self.parts.unmanaged.take_works().into_iter();
        while let Some((name, one)) = doomed.next() {
            if let Err(error) = self.dispose(&name, &one).await {
                self.parts
                    .unmanaged
                    .put_back([(name, one)].into_iter().chain(doomed));
                return Err(error);
            }
        }
        Ok(())
    }

    fn untold(&self, known: &BTreeSet<String>) -> Vec<Arc<Held>> {
        let mut all = self.parts.holding.all();
        all.retain(|held| held.stray.is_none() && !known.contains(&held.name));
        all
    }

    /// A hub that is held off does not say what there is.
    fn is_followed(&self) -> bool {
        self.parts.memory.lock().held_off.is_none()
    }

    async fn note_strays(&mut self) -> cluster::Result<()> {
        while let Some(held) = self.untold.1.last().cloned() {
            if !self.parts.inbox.is_current(self.untold.0) || !self.is_followed() {
                self.untold.1.clear();
                return Ok(());
            }
            // Unless there was news of it meanwhile.
            let now = self.parts.holding.get(&held.name);
            if now.is_some_and(|now| Arc::ptr_eq(&now, &held)) {
                info!(work = %held.name, "the hub does not know this work; it stays as it is");
                let stray = Held {
                    stray: Some(clock::unix()),
                    ..Held::clone(&held)
                };
                self.store_stray(&held, stray).await?;
            }
            self.untold.1.pop();
            if self.untold.1.is_empty() {
                self.parts.unmanaged.set_sure(true);
            }
        }
        Ok(())
    }

    async fn dispose(&self, name: &str, doomed: &Doomed) -> cluster::Result<()> {
        let held = self.parts.holding.get(name);
        let stray = |held: &Arc<Held>| held.stray.is_some() && !held.tombstone;
        let Some(held) = held.filter(|held| held.uid == doomed.uid && stray(held)) else {
            return Ok(());
        };
        warn!(work = %name, disposal = ?doomed.disposal, "disposing of a work that the hub does not know");
        match held.disposed(doomed.disposal, doomed.told) {
            Ok(disposed) => self.store_stray(&held, disposed).await,
            Err(error) => {
                warn!(work = %name, %error, "the work cannot be disposed of");
                Ok(())
            }
        }
    }

    async fn store_stray(&self, before: &Held, stray: Held) -> cluster::Result<()> {
        let memory = self.parts.memory.lock().clone();
        self.parts.store.save(&stray, Some(before), &memory).await?;
        self.parts.outbox.set_aside(&stray.name);
        let stray = Arc::new(stray);
        self.parts.holding.insert(stray.clone());
        if stray.tombstone {
            self.parts.engine.desire(stray);
        }
        self.count_strays();
        Ok(())
    }

    /// Tells how many works the hub does not have.
    pub(super) fn count_strays(&self) {
        let (strays, leaving) = self.parts.holding.strays();
        let all = i64::try_from(strays.len() + leaving).unwrap_or(i64::MAX);
        self.parts.metrics.unmanaged_works.set(all);
        self.parts.unmanaged.set_works(strays, leaving);
    }
}
