//! Plans that are being carried out: side by side, and however long each takes.

use std::{collections::BTreeSet, panic, time::Duration};

use koinon_machinery::ApiError;
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, timeout_at},
};

use super::{super::CONCURRENT_WRITES, decide::Plan, index::Name};

/// A plan, and what became of it.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) plan: Plan,
    pub(super) result: Result<(), ApiError>,
}

/// At most one plan of each placement; whoever drops this ends them.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    tasks: JoinSet<Ended>,
    placements: BTreeSet<Name>,
    ended: Vec<Ended>,
}

impl UnderWay {
    pub(super) fn has(&self, placement: &Name) -> bool {
        self.placements.contains(placement)
    }

    /// The placements that have writes under way.
    pub(super) fn placements(&self) -> impl Iterator<Item = &Name> {
        self.placements.iter()
    }

    /// Begins to carry a plan out, as soon as there is room.
    pub(super) async fn start<F>(&mut self, plan: Plan, carry_out: impl FnOnce(Plan) -> F)
    where
        F: Future<Output = Ended> + Send + 'static,
    {
        while self.tasks.len() >= CONCURRENT_WRITES {
            let ended = self.tasks.join_next().await;
            self.note(ended);
        }
        self.placements.insert(plan.placement.clone());
        self.tasks.spawn(carry_out(plan));
    }

    /// Waits until everything has ended, or nothing has for so long.
    pub(super) async fn settle(&mut self, patience: Duration) {
        while !self.tasks.is_empty() {
            let Ok(ended) = timeout_at(Instant::now() + patience, self.tasks.join_next()).await
            else {
                return;
            };
            self.note(ended);
        }
    }

    /// What has ended since this was asked last.
    pub(super) fn take(&mut self) -> Vec<Ended> {
        while let Some(ended) = self.tasks.try_join_next() {
            self.note(Some(ended));
        }
        std::mem::take(&mut self.ended)
    }

    fn note(&mut self, ended: Option<Result<Ended, JoinError>>) {
        match ended {
            Some(Ok(ended)) => {
                self.placements.remove(&ended.plan.placement);
                self.ended.push(ended);
            }
            Some(Err(error)) => {
                if let Ok(panicked) = error.try_into_panic() {
                    panic::resume_unwind(panicked);
                }
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
