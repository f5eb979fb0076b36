//! What is there before any resource: health, version, the list of paths.

use axum::{extract::State, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use koinon_machinery::discovery::Discovery;
use serde_json::json;

use super::{Api, respond};

/// `/version`
pub(super) async fn version(headers: HeaderMap) -> Response {
    let version = Discovery::version(env!("CARGO_PKG_VERSION"));
    respond::plain(&headers, version.to_string())
}

/// `/livez`: whoever answers lives.
pub(super) async fn live() -> Response {
    text(StatusCode::OK, "ok")
}

/// `/readyz`: whether the registry can be read and written.
pub(super) async fn ready(State(api): State<Api>) -> Response {
    match api.registry().catch_up().await {
        Ok(()) if !api.stop().is_cancelled() => text(StatusCode::OK, "ok"),
        Ok(()) => text(StatusCode::SERVICE_UNAVAILABLE, "shutting down"),
        Err(_) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "the registry is unreachable",
        ),
    }
}

/// `/`
pub(super) async fn paths() -> Response {
    let paths = [
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ];
    respond::json(StatusCode::OK, &json!({ "paths": paths }))
}

fn text(code: StatusCode, words: &'static str) -> Response {
    let mut response = respond::raw(code, words);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
