//! What hangs on an object: labels, annotations, finalizers, owners.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Object, put};

impl Object {
    /// The labels in key order.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(self.metadata().get("labels"))
    }

    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.metadata().get("labels")?.get(key)?.as_str()
    }

    /// The labels as an owned map, as the store keeps them.
    #[must_use]
    pub fn labels_owned(&self) -> BTreeMap<String, String> {
        self.labels()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    pub fn set_label(&mut self, key: &str, value: &str) {
        self.set_pair("labels", key, Some(value));
    }

    pub fn remove_label(&mut self, key: &str) {
        self.set_pair("labels", key, None);
    }

    /// The annotations in key order.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(self.metadata().get("annotations"))
    }

    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata().get("annotations")?.get(key)?.as_str()
    }

    pub fn set_annotation(&mut self, key: &str, value: &str) {
        self.set_pair("annotations", key, Some(value));
    }

    pub fn remove_annotation(&mut self, key: &str) {
        self.set_pair("annotations", key, None);
    }

    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        self.metadata()
            .get("finalizers")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    #[must_use]
    pub fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers().any(|held| held == finalizer)
    }

    /// Adds a finalizer; returns whether it was missing.
    pub fn add_finalizer(&mut self, finalizer: &str) -> bool {
        if self.has_finalizer(finalizer) {
            return false;
        }
        let list = self
            .metadata_mut()
            .entry("finalizers")
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(finalizer.into());
        }
        true
    }

    /// Takes a finalizer off; returns whether it was there.
    pub fn remove_finalizer(&mut self, finalizer: &str) -> bool {
        let metadata = self.metadata_mut();
        let Some(Value::Array(list)) = metadata.get_mut("finalizers") else {
            return false;
        };
        let before = list.len();
        list.retain(|held| held.as_str() != Some(finalizer));
        let removed = list.len() < before;
        if list.is_empty() {
            metadata.remove("finalizers");
        }
        removed
    }

    /// The owners. An entry that does not read as one is left out; validation refuses such entries on write.
    #[must_use]
    pub fn owner_references(&self) -> Vec<OwnerReference> {
        let list = self
            .metadata()
            .get("ownerReferences")
            .and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(|owner| OwnerReference::deserialize(owner).ok())
            .collect()
    }

    /// Replaces the owners.
    pub fn set_owner_references(&mut self, owners: &[OwnerReference]) {
        let list: Vec<Value> = owners
            .iter()
            .filter_map(|owner| serde_json::to_value(owner).ok())
            .collect();
        put(
            self.metadata_mut(),
            "ownerReferences",
            (!list.is_empty()).then_some(Value::Array(list)),
        );
    }

    fn set_pair(&mut self, map: &str, key: &str, value: Option<&str>) {
        let metadata = self.metadata_mut();
        match value {
            Some(value) => {
                let pairs = metadata
                    .entry(map)
                    .or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(pairs) = pairs {
                    pairs.insert(key.into(), value.into());
                }
            }
            None => {
                let Some(Value::Object(pairs)) = metadata.get_mut(map) else {
                    return;
                };
                pairs.remove(key);
                if pairs.is_empty() {
                    metadata.remove(map);
                }
            }
        }
    }
}

fn pairs(map: Option<&Value>) -> impl Iterator<Item = (&str, &str)> {
    map.and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}
