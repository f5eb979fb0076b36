mod watched;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use kube::runtime::watcher;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

use self::watched::{Scope, Watched};
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

impl ObjectKey {
    /// Where the object is, in whatever version: group, resource, namespace and name.
    #[must_use]
    pub fn place(&self) -> (&str, &str, &str, &str) {
        let resource = &self.resource;
        (
            &resource.group,
            &resource.plural,
            &self.namespace,
            &self.name,
        )
    }
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

/// Shared metadata watches: one per resource that something was applied to, whatever the number of works. Where the agent may not
/// watch a resource everywhere, one for each namespace that something is in, or for each object that is in none.
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
        let scope = {
            let mut watched = self.watched.lock();
            match watched.get_mut(&key.resource) {
                Some(entry) => {
                    entry.track(work, wake, key);
                    entry.enter(key)
                }
                None => {
                    let mut entry = Watched::of(&key.resource);
                    entry.track(work, wake, key);
                    watched.insert(key.resource.clone(), entry);
                    Some(Scope::Everywhere)
                }
            }
        };
        self.spawn(&key.resource, scope);
    }

    fn spawn(&self, resource: &Arc<Resource>, scopes: impl IntoIterator<Item = Scope>) {
        for scope in scopes {
            let watch = self.clone().watch(resource.clone(), scope);
            self.tasks.spawn("watch", Policy::Optional, watch);
        }
    }

    /// Ends what [`Watches::add`] began.
    pub fn remove(&self, work: &str, key: &ObjectKey) {
        if let Some(entry) = self.watched.lock().get_mut(&key.resource) {
            entry.untrack(work, key);
        }
    }

    /// Records that `work` has dealt with this version of the object (`None`: with its absence).
    pub fn seen(&self, work: &str, key: &ObjectKey, version: Option<&str>) {
        if let Some(entry) = self.watched.lock().get_mut(&key.resource) {
            entry.seen(work, key, version);
        }
    }

    /// Number of resources that are watched.
    #[must_use]
    pub fn count(&self) -> usize {
        self.watched.lock().len()
    }

    async fn watch(self, resource: Arc<Resource>, scope: Scope) {
        let everywhere = scope == Scope::Everywhere;
        debug!(resource = %resource.plural, group = %resource.group, ?scope, "watching");
        let open = || {
            self.cluster
                .watch_metadata(&resource, scope.namespace(), scope.name())
        };
        let mut events = std::pin::pin!(open());
        let mut listed = HashSet::new();
        let mut idle_since = None;
        let mut tick = tokio::time::interval(LINGER / 4);
        let mut failing = Failing(self.deaf.clone(), false);
        // It is refused: its parts are watched instead, or its object is read, and it is tried again with the next list.
        let mut refused = false;
        let mut relist_at = Instant::now() + spread(RELIST);
        loop {
            let event = tokio::select! {
                () = self.tasks.stop().cancelled() => return,
                () = sleep_until(relist_at) => {
                    relist_at = Instant::now() + spread(RELIST);
                    if let Some(watched) = self.watched.lock().get(&resource) {
                        if failing.1 {
                            watched.touch_all(&resource, &scope);
                        } else if refused {
                            watched.touch_rest(&resource);
                        }
                    }
                    refused = false;
                    events.set(open());
                    continue;
                }
                _ = tick.tick() => {
                    if self.retire(&resource, &scope, &mut idle_since) {
                        debug!(resource = %resource.plural, group = %resource.group, ?scope, "watch ended");
                        return;
                    }
                    continue;
                }
                event = events.next(), if !refused => event,
            };
            match event {
                Some(Ok(event)) => {
                    failing.set(false);
                    if let Some(watched) = self.watched.lock().get_mut(&resource) {
                        if everywhere && matches!(event, watcher::Event::InitDone) {
                            watched.widen();
                        }
                        watched.event(&resource, &scope, event, &mut listed);
                    }
                }
                Some(Err(error)) if everywhere && is_forbidden(&error) => {
                    refused = true;
                    failing.set(false);
                    let scopes = self
                        .watched
                        .lock()
                        .get_mut(&resource)
                        .map(Watched::narrow)
                        .unwrap_or_default();
                    if !scopes.is_empty() {
                        info!(resource = %resource.plural, group = %resource.group, error = %Chain(&error), "watching by namespace, or by name");
                    }
                    self.spawn(&resource, scopes);
                }
                Some(Err(error)) => {
                    // The stream backs off and goes on by itself; one line per outage is enough.
                    if !failing.1 {
                        warn!(resource = %resource.plural, ?scope, error = %Chain(&error), "a watch on applied objects was interrupted");
                    }
                    failing.set(true);
                    // There may be many of these, and their rights change seldom.
                    refused = scope.name().is_some() && is_forbidden(&error);
                }
                None => return,
            }
        }
    }

    /// Removes the watch if nothing was tracked for a while, or another one does its work.
    fn retire(
        &self,
        resource: &Arc<Resource>,
        scope: &Scope,
        idle_since: &mut Option<Instant>,
    ) -> bool {
        let mut all = self.watched.lock();
        let Some(watched) = all.get_mut(resource) else {
            return true;
        };
        if !watched.needs(scope) {
            return true;
        }
        if watched.has_any(scope) {
            *idle_since = None;
            return false;
        }
        if idle_since.get_or_insert_with(Instant::now).elapsed() < LINGER {
            return false;
        }
        if watched.leave(scope) {
            all.remove(resource);
        }
        true
    }
}

/// Says whether the agent lacks the right to watch.
fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.code == 403,
        _ => false,
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
