//! `/openapi`: the schemas of all kinds, for `kubectl explain` and for validation on the client's side.

use axum::{
    extract::{Path, State},
    response::Response,
};
use http::HeaderMap;
use koinon_machinery::ApiError;

use super::{Api, discovery, error};

/// `/openapi/v3`
pub(super) async fn index(State(api): State<Api>, headers: HeaderMap) -> Response {
    discovery::document(api.openapi().index(), "application/json", &headers)
}

/// `/openapi/v3/{path}`
pub(super) async fn document(
    State(api): State<Api>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Response {
    match api.openapi().document(&path) {
        Some(found) => discovery::document(found, "application/json", &headers),
        None => error::response(&ApiError::no_such_resource()),
    }
}

/// `/openapi/v2` exists as protobuf only for clients older than v3; none of those is served.
pub(super) async fn v2() -> Response {
    error::response(&ApiError::no_such_resource())
}
