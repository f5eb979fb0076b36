//! The usual shape of a reconciler: an index, a queue of keys, one plan per key.

use std::{fmt::Debug, hash::Hash, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::BoxFuture, stream};
use jiff::Timestamp;
use koinon_machinery::{ApiError, Reason};
use koinon_store::Event;
use tokio::time::Instant;

use super::{
    CONCURRENT_WRITES, Context,
    driver::{Failure, Outcome, Reconciler},
    queue::{Pending, Queue},
};
use crate::clock;

/// Decided before others get a turn.
const AT_ONCE: usize = 128;

/// Plans and their effects, key by key. The plans are pure.
pub(super) trait Keyed: Send + 'static {
    type Key: Clone + Ord + Hash + Debug + Send + Sync;
    type Plan: Send;

    fn resources(&self) -> Vec<Arc<str>>;

    fn period(&self) -> Duration {
        Duration::from_secs(300)
    }

    /// Back to nothing observed.
    fn reset(&mut self);

    fn observe(&mut self, event: &Event, queue: &mut Queue<Self::Key>);

    /// Marks all that is known, and what should exist; also called when nothing was observed yet.
    fn mark_all(&self, queue: &mut Queue<Self::Key>);

    /// What is to be done for `key`; `None` when nothing is.
    fn decide(&mut self, key: &Self::Key, now: Timestamp) -> Option<Self::Plan>;

    /// Does it; `again` is when the key wants another look although nothing has changed.
    fn carry_out<'a>(
        plan: Self::Plan,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Again, ApiError>>;
}

/// When to look at a key again, changes aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    OnChange,
    In(Duration),
}

/// A [`Keyed`] with its queue.
#[derive(Debug)]
pub(super) struct Loop<K: Keyed> {
    keyed: K,
    queue: Queue<K::Key>,
}

impl<K: Keyed> Loop<K> {
    pub(super) fn boxed(keyed: K) -> Box<dyn Reconciler> {
        Box::new(Self {
            keyed,
            queue: Queue::default(),
        })
    }
}

impl<K: Keyed> Reconciler for Loop<K> {
    fn resources(&self) -> Vec<Arc<str>> {
        self.keyed.resources()
    }

    fn period(&self) -> Duration {
        self.keyed.period()
    }

    fn reset(&mut self) {
        self.keyed.reset();
        self.queue.clear();
        self.keyed.mark_all(&mut self.queue);
    }

    fn observe(&mut self, event: &Event) {
        self.keyed.observe(event, &mut self.queue);
    }

    fn sweep(&mut self) {
        self.keyed.mark_all(&mut self.queue);
    }

    fn pending(&self) -> &dyn Pending {
        &self.queue
    }

    fn reconcile<'a>(
        &'a mut self,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Outcome, Failure>> {
        Box::pin(async move {
            let keys = self.queue.take(Instant::now());
            let mut outcome = Outcome {
                keys: keys.len(),
                ..Outcome::default()
            };
            let mut plans = Vec::new();
            for (index, key) in keys.into_iter().enumerate() {
                if index % AT_ONCE == AT_ONCE - 1 {
                    tokio::task::yield_now().await;
                }
                match self.keyed.decide(&key, clock::now()) {
                    Some(plan) => plans.push((key, plan)),
                    None => self.queue.succeeded(&key),
                }
            }
            let mut done = stream::iter(plans)
                .map(|(key, plan)| async move { (key, K::carry_out(plan, context).await) })
                .buffer_unordered(CONCURRENT_WRITES);
            while let Some((key, result)) = done.next().await {
                match result {
                    Ok(again) => {
                        self.queue.succeeded(&key);
                        if let Again::In(pause) = again {
                            self.queue.add_at(key, Instant::now() + pause);
                        }
                    }
                    Err(error) => {
                        outcome.fail(format!("{key:?}: {error}"));
                        self.queue.failed(key, Instant::now());
                    }
                }
            }
            Ok(outcome)
        })
    }
}

/// What was to be changed does not exist any more: nothing is left to do.
pub(super) fn gone_is_fine<T>(result: Result<T, ApiError>) -> Result<(), ApiError> {
    match result {
        Err(error) if error.reason == Reason::NotFound => Ok(()),
        other => other.map(drop),
    }
}
