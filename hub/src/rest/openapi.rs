//! `/openapi`: the schemas of all kinds, for `kubectl explain` and for validation on the client's side.

use axum::{
    extract::{Path, State},
    response::Response,
};
use http::{HeaderMap, header};
use koinon_machinery::ApiError;

use super::{Api, discovery, error};

const JSON: &str = "application/json";

/// `/openapi/v3`
pub(super) async fn index(State(api): State<Api>, headers: HeaderMap) -> Response {
    discovery::document(api.openapi().index(), JSON, &headers)
}

/// `/openapi/v3/{path}`
pub(super) async fn document(
    State(api): State<Api>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Response {
    match api.openapi().document(&path) {
        Some(found) => discovery::document(found, JSON, &headers),
        None => error::response(&ApiError::no_such_resource()),
    }
}

/// The protobuf form of v2, as client-go names it and as a media type may be written.
const PROTOBUF: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];

/// `/openapi/v2`, for clients that predate v3.
pub(super) async fn v2(State(api): State<Api>, headers: HeaderMap) -> Response {
    let accepted: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|item| item.split(';').next().unwrap_or_default().trim())
        .collect();
    let first = accepted.iter().find_map(|item| {
        if PROTOBUF.contains(item) {
            Some((api.openapi().v2_protobuf(), PROTOBUF[1]))
        } else if matches!(*item, JSON | "application/*" | "*/*") {
            Some((api.openapi().v2(), JSON))
        } else {
            None
        }
    });
    match first {
        Some((found, content_type)) => discovery::document(found, content_type, &headers),
        None if accepted.is_empty() => discovery::document(api.openapi().v2(), JSON, &headers),
        None => error::response(&ApiError::not_acceptable(&[JSON, PROTOBUF[1]])),
    }
}
