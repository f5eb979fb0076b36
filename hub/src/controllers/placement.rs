//! Placements: chooses clusters and keeps `PlacementDecision`s to the choice.
//!
//! A change marks only the placements that it can affect; the decisions of a run are taken one after the other, so
//! that each sees the load of those before it, and are written side by side.

mod act;
mod conditions;
mod decide;
mod index;
mod layout;
mod under_way;

use std::{sync::Arc, thread, time::Duration};

use futures::future::BoxFuture;
use koinon_store::{Event, Key, Stored};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    time::Instant,
};

use self::{
    decide::{Action, Plan},
    index::{Index, Name},
    under_way::{Ended, UnderWay},
};
use super::{
    Context,
    driver::{Failure, Outcome, Reconciler},
    queue::Pending,
    resource, until,
};
use crate::clock;

/// How many decisions are taken before they are written: the first are on their way while the next are taken, and a run
/// over everything has a bounded memory.
const CHUNK: usize = 256;

/// Threads that look at placements ahead: more would leave nothing to those who serve requests.
const MOST_THREADS: usize = 4;

/// How long a run waits for writes that are under way before it leaves them to go on, and how soon they are asked after.
const PATIENCE: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
pub(super) struct Placements {
    index: Index,
    under_way: UnderWay,
}

impl Reconciler for Placements {
    fn resources(&self) -> Vec<Arc<str>> {
        // Clusters and sets come before what refers to them: each placement is marked once at the start.
        [
            resource::CLUSTERS,
            resource::SETS,
            resource::BINDINGS,
            resource::SCORES,
            resource::DECISIONS,
            resource::PLACEMENTS,
        ]
        .map(Arc::from)
        .into()
    }

    fn period(&self) -> Duration {
        Duration::from_secs(600)
    }

    fn reset(&mut self) {
        // What is under way was decided from what is forgotten.
        *self = Self::default();
    }

    fn observe(&mut self, event: &Event) {
        self.index.observe(event);
    }

    fn sweep(&mut self) {
        self.index.mark_all();
    }

    fn pending(&self) -> &dyn Pending {
        &self.index.queue
    }

    fn reconcile<'a>(
        &'a mut self,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Outcome, Failure>> {
        Box::pin(async move {
            let mut outcome = Outcome::default();
            self.conclude(context, &mut outcome);
            let keys = self.ready();
            outcome.keys = keys.len();
            for chunk in keys.chunks(CHUNK) {
                self.chunk(chunk, context).await;
                self.conclude(context, &mut outcome);
            }
            self.under_way.settle(PATIENCE).await;
            self.conclude(context, &mut outcome);
            // One that takes long holds up nobody else.
            let again = Instant::now() + PATIENCE;
            for key in self.under_way.placements() {
                self.index.queue.add_at(key.clone(), again);
            }
            Ok(outcome)
        })
    }
}

impl Placements {
    /// The placements whose turn it is; those with writes under way have to wait for them, and for nobody else's.
    fn ready(&mut self) -> Vec<Name> {
        let now = Instant::now();
        let (busy, ready): (Vec<Name>, Vec<Name>) = self
            .index
            .queue
            .take(now)
            .into_iter()
            .partition(|key| self.under_way.has(key));
        for key in busy {
            self.index.queue.add_at(key, now + PATIENCE);
        }
        ready
    }

    /// Decides: plain computing, which may take its time where there are dear expressions.
    fn plans(&mut self, keys: &[Name]) -> Vec<Plan> {
        let mut plans = Vec::new();
        let now = clock::now();
        let mut ahead = self.index.ahead(keys, now, threads());
        for key in keys {
            let Some(plan) = self.index.decide_with(key, now, &mut ahead) else {
                self.index.queue.succeeded(key);
                continue;
            };
            if let Some(at) = plan.recheck_at {
                self.index
                    .queue
                    .add_at(key.clone(), Instant::now() + until(at, now));
            }
            if plan.actions.is_empty() {
                self.index.queue.succeeded(key);
                continue;
            }
            self.index.assume(&plan);
            plans.push(plan);
        }
        plans
    }

    async fn chunk(&mut self, keys: &[Name], context: &Context) {
        for plan in off_the_runtime(|| self.plans(keys)) {
            let context = context.clone();
            let carry = |plan| async move {
                let result = act::carry_out(&plan, &context).await;
                Ended { plan, result }
            };
            self.under_way.start(plan, carry).await;
        }
    }

    /// Takes in what has ended.
    fn conclude(&mut self, context: &Context, outcome: &mut Outcome) {
        for Ended { plan, result } in self.under_way.take() {
            match result {
                Ok(()) => self.index.queue.succeeded(&plan.placement),
                Err(error) => {
                    outcome.fail(format!(
                        "placement {}/{}: {error}",
                        plan.placement.0, plan.placement.1
                    ));
                    let store = context.client.store();
                    self.recall(&plan, |key| store.get(key));
                    self.index.queue.failed(plan.placement, Instant::now());
                }
            }
        }
    }

    /// Takes back what was assumed of a plan that failed: what is stored counts.
    fn recall(&mut self, plan: &Plan, stored: impl Fn(&Key) -> Option<Arc<Stored>>) {
        let namespace = &plan.placement.0;
        let mut observe = |resource: &str, name: &str| {
            let key = Key::new(resource, namespace.as_str(), name);
            match stored(&key) {
                Some(stored) => {
                    let revision = stored.revision;
                    self.index.observe(&Event {
                        revision,
                        before: None,
                        after: Some(stored),
                    });
                }
                None if resource == resource::DECISIONS => {
                    self.index
                        .set_decision((namespace.clone(), name.to_owned()), None);
                }
                None => {}
            }
        };
        for action in &plan.actions {
            match action {
                Action::Create { name, .. } | Action::Adopt { name, .. } => {
                    observe(resource::DECISIONS, name)
                }
                Action::Decide { name, .. } | Action::Remove { name, .. } => {
                    observe(resource::DECISIONS, name)
                }
                Action::Status(_) => observe(resource::PLACEMENTS, &plan.placement.1),
                Action::Event { .. } => {}
            }
        }
    }
}

/// As many as the machine has, within bounds.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, |all| all.get().min(MOST_THREADS))
}

/// Computes without keeping this worker's other tasks waiting.
fn off_the_runtime<T>(compute: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(compute),
        // A test's: there is no other thread that could take over.
        _ => compute(),
    }
}

#[cfg(test)]
mod tests;
