//! Objects that are made from something else.

use std::{collections::HashMap, sync::Arc};

use koinon_machinery::Result;
use koinon_store::{Key, Stored};

use super::{Kind, Registry, parts, unavailable};
use crate::clock;

/// Store key of clusters.
const CLUSTERS: &str = "managedclusters.cluster.open-cluster-management.io";

impl Registry {
    /// What objects of a kind show without being stored, in a namespace (none: in all), in key order.
    ///
    /// # Errors
    ///
    /// `ServiceUnavailable` when the database does not answer: what a view shows has no cache.
    pub async fn view(&self, kind: &Kind, namespace: &str) -> Result<Vec<Arc<Stored>>> {
        let (Some(_), Some(clusters)) = (kind.strategy.heartbeats(), self.kinds.by_key(CLUSTERS))
        else {
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
}
