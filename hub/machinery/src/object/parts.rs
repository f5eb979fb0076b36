//! An object as the store keeps it: metadata, body and status apart.

use serde_json::{Map, Value};

use super::Object;

/// The three parts of an object that are stored apart, so that a status write leaves the body alone and a large body can
/// be shared by digest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    /// `metadata` without `resourceVersion`: the revision is a column, known only when the write commits.
    pub metadata: Map<String, Value>,
    /// Every top-level field but `apiVersion`, `kind`, `metadata` and `status`.
    pub body: Map<String, Value>,
    /// `status`, if there is one.
    pub status: Option<Value>,
}

pub(super) fn is_body(field: &str) -> bool {
    !matches!(field, "apiVersion" | "kind" | "metadata" | "status")
}

impl Object {
    /// Takes the object apart for the store.
    #[must_use]
    pub fn split(self) -> Parts {
        let mut parts = Parts::default();
        for (field, value) in self.fields {
            match (field.as_str(), value) {
                ("apiVersion" | "kind", _) => {}
                ("metadata", Value::Object(mut metadata)) => {
                    metadata.remove("resourceVersion");
                    parts.metadata = metadata;
                }
                ("status", value) => parts.status = Some(value),
                (_, value) => {
                    parts.body.insert(field, value);
                }
            }
        }
        parts
    }

    /// Puts together what [`Object::split`] took apart.
    #[must_use]
    pub fn join(api_version: &str, kind: &str, parts: Parts, resource_version: &str) -> Self {
        let Parts {
            metadata,
            body,
            status,
        } = parts;
        let mut object = Self { fields: body };
        object.set_type(api_version, kind);
        object
            .fields
            .insert("metadata".into(), Value::Object(metadata));
        object.set_resource_version(resource_version);
        object.set_status(status);
        object
    }
}
