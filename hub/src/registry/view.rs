//! Objects that are made from something else.

use std::{array, collections::HashMap, sync::Arc};

use koinon_machinery::{Object, ResourceInfo, Result};
use koinon_store::{Digest, Key, Stored};
use serde_json::Value;
use uuid::Builder;

use super::{Kind, Registry, View, parts, unavailable};
use crate::clock;

/// Store key of clusters.
const CLUSTERS: &str = "managedclusters.cluster.open-cluster-management.io";
const NAMESPACES: &str = "namespaces";
/// The namespace that each registry begins with.
const FIRST: &str = "default";

impl Registry {
    /// What objects of a kind show without being stored, in a namespace (none: in all), in key order.
    ///
    /// # Errors
    ///
    /// `ServiceUnavailable` when the database does not answer: what a view shows has no cache.
    pub async fn view(&self, kind: &Kind, namespace: &str) -> Result<Vec<Arc<Stored>>> {
        match kind.strategy.view() {
            View::Nothing => Ok(Vec::new()),
            View::Heartbeat(_) => self.heartbeats(kind, namespace).await,
            View::Definitions => self.definitions(kind),
        }
    }

    async fn heartbeats(&self, kind: &Kind, namespace: &str) -> Result<Vec<Arc<Stored>>> {
        let Some(clusters) = self.kinds.by_key(CLUSTERS) else {
            return Ok(Vec::new());
        };
        // A cluster's is in the namespace of its name: a tenant's question does not read the fleet's table.
        let heartbeats = self.store.heartbeats();
        let (wanted, ages) = if namespace.is_empty() {
            let snapshot = self.store.snapshot(CLUSTERS);
            (snapshot.iter().cloned().collect(), heartbeats.ages().await)
        } else {
            let one = self.store.get(&Key::new(CLUSTERS, "", namespace));
            let age = heartbeats.age(namespace).await;
            let ages = age.map(|age| age.map(|age| (namespace.to_owned(), age)));
            (Vec::from_iter(one), ages.map(Vec::from_iter))
        };
        let ages: HashMap<_, _> = ages
            .map_err(|error| unavailable(&error))?
            .into_iter()
            .collect();
        let now = clock::now();
        let mut shown = Vec::new();
        for stored in &wanted {
            let last = ages
                .get(&*stored.key.name)
                .and_then(|age| now.checked_sub(*age).ok());
            let Some(object) = kind
                .strategy
                .heartbeat(&parts::object(clusters, stored), last)
            else {
                continue;
            };
            let key = Key::new(Arc::clone(&kind.key), object.namespace(), object.name());
            shown.push(Arc::new(parts::shown(key, object, stored.revision)?));
        }
        Ok(shown)
    }

    /// The definitions of the hub's own kinds, as old as the registry.
    fn definitions(&self, kind: &Kind) -> Result<Vec<Arc<Stored>>> {
        let first = self.store.get(&Key::new(NAMESPACES, "", FIRST));
        let (since, revision) = match &first {
            Some(first) => (created(first), first.revision),
            None => (Value::Null, self.store.revision()),
        };
        let shown = |info: &ResourceInfo| {
            let name = info.key();
            let digest = Digest::of(name.as_bytes()).0;
            let uid = Builder::from_custom_bytes(array::from_fn(|at| digest[at]))
                .into_uuid()
                .to_string();
            let definition = Object::from_value(info.established(&uid, &since))?;
            let key = Key::new(Arc::clone(&kind.key), "", name);
            parts::shown(key, definition, revision).map(Arc::new)
        };
        let custom = self.kinds.iter().filter(|kind| kind.info.is_custom());
        custom.map(|kind| shown(&kind.info)).collect()
    }
}

fn created(stored: &Stored) -> Value {
    let mut metadata: Value = serde_json::from_slice(&stored.metadata).unwrap_or_default();
    metadata["creationTimestamp"].take()
}
