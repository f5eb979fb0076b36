//! What a reconciler sees of the registry: the present as if it had just been created, then every change.

use std::sync::Arc;

use futures::{FutureExt as _, future::select_all};
use koinon_store::{Event, Expired, Store, Watch};

/// Watches of several resources, read as one.
#[derive(Debug)]
pub(super) struct Feed {
    watches: Vec<Watch>,
}

impl Feed {
    /// Observes everything there is, and follows from there.
    pub(super) fn open(
        store: &Store,
        resources: &[Arc<str>],
        mut observe: impl FnMut(&Event),
    ) -> Result<Self, Expired> {
        let mut watches = Vec::with_capacity(resources.len());
        for resource in resources {
            let snapshot = store.snapshot(resource);
            watches.push(store.watch(resource, snapshot.revision())?);
            for stored in snapshot.iter() {
                observe(&Event {
                    revision: stored.revision,
                    before: None,
                    after: Some(Arc::clone(stored)),
                });
            }
        }
        Ok(Self { watches })
    }

    /// Observes all changes that are in the cache already.
    pub(super) fn drain(&mut self, mut observe: impl FnMut(&Event)) -> Result<(), Expired> {
        for watch in &mut self.watches {
            while let Some(batch) = watch.next().now_or_never() {
                batch?.events.iter().for_each(|event| observe(event));
            }
        }
        Ok(())
    }

    /// Waits for changes and observes them.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn changed(&mut self, mut observe: impl FnMut(&Event)) -> Result<(), Expired> {
        loop {
            let next = self.watches.iter_mut().map(|watch| Box::pin(watch.next()));
            let (batch, ..) = select_all(next).await;
            let events = batch?.events;
            if !events.is_empty() {
                events.iter().for_each(|event| observe(event));
                return Ok(());
            }
        }
    }
}
