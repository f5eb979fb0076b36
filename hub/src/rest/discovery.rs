//! `/api` and `/apis`: which resources there are.

use axum::{
    extract::{Path, State},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use koinon_machinery::{
    ApiError,
    discovery::{Aggregated, Discovery, Document, Part},
};

use super::{Api, error, respond};

/// `/api`
pub(super) async fn core(State(api): State<Api>, headers: HeaderMap) -> Response {
    root(
        api.discovery(),
        Part::Core,
        api.discovery().core_versions(),
        &headers,
    )
}

/// `/apis`
pub(super) async fn groups(State(api): State<Api>, headers: HeaderMap) -> Response {
    root(
        api.discovery(),
        Part::Groups,
        api.discovery().group_list(),
        &headers,
    )
}

/// `/apis/{group}`
pub(super) async fn group(State(api): State<Api>, Path(group): Path<String>) -> Response {
    found(api.discovery().group(&group))
}

/// `/api/{version}`
pub(super) async fn core_version(State(api): State<Api>, Path(version): Path<String>) -> Response {
    found(api.discovery().resources("", &version))
}

/// `/apis/{group}/{version}`
pub(super) async fn group_version(
    State(api): State<Api>,
    Path((group, version)): Path<(String, String)>,
) -> Response {
    found(api.discovery().resources(&group, &version))
}

/// The aggregated document if the client prefers it, else the old one.
fn root(discovery: &Discovery, part: Part, old: &Document, headers: &HeaderMap) -> Response {
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    for item in accepted.flat_map(|value| value.split(',')).map(str::trim) {
        if let Some(version) = Aggregated::accepted(item) {
            return document(
                discovery.aggregated(part, version),
                &version.content_type(),
                headers,
            );
        }
        if item == "application/json" {
            break;
        }
    }
    found(Some(old))
}

fn found(found: Option<&Document>) -> Response {
    match found {
        Some(document) => respond::raw(StatusCode::OK, document.body.clone()),
        None => error::response(&ApiError::no_such_resource()),
    }
}

/// A document that clients keep as long as its hash stays the same.
pub(super) fn document(document: &Document, content_type: &str, headers: &HeaderMap) -> Response {
    let etag = document.etag();
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let mut response = match known {
        Some(known) if known == etag => respond::raw(StatusCode::NOT_MODIFIED, Vec::new()),
        _ => respond::raw(StatusCode::OK, document.body.clone()),
    };
    let fields = response.headers_mut();
    if let Ok(content_type) = HeaderValue::from_str(content_type) {
        fields.insert(header::CONTENT_TYPE, content_type);
    }
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        fields.insert(header::ETAG, etag);
    }
    // The answer to the same path differs by what the client accepts.
    fields.insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}
