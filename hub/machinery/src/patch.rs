//! Patches: a change to an object, independent of how it was written down.

mod json;
mod merge;
mod strategic;

#[cfg(test)]
mod tests;

pub use merge::merge_into;

use serde_json::Value;

use crate::{ApiError, Object, ResourceInfo, Result, schema};

/// A patch, decoded.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 6902: a list of operations.
    Json(json_patch::Patch),
    /// RFC 7386: an object laid over the old one; null removes.
    Merge(Value),
    /// Kubernetes' own: like a merge patch, but lists with a key are merged by it.
    Strategic(Value),
}

impl Patch {
    /// The media type of server-side apply, which is no [`Patch`] but accepted wherever patches are.
    pub const APPLY: &str = "application/apply-patch+yaml";

    /// The media types that [`Patch::parse`] reads.
    pub const MEDIA_TYPES: [&str; 3] = [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ];

    /// Reads a patch of a media type, given without its parameters.
    ///
    /// # Errors
    /// `UnsupportedMediaType` for other media types, and for strategic patches on kinds that do not merge that way;
    /// `BadRequest` when the body is no such patch.
    pub fn parse(media_type: &str, body: &[u8], resource: &ResourceInfo) -> Result<Self> {
        match media_type {
            "application/json-patch+json" => json::parse(body).map(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge(document(body)?)),
            "application/strategic-merge-patch+json" if strategic::is_supported(resource) => {
                Ok(Self::Strategic(document(body)?))
            }
            _ => Err(ApiError::unsupported_media_type(&Self::accepted(resource))),
        }
    }

    /// The media types that a kind accepts, with server-side apply: strategic merge belongs to Kubernetes' own kinds, as with CRDs.
    #[must_use]
    pub fn accepted(resource: &ResourceInfo) -> Vec<&'static str> {
        let count = if strategic::is_supported(resource) {
            3
        } else {
            2
        };
        let mut accepted = Self::MEDIA_TYPES[..count].to_vec();
        accepted.push(Self::APPLY);
        accepted
    }

    /// Applies the patch; the old object stays as it is.
    ///
    /// # Errors
    /// `Invalid` when a JSON patch does not apply, `BadRequest` when the result is no object, `RequestEntityTooLarge`
    /// when it has grown beyond `limit` bytes.
    pub fn apply(&self, old: &Object, resource: &ResourceInfo, limit: usize) -> Result<Object> {
        let mut value = Value::Object(old.as_map().clone());
        match self {
            Self::Json(patch) => json::apply(patch, &mut value, limit).map_err(|cause| {
                // Kubernetes says 422 with a message of its own and no causes.
                ApiError::new(
                    crate::Reason::Invalid,
                    format!(
                        "the server rejected our request due to an error in our request: {cause}"
                    ),
                )
                .with_details(crate::Details::of(resource, old.name()))
            })?,
            Self::Merge(patch) => merge::merge_into(&mut value, patch),
            Self::Strategic(patch) => strategic::apply(&mut value, patch)?,
        }
        if !schema::check_depth(&value) {
            return Err(ApiError::bad_request("exceeded max depth"));
        }
        Object::from_value(value)
    }
}

fn document(body: &[u8]) -> Result<Value> {
    let decoded = crate::decode::json(body)?;
    match decoded.value {
        value @ Value::Object(_) => Ok(value),
        _ => Err(ApiError::bad_request(
            "error decoding patch: the patch is not a JSON object",
        )),
    }
}
