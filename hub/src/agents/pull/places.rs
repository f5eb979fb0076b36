//! Places for large pulls: so many on a replica, and few of them any one cluster's.
//!
//! Whoever has an agent's key can ask for hundreds of bodies at once and read none: it takes what its own cluster may have,
//! and no other cluster waits for it (P12).

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

/// Large pulls that may be under way on a replica; a chunk takes half a MiB on its way out.
const REPLICA: usize = 128;
/// Those of one cluster, with those that wait. Its agent has one; a second agent and a connection that broke may have others.
const CLUSTER: usize = 4;
/// How long a pull may hold its place on the replica. An agent that reads slower goes on without one.
const PLACE: Duration = Duration::from_secs(30);
/// How long a pull waits for a place before the agent is asked to come back.
const WAIT: Duration = Duration::from_secs(20);

/// Why there is no place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    /// The cluster has all that it may have, under way or waiting.
    #[error(
        "{0} large pulls of this cluster are under way already: read one to its end or cancel it, then try again"
    )]
    Cluster(usize),
    /// All others hold theirs.
    #[error("too many large pulls are under way on this replica of the hub: try again in a moment")]
    Replica,
}

/// The places of this replica.
#[derive(Clone, Debug)]
pub(in crate::agents) struct Places {
    replica: Arc<Semaphore>,
    per_cluster: usize,
    /// Places of each cluster that has any.
    clusters: Arc<Mutex<HashMap<Arc<str>, usize>>>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _share: Share,
    _held: oneshot::Sender<()>,
}

impl Default for Places {
    fn default() -> Self {
        Self::new(REPLICA, CLUSTER)
    }
}

impl Places {
    fn new(replica: usize, per_cluster: usize) -> Self {
        Self {
            replica: Arc::new(Semaphore::new(replica)),
            per_cluster,
            clusters: Arc::default(),
        }
    }

    /// Takes a place, until dropped. It is one of the replica's only for so long; the cluster's own it stays to the end.
    ///
    /// # Errors
    ///
    /// At once when the cluster has all of its places, after a while when the replica has none.
    pub(super) async fn take(&self, cluster: &Arc<str>) -> Result<Place, Full> {
        // Taken before the wait: one cluster's pulls must not fill the queue either.
        let share = self.share(cluster).ok_or(Full::Cluster(self.per_cluster))?;
        let acquired = timeout(WAIT, Arc::clone(&self.replica).acquire_owned()).await;
        let Ok(Ok(permit)) = acquired else {
            return Err(Full::Replica);
        };
        let (held, dropped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            // Either end frees the place: the pull is over, or too slow to keep it from others (P12).
            let _ = timeout(PLACE, dropped).await;
            drop(permit);
        });
        Ok(Place {
            _share: share,
            _held: held,
        })
    }

    fn share(&self, cluster: &Arc<str>) -> Option<Share> {
        let mut clusters = self.clusters.lock();
        let taken = clusters.get(cluster).copied().unwrap_or_default();
        if taken >= self.per_cluster {
            return None;
        }
        clusters.insert(Arc::clone(cluster), taken + 1);
        drop(clusters);
        Some(Share {
            clusters: Arc::clone(&self.clusters),
            cluster: Arc::clone(cluster),
        })
    }
}

/// One of a cluster's places.
#[derive(Debug)]
struct Share {
    clusters: Arc<Mutex<HashMap<Arc<str>, usize>>>,
    cluster: Arc<str>,
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Entry::Occupied(mut taken) = self.clusters.lock().entry(Arc::clone(&self.cluster)) {
            *taken.get_mut() -= 1;
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn name(cluster: &str) -> Arc<str> {
        cluster.into()
    }

    #[tokio::test]
    async fn a_cluster_has_its_own_places_and_no_other() {
        let (places, east, west) = (Places::new(8, 2), name("east"), name("west"));
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(places.take(&east).await.unwrap());
        }
        for _ in 0..100 {
            assert_eq!(places.take(&east).await.unwrap_err(), Full::Cluster(2));
        }
        let other = places.take(&west).await.unwrap();
        held.pop();
        held.push(places.take(&east).await.unwrap());
        drop((held, other));
        assert!(places.clusters.lock().is_empty(), "nothing is kept of them");
    }

    #[tokio::test]
    async fn those_of_a_cluster_that_wait_are_counted_and_give_up_when_dropped() {
        let (places, east, west) = (Places::new(1, 2), name("east"), name("west"));
        let only = places.take(&west).await.unwrap();
        let mut waiting = [places.take(&east).boxed(), places.take(&east).boxed()];
        for one in &mut waiting {
            assert!(one.now_or_never().is_none());
        }
        assert_eq!(places.take(&east).await.unwrap_err(), Full::Cluster(2));
        let mut third = places.take(&west).boxed();
        assert!((&mut third).now_or_never().is_none());
        drop(waiting);
        assert_eq!(places.clusters.lock().get(&east), None);
        drop(only);
        assert!(third.await.is_ok(), "nobody is before it any more");
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_keeps_a_place_from_its_own_cluster_only() {
        let (places, east, west) = (Places::new(1, 1), name("east"), name("west"));
        let slow = places.take(&east).await.unwrap();
        assert_eq!(places.take(&west).await.unwrap_err(), Full::Replica);
        // The next who waits gets the place of the slow one, who is still there.
        let other = places.take(&west).await.unwrap();
        assert_eq!(places.take(&east).await.unwrap_err(), Full::Cluster(1));
        drop((slow, other));
        assert!(places.take(&east).await.is_ok());
    }
}
