//! Objects of one resource in key order, shared between versions.

use std::{
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Arc,
};

use imbl::OrdMap;

use crate::{
    key::{Key, Revision},
    stored::Stored,
};

/// Namespace and name; the order of lists.
type Place = (Arc<str>, Arc<str>);

/// One version of a resource's objects. A clone costs nothing and shares the rest.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects {
    by_place: OrdMap<Place, Arc<Stored>>,
    /// Revision of the last change in here.
    last: Revision,
}

impl Objects {
    pub(super) fn get(&self, namespace: &Arc<str>, name: &Arc<str>) -> Option<&Arc<Stored>> {
        self.by_place.get(&(namespace.clone(), name.clone()))
    }

    /// Puts `stored` and returns what was in its place.
    pub(super) fn put(&mut self, stored: Arc<Stored>) -> Option<Arc<Stored>> {
        self.last = self.last.max(stored.revision);
        self.by_place.insert(
            (stored.key.namespace.clone(), stored.key.name.clone()),
            stored,
        )
    }

    pub(super) fn remove(&mut self, key: &Key, revision: Revision) -> Option<Arc<Stored>> {
        self.last = self.last.max(revision);
        self.by_place
            .remove(&(key.namespace.clone(), key.name.clone()))
    }
}

/// All objects of one resource at one revision.
#[derive(Clone, Debug)]
pub struct Snapshot {
    objects: OrdMap<Place, Arc<Stored>>,
    revision: Revision,
}

impl Snapshot {
    pub(super) fn new(objects: &Objects, revision: Revision) -> Self {
        // The objects may be ahead of the revision loaded before them, never behind.
        Self {
            objects: objects.by_place.clone(),
            revision: revision.max(objects.last),
        }
    }

    /// What was at an earlier revision than the last change in `objects` says.
    pub(super) fn past(objects: &Objects, revision: Revision) -> Self {
        Self {
            objects: objects.by_place.clone(),
            revision,
        }
    }

    pub(super) fn empty(revision: Revision) -> Self {
        Self {
            objects: OrdMap::new(),
            revision,
        }
    }

    /// The revision of which this is the complete state; a watch from it misses nothing.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Stored>> {
        self.objects.get(&place(namespace, name))
    }

    /// All objects in order of namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.objects.values()
    }

    /// The objects of one namespace in order of name.
    pub fn namespace<'a>(
        &'a self,
        namespace: &str,
    ) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        let from = place(namespace, "");
        let namespace = from.0.clone();
        self.objects
            .range((Included(from), Unbounded))
            .map(|(_, stored)| stored)
            .take_while(move |stored| stored.key.namespace == namespace)
    }

    /// The objects that follow a place in order of namespace and name: where the next page of a list begins.
    pub fn after<'a>(
        &'a self,
        namespace: &str,
        name: &str,
    ) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        self.objects
            .range((Excluded(place(namespace, name)), Unbounded))
            .map(|(_, stored)| stored)
    }
}

fn place(namespace: &str, name: &str) -> Place {
    (Arc::from(namespace), Arc::from(name))
}
