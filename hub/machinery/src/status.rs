//! What is answered when a request is refused: a Kubernetes `Status` as data.

mod cause;
mod reason;

#[cfg(test)]
mod tests;

pub(crate) use cause::MOST_CAUSES;
pub use cause::{Cause, CauseReason, are_enough};
pub use reason::Reason;

use std::collections::HashSet;

use serde::Serialize;
use serde_json::{Value, json};

use crate::ResourceInfo;

/// A refusal in the API's own terms. All of it is meant for the client; internal causes are logged where they arise.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub code: u16,
    pub reason: Reason,
    pub message: String,
    /// Boxed because most results are `Ok` and should stay small.
    pub details: Option<Box<Details>>,
}

/// What the refusal is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The plural for lookups, the kind for validation: Kubernetes uses the one field for both.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
}

impl ApiError {
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            code: reason.code(),
            reason,
            message: message.into(),
            details: None,
        }
    }

    /// 404 for one object.
    #[must_use]
    pub fn not_found(resource: &ResourceInfo, name: &str) -> Self {
        Self::about(Reason::NotFound, resource, name, "not found")
    }

    /// 404 for a path that no API serves.
    #[must_use]
    pub fn no_such_resource() -> Self {
        Self::new(
            Reason::NotFound,
            "the server could not find the requested resource",
        )
        .with_details(Details::default())
    }

    /// 409 for a create.
    #[must_use]
    pub fn already_exists(resource: &ResourceInfo, name: &str) -> Self {
        Self::about(Reason::AlreadyExists, resource, name, "already exists")
    }

    /// 409 for a stale `resourceVersion`.
    #[must_use]
    pub fn conflict(resource: &ResourceInfo, name: &str) -> Self {
        Self::conflict_because(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409 with a reason of its own, for preconditions.
    #[must_use]
    pub fn conflict_because(resource: &ResourceInfo, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            resource.key()
        );
        Self::new(Reason::Conflict, message).with_details(Details::of(resource, name))
    }

    /// 422: the object is well formed and not acceptable. Of more than a hundred causes it names the first hundred.
    #[must_use]
    pub fn invalid(resource: &ResourceInfo, name: &str, mut causes: Vec<Cause>) -> Self {
        let kind = resource.group_kind();
        let mut message = format!("{kind} {name:?} is invalid");
        if are_enough(&causes) {
            causes.truncate(MOST_CAUSES);
            causes.push(Cause::bare("too many faults, the rest is left out"));
        }
        let mut seen = HashSet::new();
        let texts: Vec<String> = causes
            .iter()
            .map(ToString::to_string)
            .filter(|text| seen.insert(text.clone()))
            .collect();
        match texts.as_slice() {
            [] => {}
            [one] => message.push_str(&format!(": {one}")),
            many => message.push_str(&format!(": [{}]", many.join(", "))),
        }
        let details = Details {
            kind: resource.kind.clone(),
            causes,
            ..Details::of(resource, name)
        };
        Self::new(Reason::Invalid, message).with_details(details)
    }

    /// 400.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// 401.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(Reason::Unauthorized, "Unauthorized")
    }

    /// 403 for a verb on a resource; `name` may be empty.
    #[must_use]
    pub fn forbidden(resource: &ResourceInfo, name: &str, why: &str) -> Self {
        let subject = resource.key();
        let message = if name.is_empty() {
            format!("{subject} is forbidden: {why}")
        } else {
            format!("{subject} \"{name}\" is forbidden: {why}")
        };
        Self::new(Reason::Forbidden, message).with_details(Details::of(resource, name))
    }

    /// 403 for a path that belongs to no resource.
    #[must_use]
    pub fn forbidden_path(user: &str, verb: &str, path: &str) -> Self {
        Self::new(
            Reason::Forbidden,
            format!("forbidden: User {user:?} cannot {verb} path {path:?}"),
        )
    }

    /// 405.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::new(
            Reason::MethodNotAllowed,
            "the server does not allow this method on the requested resource",
        )
        .with_details(Details::default())
    }

    /// 406.
    #[must_use]
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let list = accepted.join(", ");
        Self::new(
            Reason::NotAcceptable,
            format!("only the following media types are accepted: {list}"),
        )
    }

    /// 410: the revision is gone from the change log; list again.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message)
    }

    /// 413.
    #[must_use]
    pub fn request_entity_too_large(limit: usize) -> Self {
        Self::new(
            Reason::RequestEntityTooLarge,
            format!("Request entity too large: limit is {limit}"),
        )
    }

    /// 415.
    #[must_use]
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        Self::new(
            Reason::UnsupportedMediaType,
            format!(
                "the body of the request was in an unknown format - accepted media types include: {}",
                accepted.join(", ")
            ),
        )
    }

    /// 429.
    #[must_use]
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(Reason::TooManyRequests, message).retry_after(retry_after_seconds)
    }

    /// 500. The message reaches the client: it says what failed, never why in terms of our insides.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        let cause = Cause::bare(message.clone());
        Self::new(
            Reason::InternalError,
            format!("Internal error occurred: {message}"),
        )
        .with_details(Details {
            causes: vec![cause],
            ..Details::default()
        })
    }

    /// 503: nothing was changed, the same request may work soon.
    #[must_use]
    pub fn service_unavailable(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(Reason::ServiceUnavailable, message).retry_after(retry_after_seconds)
    }

    /// 504: the outcome is not known.
    #[must_use]
    pub fn timeout(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(Reason::Timeout, format!("Timeout: {}", message.into()))
            .retry_after(retry_after_seconds)
    }

    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = Some(seconds);
        self
    }

    /// The causes, if it is a refusal of an object's content.
    #[must_use]
    pub fn causes(&self) -> &[Cause] {
        self.details
            .as_deref()
            .map_or(&[], |details| details.causes.as_slice())
    }

    /// The `Status` document.
    #[must_use]
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "apiVersion": "v1",
            "kind": "Status",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason.as_str(),
            "code": self.code,
        });
        if let Some(details) = &self.details {
            status["details"] = serde_json::to_value(details).unwrap_or_default();
        }
        status
    }

    fn about(reason: Reason, resource: &ResourceInfo, name: &str, what: &str) -> Self {
        Self::new(reason, format!("{} \"{name}\" {what}", resource.key()))
            .with_details(Details::of(resource, name))
    }
}

impl Details {
    /// Details that name an object by its resource.
    #[must_use]
    pub fn of(resource: &ResourceInfo, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            group: resource.group.clone(),
            kind: resource.plural.clone(),
            ..Self::default()
        }
    }
}

/// The `Status` that answers a delete which left nothing behind.
#[must_use]
pub fn deleted(resource: &ResourceInfo, name: &str, uid: &str) -> Value {
    let details = Details {
        uid: uid.to_owned(),
        ..Details::of(resource, name)
    };
    json!({
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Success",
        "details": serde_json::to_value(details).unwrap_or_default(),
    })
}
