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
pub(super) async fn group(
    State(api): State<Api>,
    Path(group): Path<String>,
    headers: HeaderMap,
) -> Response {
    found(api.discovery().group(&group), &headers)
}

/// `/api/{version}`
pub(super) async fn core_version(
    State(api): State<Api>,
    Path(version): Path<String>,
    headers: HeaderMap,
) -> Response {
    found(api.discovery().resources("", &version), &headers)
}

/// `/apis/{group}/{version}`
pub(super) async fn group_version(
    State(api): State<Api>,
    Path((group, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    // The group without a name is at `/api`.
    let named = Some(group).filter(|group| !group.is_empty());
    let document = named.and_then(|group| api.discovery().resources(&group, &version));
    found(document, &headers)
}

/// The aggregated document if the client prefers it, else the old one.
fn root(discovery: &Discovery, part: Part, old: &Document, headers: &HeaderMap) -> Response {
    let mut plain = false;
    for item in respond::accepted(headers) {
        if let Some(version) = Aggregated::accepted(item) {
            return document(
                discovery.aggregated(part, version),
                &version.content_type(),
                headers,
            );
        }
        if respond::is_plain_json(item) {
            plain = true;
            break;
        }
    }
    if !plain && respond::accepted(headers).next().is_some() {
        return error::response(&ApiError::not_acceptable(&[respond::JSON]));
    }
    respond::raw(StatusCode::OK, old.body.clone())
}

fn found(found: Option<&Document>, headers: &HeaderMap) -> Response {
    match found {
        Some(document) => respond::plain(headers, document.body.clone()),
        None => error::response(&ApiError::no_such_resource()),
    }
}

/// A document that clients keep as long as its hash stays the same.
pub(super) fn document(document: &Document, content_type: &str, headers: &HeaderMap) -> Response {
    let etag = document.etag();
    let mut response = if is_known(headers, &etag) {
        respond::raw(StatusCode::NOT_MODIFIED, Vec::new())
    } else {
        respond::raw(StatusCode::OK, document.body.clone())
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

/// Whether `If-None-Match` names the document: compared weakly, for proxies that compress mark what they keep as weak
/// ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#name-if-none-match)).
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    // Hashes have no commas.
    known
        .map(|tag| tag.strip_prefix("W/").unwrap_or(tag))
        .any(|tag| tag == "*" || tag == etag)
}
