//! What is there before any resource: the version, the list of paths.

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use koinon_machinery::discovery::Discovery;
use serde_json::json;

use super::respond;

/// `/version`
pub(super) async fn version(headers: HeaderMap) -> Response {
    let version = Discovery::version(env!("CARGO_PKG_VERSION"));
    respond::plain(&headers, version.to_string())
}

/// `/`
pub(super) async fn paths() -> Response {
    let paths = [
        "/api",
        "/apis",
        "/healthz",
        "/healthz/ping",
        "/livez",
        "/livez/ping",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/readyz/ping",
        "/readyz/registry",
        "/readyz/shutdown",
        "/version",
    ];
    respond::json(StatusCode::OK, &json!({ "paths": paths }))
}
