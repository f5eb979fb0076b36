//! The one place where a refusal becomes an HTTP response.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use koinon_machinery::{ApiError, Details, Reason};

use super::respond;
use crate::{
    auth::User,
    authz::{Attributes, Refusal},
};

/// Answers with the refusal as a `Status`.
pub(super) fn response(error: &ApiError) -> Response {
    if error.reason == Reason::InternalError {
        tracing::error!(error = %error, "request failed");
    }
    let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond::json(code, &error.to_status());
    let retry = error
        .details
        .as_deref()
        .and_then(|details| details.retry_after_seconds);
    if let Some(seconds) = retry {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// What a denial by the authoriser is to the client, in kube-apiserver's words.
pub(super) fn denied(user: &User, asked: &Attributes, reason: &str) -> ApiError {
    let words = Refusal {
        user,
        asked,
        reason,
    };
    if !asked.is_resource() {
        return ApiError::new(Reason::Forbidden, format!("forbidden: {words}"));
    }
    let Attributes {
        group,
        resource,
        name,
        ..
    } = asked;
    let dot = if group.is_empty() { "" } else { "." };
    let quoted = if name.is_empty() {
        String::new()
    } else {
        format!(" {name:?}")
    };
    let message = format!("{resource}{dot}{group}{quoted} is forbidden: {words}");
    let details = Details {
        name: name.clone(),
        group: group.clone(),
        kind: resource.clone(),
        ..Details::default()
    };
    ApiError::new(Reason::Forbidden, message).with_details(details)
}

/// 500 for a handler that panicked; the panic hook has logged it.
pub(super) fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response {
    response(&ApiError::internal("the handler of this request failed"))
}
