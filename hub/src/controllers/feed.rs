//! What a reconciler sees of the registry: the present as if it had just been created, then every change.

use std::sync::Arc;

use koinon_store::{Event, Expired, Moves, Store, Watch};

/// Objects observed before others get a turn: a large fleet has a hundred thousand, and signs of life are on time all the same.
const AT_ONCE: usize = 128;

/// How often all watches are read again because something came in while they were.
const MOST_ROUNDS: usize = 16;

/// Watches of several resources, read as one.
#[derive(Debug)]
pub(super) struct Feed {
    watches: Vec<Watch>,
    moves: Moves,
}

impl Feed {
    /// Observes everything there is, and follows from there.
    pub(super) async fn open(
        store: &Store,
        resources: &[Arc<str>],
        mut observe: impl FnMut(&Event),
    ) -> Result<Self, Expired> {
        let moves = store.moves(resources);
        let mut watches = Vec::with_capacity(resources.len());
        for resource in resources {
            let snapshot = store.snapshot(resource);
            watches.push(store.watch(resource, snapshot.revision())?);
            for (index, stored) in snapshot.iter().enumerate() {
                if index % AT_ONCE == AT_ONCE - 1 {
                    tokio::task::yield_now().await;
                }
                observe(&Event {
                    revision: stored.revision,
                    before: None,
                    after: Some(Arc::clone(stored)),
                });
            }
        }
        Ok(Self { watches, moves })
    }

    /// Observes all changes that are in the cache already. Afterwards nothing is missing that happened before something
    /// that was observed, so that it is the state at one revision; unless changes keep coming faster than they are read.
    pub(super) fn drain(&mut self, mut observe: impl FnMut(&Event)) -> Result<(), Expired> {
        for _ in 0..MOST_ROUNDS {
            for watch in &mut self.watches {
                while let Some(batch) = watch.try_next()? {
                    batch.events.iter().for_each(|event| observe(event));
                }
            }
            if !self.watches.iter().any(Watch::is_behind) {
                break;
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
            // One signal for all: a controller with twenty watches would else wake twenty times as many timers and queues.
            self.moves.begin();
            let mut seen = false;
            for watch in self.watches.iter_mut().filter(|watch| watch.is_behind()) {
                while let Some(batch) = watch.try_next()? {
                    seen |= !batch.events.is_empty();
                    batch.events.iter().for_each(|event| observe(event));
                }
            }
            if seen {
                return Ok(());
            }
            self.moves.next().await;
        }
    }
}
