//! `/openapi`: the schemas of all kinds, for `kubectl explain` and for validation on the client's side.

use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use koinon_machinery::{ApiError, discovery::Document};

use super::{Api, discovery, error, query::Query, respond, respond::JSON};

/// How long a document that is named by its hash is kept: it cannot change.
const KEPT: &str = "public, immutable, max-age=31536000";

/// `/openapi/v3`
pub(super) async fn index(State(api): State<Api>, headers: HeaderMap) -> Response {
    json(api.openapi().index(), &headers)
}

/// `/openapi/v3/{path}`. With the `hash` that the index gives it is kept for good; with another one the client is sent to the one
/// that is served, as by kube-apiserver.
pub(super) async fn document(
    State(api): State<Api>,
    Path(path): Path<String>,
    Extension(query): Extension<Query>,
    headers: HeaderMap,
) -> Response {
    let path = path.trim_end_matches('/');
    let Some(found) = api.openapi().document(path) else {
        return error::response(&ApiError::no_such_resource());
    };
    let Some(hash) = query.text("hash") else {
        return json(found, &headers);
    };
    if hash != found.hash {
        let mut response = respond::raw(StatusCode::MOVED_PERMANENTLY, Vec::new());
        // Paths of documents and hashes are plain ASCII.
        if let Ok(place) = HeaderValue::from_str(&format!("/openapi/v3/{path}?hash={}", found.hash))
        {
            response.headers_mut().insert(header::LOCATION, place);
        }
        return response;
    }
    let mut response = json(found, &headers);
    if response.status() != StatusCode::NOT_ACCEPTABLE {
        let kept = HeaderValue::from_static(KEPT);
        response.headers_mut().insert(header::CACHE_CONTROL, kept);
    }
    response
}

fn json(document: &Document, headers: &HeaderMap) -> Response {
    if respond::takes_json(headers) {
        discovery::document(document, JSON, headers)
    } else {
        error::response(&ApiError::not_acceptable(&[JSON]))
    }
}

/// The protobuf form of v2, as client-go names it and as a media type may be written.
const PROTOBUF: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];

/// `/openapi/v2`, for clients that predate v3.
pub(super) async fn v2(State(api): State<Api>, headers: HeaderMap) -> Response {
    let accepted: Vec<&str> = respond::accepted(&headers)
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
