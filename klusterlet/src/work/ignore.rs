//! Fields that server-side apply is to leave alone (`ignoreFields`). Pure.
//!
//! `OnSpokePresent`: the field is applied when the object is made, and never after. `OnSpokeChange`: it is applied with
//! every new manifest, and what becomes of it between two manifests is not looked at.

mod jq;
mod location;

use koinon_api::work::{IgnoreField, IgnoreFieldsCondition};
use koinon_machinery::jsonpath::JsonPath;
use serde_json::Value;

use location::{Location, locate, pointer};
pub(super) use location::{owned_fields, owns_only};

/// Places in one manifest, by when they are left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ignored {
    present: Vec<Location>,
    changed: Vec<Location>,
}

impl Ignored {
    /// Finds the places that `fields` name in a manifest; those that it does not have are none.
    ///
    /// # Errors
    /// Says which expression cannot be understood. OCM logs a wrong JSONPath and applies the field; a field that was to
    /// be left alone would be overwritten because of a typing mistake.
    pub(super) fn of(fields: &[IgnoreField], manifest: &Value) -> Result<Self, String> {
        let mut ignored = Self::default();
        for field in fields {
            let places = match field.condition {
                IgnoreFieldsCondition::OnSpokePresent => &mut ignored.present,
                IgnoreFieldsCondition::OnSpokeChange => &mut ignored.changed,
            };
            for path in &field.json_paths {
                let parsed = JsonPath::parse(path).map_err(|e| e.to_string())?;
                places.extend(locate(manifest, &parsed.find(manifest)));
            }
            for text in &field.json_pointers {
                places.extend(pointer(manifest, text)?);
            }
            for text in &field.jq_path_expressions {
                let found = jq::find(text, manifest)
                    .map_err(|e| format!("invalid jq path {text:?}: {e}"))?;
                places.extend(locate(manifest, &found));
            }
        }
        Ok(ignored)
    }

    /// What is applied with a new manifest to an object that exists.
    pub(super) fn renewed(&self, manifest: &Value) -> Value {
        location::without(manifest, &self.present)
    }

    /// What has to be so at any time.
    pub(super) fn lasting(&self, manifest: &Value) -> Value {
        let all: Vec<_> = self.present.iter().chain(&self.changed).cloned().collect();
        location::without(manifest, &all)
    }

    /// Puts into `desired` what `live` has in the places that are left alone and that `manager` owns.
    ///
    /// A manager that applies an object without a field it owns gives the field up, and the server removes it: a
    /// Deployment whose replicas are left alone would fall back to one replica.
    pub(super) fn keep_owned(
        &self,
        desired: &mut Value,
        manifest: &Value,
        live: &Value,
        manager: &str,
    ) {
        let Some(owned) = owned_fields(live, manager) else {
            return;
        };
        for place in self.present.iter().chain(&self.changed) {
            if place.get(manifest, desired).is_none()
                && let Some(value) = place.owned_value(manifest, live, owned)
            {
                place.insert(manifest, desired, value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
