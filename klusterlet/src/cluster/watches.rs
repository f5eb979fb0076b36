use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use kube::runtime::watcher::Event;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tracing::{debug, warn};

use super::{Cluster, Resource};
use crate::{
    backoff::spread,
    tasks::{Policy, Tasks},
    telemetry::Chain,
};

/// How long a watch without tracked objects is kept: a work that is replaced should not cost a list.
const LINGER: Duration = Duration::from_secs(60);

/// How often a watch begins anew with a list of metadata: whatever a watch may have missed is seen then, at the price of a few
/// pages instead of a read of each object.
const RELIST: Duration = Duration::from_secs(300);

/// An object in the member: resource, namespace, name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its resource.
    pub resource: Arc<Resource>,
    /// Its namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What is said of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touch {
    /// It became this version.
    Became(String),
    /// It has this version, as a list says.
    Listed(String),
    /// It is gone, or nobody can say.
    Unknown,
}

impl Touch {
    /// Says whether that is news to somebody who has dealt with `seen`.
    ///
    /// The events of our own writes arrive late and one by one, so an older version is none. Kubernetes' versions are numbers
    /// that grow with each write; of a server whose versions are not, any other version is news. But a list may be that of a
    /// cluster that was restored from a backup, whose versions are older: there, any other version is news.
    #[must_use]
    pub fn is_news(&self, seen: Option<&str>) -> bool {
        let Some(seen) = seen else {
            return true;
        };
        match self {
            Self::Became(version) => match (version.parse::<u64>(), seen.parse::<u64>()) {
                (Ok(version), Ok(seen)) => version > seen,
                _ => version != seen,
            },
            Self::Listed(version) => version != seen,
            Self::Unknown => true,
        }
    }
}

/// Collects what changed under one work until its actor looks.
#[derive(Debug, Default)]
pub struct Wake {
    touched: Mutex<BTreeMap<ObjectKey, Touch>>,
    notify: Notify,
}

impl Wake {
    /// Marks an object as touched.
    pub fn touch(&self, key: ObjectKey, touch: Touch) {
        self.touched.lock().insert(key, touch);
        self.notify.notify_one();
    }

    /// Waits until something is touched.
    pub async fn notified(&self) {
        self.notify.notified().await;
    }

    /// Takes all touched objects.
    #[must_use]
    pub fn take(&self) -> BTreeMap<ObjectKey, Touch> {
        std::mem::take(&mut *self.touched.lock())
    }
}

/// One work's interest in one object.
#[derive(Debug)]
struct Tracker {
    work: String,
    wake: Arc<Wake>,
    /// Version that the work has dealt with; its own writes carry it and wake nobody.
    seen: Option<String>,
}

#[derive(Debug, Default)]
struct Watched {
    tracked: HashMap<(String, String), Vec<Tracker>>,
}

impl Watched {
    /// A kind that cannot be watched, as with a role that is too narrow for it: its objects are read instead.
    fn touch_all(&self, resource: &Arc<Resource>) {
        for ((namespace, name), trackers) in &self.tracked {
            for tracker in trackers {
                let key = ObjectKey {
                    resource: resource.clone(),
                    namespace: namespace.clone(),
                    name: name.clone(),
                };
                tracker.wake.touch(key, Touch::Unknown);
            }
        }
    }

    fn event(
        &self,
        resource: &Arc<Resource>,
        event: Event<kube::core::PartialObjectMeta<kube::core::DynamicObject>>,
        listed: &mut HashSet<(String, String)>,
    ) {
        let key_of = |(namespace, name): &(String, String)| ObjectKey {
            resource: resource.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
        };
        let is_list = matches!(event, Event::InitApply(_));
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) | Event::Apply(object) => {
                let meta = object.metadata;
                let version = meta.resource_version.unwrap_or_default();
                let touch = if is_list {
                    Touch::Listed(version)
                } else {
                    Touch::Became(version)
                };
                let id = (
                    meta.namespace.unwrap_or_default(),
                    meta.name.unwrap_or_default(),
                );
                let Some(trackers) = self.tracked.get(&id) else {
                    return;
                };
                for tracker in trackers.iter().filter(|t| touch.is_news(t.seen.as_deref())) {
                    tracker.wake.touch(key_of(&id), touch.clone());
                }
                listed.insert(id);
            }
            Event::Delete(object) => {
                let id = (
                    object.metadata.namespace.unwrap_or_default(),
                    object.metadata.name.unwrap_or_default(),
                );
                for tracker in self.tracked.get(&id).into_iter().flatten() {
                    tracker.wake.touch(key_of(&id), Touch::Unknown);
                }
            }
            Event::InitDone => {
                for (id, trackers) in self.tracked.iter().filter(|(id, _)| !listed.contains(*id)) {
                    for tracker in trackers.iter().filter(|t| t.seen.is_some()) {
                        tracker.wake.touch(key_of(id), Touch::Unknown);
                    }
                }
                // With its room: a list is rare, and may have been long.
                *listed = HashSet::new();
            }
        }
    }
}

