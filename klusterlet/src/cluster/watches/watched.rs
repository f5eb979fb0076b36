//! What is watched of one resource, and who is to be told. Pure.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use kube::{
    core::{DynamicObject, PartialObjectMeta},
    runtime::watcher::Event,
};

use super::{ObjectKey, Touch, Wake};
use crate::cluster::Resource;

/// Namespace and name.
type Id = (String, String);

/// Objects outside of namespaces that are watched one by one, of one resource: each of these watches is a connection. The others are read.
const MOST_ALONE: usize = 32;

/// How far a watch reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    Everywhere,
    /// One namespace, and which watch of it this is: one that was given up may not have ended yet.
    Namespace(String, u64),
    /// One object outside of namespaces, and which watch of it this is.
    Alone(String, u64),
}

impl Scope {
    pub(super) fn namespace(&self) -> Option<&str> {
        match self {
            Self::Namespace(namespace, _) => Some(namespace),
            Self::Everywhere | Self::Alone(..) => None,
        }
    }

    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Alone(name, _) => Some(name),
            Self::Everywhere | Self::Namespace(..) => None,
        }
    }

    /// The part of the resource that is watched, and which watch of it this is.
    fn part(&self) -> Option<(&str, u64)> {
        match self {
            Self::Everywhere => None,
            Self::Namespace(part, number) | Self::Alone(part, number) => Some((part, *number)),
        }
    }

    fn has(&self, id: &Id) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Namespace(namespace, _) => *namespace == id.0,
            Self::Alone(name, _) => *name == id.1,
        }
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

#[derive(Debug)]
pub(super) struct Watched {
    namespaced: bool,
    tracked: HashMap<Id, Vec<Tracker>>,
    /// The watches of parts, namespaces or single objects, while there may be none of everything.
    narrow: Option<HashMap<String, u64>>,
    /// Watches of parts that were begun so far.
    begun: u64,
}

impl Watched {
    pub(super) fn of(resource: &Resource) -> Self {
        Self {
            namespaced: resource.namespaced,
            tracked: HashMap::new(),
            narrow: None,
            begun: 0,
        }
    }

