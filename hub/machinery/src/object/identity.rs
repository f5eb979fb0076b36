//! Who an object is: names, versions and times, as the server sets them.

use serde_json::Value;

use super::{Object, Timestamp, put, text, timestamp};

impl Object {
    #[must_use]
    pub fn name(&self) -> &str {
        text(self.metadata(), "name")
    }

    #[must_use]
    pub fn namespace(&self) -> &str {
        text(self.metadata(), "namespace")
    }

    #[must_use]
    pub fn generate_name(&self) -> &str {
        text(self.metadata(), "generateName")
    }

    #[must_use]
    pub fn uid(&self) -> &str {
        text(self.metadata(), "uid")
    }

    #[must_use]
    pub fn resource_version(&self) -> &str {
        text(self.metadata(), "resourceVersion")
    }

    #[must_use]
    pub fn generation(&self) -> i64 {
        self.metadata()
            .get("generation")
            .and_then(Value::as_i64)
            .unwrap_or_default()
    }

    #[must_use]
    pub fn creation_timestamp(&self) -> Option<&str> {
        Some(text(self.metadata(), "creationTimestamp")).filter(|text| !text.is_empty())
    }

    #[must_use]
    pub fn deletion_timestamp(&self) -> Option<&str> {
        Some(text(self.metadata(), "deletionTimestamp")).filter(|text| !text.is_empty())
    }

    /// Whether deletion has begun and finalizers hold it up.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.deletion_timestamp().is_some()
    }

    pub fn set_name(&mut self, name: &str) {
        self.set_metadata_text("name", name);
    }

    pub fn set_namespace(&mut self, namespace: &str) {
        self.set_metadata_text("namespace", namespace);
    }

    pub fn set_uid(&mut self, uid: &str) {
        self.set_metadata_text("uid", uid);
    }

    pub fn set_resource_version(&mut self, version: &str) {
        self.set_metadata_text("resourceVersion", version);
    }

    pub fn set_generation(&mut self, generation: i64) {
        self.metadata_mut()
            .insert("generation".into(), generation.into());
    }

    pub fn set_creation_timestamp(&mut self, at: Timestamp) {
        self.set_metadata_text("creationTimestamp", &timestamp(at));
    }

    /// Marks the object as being deleted; the grace period is zero because nothing here has processes to end.
    pub fn set_deletion_timestamp(&mut self, at: Timestamp) {
        self.set_metadata_text("deletionTimestamp", &timestamp(at));
        self.metadata_mut()
            .insert("deletionGracePeriodSeconds".into(), 0.into());
    }

    /// Sets a text field of the metadata; an empty text removes it.
    pub fn set_metadata_text(&mut self, field: &str, text: &str) {
        let value = (!text.is_empty()).then(|| Value::from(text));
        put(self.metadata_mut(), field, value);
    }
}