/// Shared metadata watches: one per resource that something was applied to, whatever the number of works.
#[derive(Debug, Clone)]
pub struct Watches {
    cluster: Cluster,
    tasks: Tasks,
    /// Watches that fail just now.
    deaf: Gauge,
    watched: Arc<Mutex<HashMap<Arc<Resource>, Watched>>>,
}

impl Watches {
    /// Starts without any watch; `deaf` counts those that fail.
    #[must_use]
    pub fn new(cluster: Cluster, tasks: Tasks, deaf: Gauge) -> Self {
        Self {
            cluster,
            tasks,
            deaf,
            watched: Arc::default(),
        }
    }

    /// Wakes `work` when the object changes, from now on.
    pub fn add(&self, work: &str, wake: &Arc<Wake>, key: &ObjectKey) {
        let mut started = false;
        {
            let mut watched = self.watched.lock();
            let entry = watched.entry(key.resource.clone()).or_insert_with(|| {
                started = true;
                Watched::default()
            });
            // Nearly all objects are of one work.
            let trackers = entry
                .tracked
                .entry((key.namespace.clone(), key.name.clone()))
                .or_insert_with(|| Vec::with_capacity(1));
            if !trackers.iter().any(|t| t.work == work) {
                trackers.push(Tracker {
                    work: work.to_owned(),
                    wake: wake.clone(),
                    seen: None,
                });
            }
        }
        if started {
            self.tasks.spawn(
                "watch",
                Policy::Optional,
                self.clone().watch(key.resource.clone()),
            );
        }
    }

    /// Ends what [`Watches::add`] began.
    pub fn remove(&self, work: &str, key: &ObjectKey) {
        let mut watched = self.watched.lock();
        let Some(entry) = watched.get_mut(&key.resource) else {
            return;
        };
        let id = (key.namespace.clone(), key.name.clone());
        if let Some(trackers) = entry.tracked.get_mut(&id) {
            trackers.retain(|t| t.work != work);
            if trackers.is_empty() {
                entry.tracked.remove(&id);
            }
        }
    }

    /// Records that `work` has dealt with this version of the object (`None`: with its absence).
    pub fn seen(&self, work: &str, key: &ObjectKey, version: Option<&str>) {
        let mut watched = self.watched.lock();
        let trackers = watched.get_mut(&key.resource).and_then(|w| {
            w.tracked
                .get_mut(&(key.namespace.clone(), key.name.clone()))
        });
        for tracker in trackers.into_iter().flatten().filter(|t| t.work == work) {
            tracker.seen = version.map(str::to_owned);
        }
    }

    /// Number of open watches.
    #[must_use]
    pub fn count(&self) -> usize {
        self.watched.lock().len()
    }

    async fn watch(self, resource: Arc<Resource>) {
        debug!(resource = %resource.plural, group = %resource.group, "watching");
        let mut events = std::pin::pin!(self.cluster.watch_metadata(&resource));
        let mut listed = HashSet::new();
        let mut idle_since = None;
        let mut tick = tokio::time::interval(LINGER / 4);
        let mut failing = Failing(self.deaf.clone(), false);
        let mut relist_at = Instant::now() + spread(RELIST);
        loop {
            let event = tokio::select! {
                () = self.tasks.stop().cancelled() => return,
                () = sleep_until(relist_at) => {
                    relist_at = Instant::now() + spread(RELIST);
                    if failing.1
                        && let Some(watched) = self.watched.lock().get(&resource)
                    {
                        watched.touch_all(&resource);
                    }
                    events.set(self.cluster.watch_metadata(&resource));
                    continue;
                }
                _ = tick.tick() => {
                    if self.retire(&resource, &mut idle_since) {
                        debug!(resource = %resource.plural, group = %resource.group, "watch ended");
                        return;
                    }
                    continue;
                }
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => {
                    failing.set(false);
                    if let Some(watched) = self.watched.lock().get(&resource) {
                        watched.event(&resource, event, &mut listed);
                    }
                }
                Some(Err(error)) => {
                    // The stream backs off and goes on by itself; one line per outage is enough.
                    if !failing.1 {
                        warn!(resource = %resource.plural, error = %Chain(&error), "a watch on applied objects was interrupted");
                    }
                    failing.set(true);
                }
                None => return,
            }
        }
    }

    /// Removes the watch if nothing was tracked for a while.
    fn retire(&self, resource: &Arc<Resource>, idle_since: &mut Option<Instant>) -> bool {
        let mut watched = self.watched.lock();
        if watched.get(resource).is_some_and(|w| !w.tracked.is_empty()) {
            *idle_since = None;
            return false;
        }
        if idle_since.get_or_insert_with(Instant::now).elapsed() < LINGER {
            return false;
        }
        watched.remove(resource);
        true
    }
}

/// Whether a watch fails, and the gauge of those that do.
struct Failing(Gauge, bool);

impl Failing {
    fn set(&mut self, failing: bool) {
        self.0.inc_by(i64::from(failing) - i64::from(self.1));
        self.1 = failing;
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests;
