//! Finding what placements should have ahead of their turns, on several threads.
//!
//! Decisions are taken one after the other, each with those before it in view. Most of them are not touched by those:
//! what is found ahead counts if nothing that it was made from has changed when its turn comes, and is found again if
//! something has. So any number of threads takes the same decisions.

use std::{
    collections::HashMap,
    panic,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use jiff::Timestamp;

use super::{Conditions, Engine, Id, Mark, Spec, bits::Bits, choose::Found};
use crate::placement::{Misconfigured, Name};

/// Fewer placements are decided sooner than threads have started; tests have few.
const FEW: usize = if cfg!(test) { 2 } else { 32 };

/// Where decisions changed what was found for those who look at what others have, it is likely to be so with the next:
/// so many times they are not looked at ahead.
const SKIPPED: u32 = 4;

/// What was found ahead; by [`Engine::ahead`].
#[derive(Debug, Default)]
pub struct Ahead {
    now: Option<Timestamp>,
    known: HashMap<Id, Known>,
}

#[derive(Debug)]
struct Known {
    inputs: u64,
    /// Of all placements, if it looks at those of others.
    decisions: Option<u64>,
    turns: u64,
    mark: Option<Mark>,
    /// Where expressions decide.
    admitted: Option<Result<Bits, Misconfigured>>,
    found: Option<Found>,
}

impl Engine {
    /// Looks at placements ahead of [`Engine::decide_with`], on up to `threads` threads, this one among them.
    pub fn ahead(
        &mut self,
        names: &[Name],
        now: Timestamp,
        conditions: &dyn Conditions,
        threads: usize,
    ) -> Ahead {
        let mut ahead = Ahead::default();
        if threads < 2 || names.len() < FEW {
            return ahead;
        }
        self.fleet.put_in_order();
        let skips = self.in_vain > 0;
        self.in_vain = self.in_vain.saturating_sub(1);
        let engine = &*self;
        let ids: Vec<Id> = names
            .iter()
            .filter_map(|name| engine.by_name.get(name).copied())
            .collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut known = Vec::new();
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                known.extend(
                    engine
                        .look(*id, now, conditions, skips)
                        .map(|one| (*id, one)),
                );
            }
            known
        };
        ahead.now = Some(now);
        ahead.known = thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut known: HashMap<Id, Known> = work().into_iter().collect();
            for other in others {
                known.extend(
                    other
                        .join()
                        .unwrap_or_else(|panic| panic::resume_unwind(panic)),
                );
            }
            known
        });
        ahead
    }

    /// `None` where nothing would be true any more when its turn comes; `skips`: as it must be feared of those who look at
    /// what others have.
    fn look(
        &self,
        id: Id,
        now: Timestamp,
        conditions: &dyn Conditions,
        skips: bool,
    ) -> Option<Known> {
        let (placed, spec) = self.spec(id)?;
        let shared = looks_at_others(spec);
        // Those that are decided for the first time, each change what the next one finds.
        let settled = !shared || !skips && !placed.held.is_empty();
        let admitted = self.expressed(placed, spec, conditions);
        if !settled && admitted.is_none() {
            return None;
        }
        let found = settled.then(|| self.find(id, now, conditions, admitted.clone()));
        Some(Known {
            inputs: self.inputs,
            decisions: shared.then_some(self.decisions),
            turns: placed.turns,
            mark: placed.mark.clone(),
            admitted,
            found: found.flatten(),
        })
    }

    /// What is still true of what was found ahead for a placement.
    pub(super) fn known(
        &mut self,
        id: Id,
        now: Timestamp,
        ahead: &mut Ahead,
    ) -> (Option<Found>, Option<Result<Bits, Misconfigured>>) {
        let known = ahead.known.remove(&id);
        let known = known.filter(|known| ahead.now == Some(now) && known.inputs == self.inputs);
        let (Some(known), Some((placed, _))) = (known, self.spec(id)) else {
            return (None, None);
        };
        let same = known.turns == placed.turns && known.mark == placed.mark;
        let still = known.decisions.is_none_or(|then| then == self.decisions);
        if !still && known.found.is_some() {
            self.in_vain = SKIPPED;
        }
        (known.found.filter(|_| same && still), known.admitted)
    }
}

/// Whether what a placement gets depends on what others have.
fn looks_at_others(spec: &Spec) -> bool {
    let policy = spec.policy.as_ref().as_ref();
    policy.is_ok_and(|policy| policy.balances() || policy.packing.is_some())
}
