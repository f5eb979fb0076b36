//! A Kubernetes object of any kind, as JSON with typed access to its metadata.

mod identity;
mod marks;
mod metadata;
mod parts;

#[cfg(test)]
mod tests;

pub use metadata::{Timestamp, timestamp};
pub(crate) use metadata::{check_metadata, is_metadata_field};
pub use parts::Parts;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{ApiError, Result};

/// A Kubernetes object: a JSON object whose `metadata`, if present, has the right types.
///
/// The constructors check the metadata once, so the accessors are total: an absent field reads as its empty value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct Object {
    fields: Map<String, Value>,
}

impl Object {
    /// An object that has a type and nothing else.
    #[must_use]
    pub fn new(api_version: &str, kind: &str) -> Self {
        let mut object = Self::default();
        object.set_type(api_version, kind);
        object
    }

    /// Takes JSON as an object.
    ///
    /// # Errors
    /// `BadRequest` when it is not a JSON object or a metadata field has the wrong type.
    pub fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Object(fields) => Self::from_map(fields),
            other => Err(ApiError::bad_request(format!(
                "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                metadata::json_type(&other)
            ))),
        }
    }

    /// Takes a JSON object as an object; `metadata: null` counts as absent.
    ///
    /// # Errors
    /// `BadRequest` when a metadata field has the wrong type.
    pub fn from_map(mut fields: Map<String, Value>) -> Result<Self> {
        metadata::coerce(&mut fields)?;
        Ok(Self { fields })
    }

    /// Takes a configuration for server-side apply as an object: nulls in its metadata mean something there and stay.
    ///
    /// # Errors
    /// `BadRequest` when it is not a JSON object or a metadata field has the wrong type.
    pub fn from_applied(value: Value) -> Result<Self> {
        let Value::Object(fields) = value else {
            return Self::from_value(value);
        };
        Self::from_map(fields.clone())?;
        Ok(Self { fields })
    }

    /// Turns a typed object into an untyped one.
    ///
    /// # Errors
    /// `InternalError` when it does not serialise to an object.
    pub fn from_typed<K: Serialize>(typed: &K) -> Result<Self> {
        let value =
            serde_json::to_value(typed).map_err(|error| ApiError::internal(error.to_string()))?;
        Self::from_value(value)
    }

    /// Reads the object as a typed one.
    ///
    /// # Errors
    /// `InternalError` when the fields do not fit the type.
    pub fn into_typed<K: DeserializeOwned>(self) -> Result<K> {
        serde_json::from_value(Value::Object(self.fields))
            .map_err(|error| ApiError::internal(error.to_string()))
    }

    #[must_use]
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// The raw fields, for patches and schemas. Whoever changes `metadata` here owes a [`Object::from_map`] afterwards.
    pub fn as_map_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.fields
    }

    #[must_use]
    pub fn into_map(self) -> Map<String, Value> {
        self.fields
    }

    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.fields)
    }

    #[must_use]
    pub fn api_version(&self) -> &str {
        text(&self.fields, "apiVersion")
    }

    #[must_use]
    pub fn kind(&self) -> &str {
        text(&self.fields, "kind")
    }

    pub fn set_type(&mut self, api_version: &str, kind: &str) {
        self.fields.insert("apiVersion".into(), api_version.into());
        self.fields.insert("kind".into(), kind.into());
    }

    /// A top-level field.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }

    /// The value at a path of object keys.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter()
            .try_fold(self.fields.get(*first)?, |value, key| value.get(key))
    }

    #[must_use]
    pub fn spec(&self) -> Option<&Value> {
        self.fields.get("spec")
    }

    #[must_use]
    pub fn status(&self) -> Option<&Value> {
        self.fields.get("status")
    }

    /// Replaces the status; `None` removes it.
    pub fn set_status(&mut self, status: Option<Value>) {
        put(&mut self.fields, "status", status);
    }

    /// The metadata; empty when absent.
    #[must_use]
    pub fn metadata(&self) -> &Map<String, Value> {
        self.fields
            .get("metadata")
            .and_then(Value::as_object)
            .unwrap_or(metadata::empty())
    }

    /// The metadata, created when absent.
    pub fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        let entry = self
            .fields
            .entry("metadata")
            .or_insert_with(|| Value::Object(Map::new()));
        if !entry.is_object() {
            *entry = Value::Object(Map::new());
        }
        entry
            .as_object_mut()
            .expect("metadata was made an object just above")
    }

    /// Whether both have the same body: every top-level field but `apiVersion`, `kind`, `metadata` and `status`.
    /// A difference is what bumps `metadata.generation`.
    #[must_use]
    pub fn same_body(&self, other: &Self) -> bool {
        let body = |object: &'_ Self| {
            object
                .fields
                .iter()
                .filter(|(key, _)| parts::is_body(key))
                .count()
        };
        body(self) == body(other)
            && self
                .fields
                .iter()
                .filter(|(key, _)| parts::is_body(key))
                .all(|(key, value)| other.get(key) == Some(value))
    }
}

impl TryFrom<Map<String, Value>> for Object {
    type Error = ApiError;

    fn try_from(fields: Map<String, Value>) -> Result<Self> {
        Self::from_map(fields)
    }
}

impl From<Object> for Map<String, Value> {
    fn from(object: Object) -> Self {
        object.fields
    }
}

fn text<'a>(fields: &'a Map<String, Value>, field: &str) -> &'a str {
    fields
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn put(fields: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    match value {
        Some(value) => fields.insert(field.into(), value),
        None => fields.remove(field),
    };
}