    /// The part of the resource that an object is in.
    fn part<'i>(&self, id: &'i Id) -> &'i String {
        if self.namespaced { &id.0 } else { &id.1 }
    }

    pub(super) fn track(&mut self, work: &str, wake: &Arc<Wake>, key: &ObjectKey) {
        // Nearly all objects are of one work.
        let trackers = self
            .tracked
            .entry(id(key))
            .or_insert_with(|| Vec::with_capacity(1));
        if !trackers.iter().any(|t| t.work == work) {
            trackers.push(Tracker {
                work: work.to_owned(),
                wake: wake.clone(),
                seen: None,
            });
        }
    }

    pub(super) fn untrack(&mut self, work: &str, key: &ObjectKey) {
        let id = id(key);
        if let Some(trackers) = self.tracked.get_mut(&id) {
            trackers.retain(|t| t.work != work);
            if trackers.is_empty() {
                self.tracked.remove(&id);
                // Not at each step, or every second removal would move the whole map.
                if self.tracked.len() < self.tracked.capacity() / 8 {
                    self.tracked.shrink_to(self.tracked.len() * 2);
                }
            }
        }
    }

    pub(super) fn seen(&mut self, work: &str, key: &ObjectKey, version: Option<&str>) {
        let trackers = self.tracked.get_mut(&id(key)).into_iter().flatten();
        for tracker in trackers.filter(|t| t.work == work) {
            tracker.seen = version.map(str::to_owned);
        }
    }

    /// Everything cannot be watched: returns the watches of parts that are to begin.
    pub(super) fn narrow(&mut self) -> Vec<Scope> {
        self.narrow.get_or_insert_default();
        let parts: HashSet<String> = self
            .tracked
            .keys()
            .map(|id| self.part(id).clone())
            .collect();
        let scopes = parts.iter().map(|part| self.begin(part));
        scopes.flatten().collect()
    }

    /// An object is tracked: returns the watch of its part that is to begin, if one is needed and not there.
    pub(super) fn enter(&mut self, key: &ObjectKey) -> Option<Scope> {
        let id = id(key);
        let part = self.part(&id).clone();
        self.begin(&part)
    }

    fn begin(&mut self, part: &str) -> Option<Scope> {
        let narrow = self.narrow.as_mut()?;
        if narrow.contains_key(part) || !self.namespaced && narrow.len() >= MOST_ALONE {
            return None;
        }
        self.begun += 1;
        narrow.insert(part.to_owned(), self.begun);
        let (part, number) = (part.to_owned(), self.begun);
        Some(if self.namespaced {
            Scope::Namespace(part, number)
        } else {
            Scope::Alone(part, number)
        })
    }

    /// Everything can be watched: those of parts end.
    pub(super) fn widen(&mut self) {
        self.narrow = None;
    }

    /// Says whether a watch is still one that is to be.
    pub(super) fn needs(&self, scope: &Scope) -> bool {
        scope.part().is_none_or(|(part, number)| {
            let narrow = self.narrow.as_ref();
            narrow.is_some_and(|narrow| narrow.get(part) == Some(&number))
        })
    }

    pub(super) fn has_any(&self, scope: &Scope) -> bool {
        self.tracked.keys().any(|id| scope.has(id))
    }

    /// Takes a watch off that has nothing to look at; true if it was that of everything.
    pub(super) fn leave(&mut self, scope: &Scope) -> bool {
        if let (Some((part, _)), Some(narrow)) = (scope.part(), &mut self.narrow) {
            narrow.remove(part);
        }
        *scope == Scope::Everywhere
    }

    /// A watch fails: its objects are read instead.
    pub(super) fn touch_all(&self, resource: &Arc<Resource>, scope: &Scope) {
        self.touch(resource, |id| scope.has(id));
    }

    /// Everything cannot be watched: what is in no part that is watched is read instead.
    pub(super) fn touch_rest(&self, resource: &Arc<Resource>) {
        if let Some(narrow) = &self.narrow {
            self.touch(resource, |id| !narrow.contains_key(self.part(id)));
        }
    }

    fn touch(&self, resource: &Arc<Resource>, is_meant: impl Fn(&Id) -> bool) {
        for (id, trackers) in self.tracked.iter().filter(|(id, _)| is_meant(id)) {
            for tracker in trackers {
                tracker.wake.touch(key(resource, id), Touch::Unknown);
            }
        }
    }

    /// Tells whom an event concerns; `listed` is what the watch that it comes from has listed so far.
    pub(super) fn event(
        &self,
        resource: &Arc<Resource>,
        scope: &Scope,
        event: Event<PartialObjectMeta<DynamicObject>>,
        listed: &mut HashSet<Id>,
    ) {
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
                    tracker.wake.touch(key(resource, &id), touch.clone());
                }
                listed.insert(id);
            }
            Event::Delete(object) => {
                let id = (
                    object.metadata.namespace.unwrap_or_default(),
                    object.metadata.name.unwrap_or_default(),
                );
                for tracker in self.tracked.get(&id).into_iter().flatten() {
                    tracker.wake.touch(key(resource, &id), Touch::Unknown);
                }
            }
            Event::InitDone => {
                let missing = |id: &Id| scope.has(id) && !listed.contains(id);
                for (id, trackers) in self.tracked.iter().filter(|(id, _)| missing(id)) {
                    for tracker in trackers.iter().filter(|t| t.seen.is_some()) {
                        tracker.wake.touch(key(resource, id), Touch::Unknown);
                    }
                }
                // With its room: a list is rare, and may have been long.
                *listed = HashSet::new();
            }
        }
    }
}

fn id(key: &ObjectKey) -> Id {
    (key.namespace.clone(), key.name.clone())
}

fn key(resource: &Arc<Resource>, (namespace, name): &Id) -> ObjectKey {
    ObjectKey {
        resource: resource.clone(),
        namespace: namespace.clone(),
        name: name.clone(),
    }
}
