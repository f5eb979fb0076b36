//! Content negotiation and response bodies.

use std::collections::BTreeSet;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use koinon_machinery::{ApiError, Result, table::IncludeObject};
use serde::Serialize;

use super::query::Query;

pub(super) const JSON: &str = "application/json";
/// Characters in all warnings of an answer, above which each is cut.
const MOST_WARNINGS: usize = 4096;
/// Characters of a warning that is cut.
const MOST_WARNING: usize = 256;

/// In which form objects are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Object,
    /// As `PartialObjectMetadata`.
    Metadata,
    /// As rows of a table.
    Table(IncludeObject),
}

/// The items of `Accept`, in their order.
pub(super) fn accepted(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// Whether an item of `Accept` is JSON, in no particular form.
pub(super) fn is_plain_json(item: &str) -> bool {
    let mut parts = item.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
    matches!(media_type.as_str(), JSON | "application/*" | "*/*")
        && !parts.any(|part| part.starts_with("as="))
}

/// Whether the client takes JSON; one that does not say takes anything.
pub(super) fn takes_json(headers: &HeaderMap) -> bool {
    let mut items = accepted(headers).peekable();
    items.peek().is_none() || items.any(is_plain_json)
}

/// JSON for who takes it, 406 for others.
pub(super) fn plain(headers: &HeaderMap, bytes: impl Into<Bytes>) -> Response {
    if takes_json(headers) {
        raw(StatusCode::OK, bytes)
    } else {
        super::error::response(&ApiError::not_acceptable(&[JSON]))
    }
}

/// Chooses the first form in `Accept` that is served here.
pub(super) fn form(headers: &HeaderMap, query: &Query) -> Result<Form> {
    let mut any = false;
    for clause in accepted(headers) {
        any = true;
        let mut parts = clause.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        if !matches!(media_type.as_str(), JSON | "application/*" | "*/*") {
            continue;
        }
        let parameter = |name: &str| {
            clause
                .split(';')
                .filter_map(|part| part.trim().split_once('='))
                .find(|(key, _)| *key == name)
        };
        let (target, version, group) = (parameter("as"), parameter("v"), parameter("g"));
        match (
            target.map(|(_, value)| value),
            version.map(|(_, value)| value),
            group.map(|(_, value)| value),
        ) {
            (None, ..) => return Ok(Form::Object),
            (Some("Table"), Some("v1"), Some("meta.k8s.io")) => {
                return Ok(Form::Table(include(query)?));
            }
            (
                Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
                Some("v1"),
                Some("meta.k8s.io"),
            ) => {
                return Ok(Form::Metadata);
            }
            _ => {}
        }
    }
    if any {
        Err(ApiError::not_acceptable(&[JSON]))
    } else {
        Ok(Form::Object)
    }
}

fn include(query: &Query) -> Result<IncludeObject> {
    let text = query.text("includeObject").unwrap_or_default();
    IncludeObject::parse(text).ok_or_else(|| {
        ApiError::bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: {text:?}: \
             must be 'Metadata', 'Object', 'None', or empty"
        ))
    })
}

/// A JSON response from a value.
pub(super) fn json(code: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => raw(code, bytes),
        Err(_) => raw(StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    }
}

/// A JSON response from text.
pub(super) fn raw(code: StatusCode, bytes: impl Into<Bytes>) -> Response {
    streamed(code, Body::from(bytes.into()))
}

/// A JSON response whose body comes in pieces.
pub(super) fn streamed(code: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    response
}

/// Adds `Warning` headers as `kubectl` prints them.
///
/// Each text once, and as in kube-apiserver: where all of them would be too long they are cut, and the last ones left out.
pub(super) fn warn(response: &mut Response, warnings: &[String]) {
    let mut seen = BTreeSet::new();
    let texts = || warnings.iter().map(String::as_str);
    let is_long = texts().map(|text| text.chars().count()).sum::<usize>() > MOST_WARNINGS;
    let most = if is_long { MOST_WARNING } else { usize::MAX };
    let mut written = 0;
    for text in texts().filter(|text| seen.insert(*text)) {
        if written >= MOST_WARNINGS {
            return;
        }
        let text: String = text.chars().take(most).collect();
        written += text.chars().count();
        let quoted: String = text
            .chars()
            .filter(|c| !c.is_control())
            .flat_map(escape)
            .collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

fn escape(c: char) -> impl Iterator<Item = char> {
    let slash = matches!(c, '"' | '\\').then_some('\\');
    slash.into_iter().chain(std::iter::once(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &str, query: &str) -> Result<Form> {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, accept.parse().unwrap());
        }
        form(&headers, &Query::parse(query))
    }

    #[test]
    fn the_first_form_that_is_served_is_chosen() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(
            chosen(kubectl, "").unwrap(),
            Form::Table(IncludeObject::Metadata)
        );
        assert_eq!(
            chosen(kubectl, "includeObject=Object").unwrap(),
            Form::Table(IncludeObject::Object)
        );
        assert_eq!(
            chosen("application/vnd.kubernetes.protobuf,application/json", "").unwrap(),
            Form::Object
        );
        assert_eq!(
            chosen(
                "application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json",
                ""
            )
            .unwrap(),
            Form::Object
        );
        assert_eq!(
            chosen(
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                ""
            )
            .unwrap(),
            Form::Metadata
        );
        assert_eq!(chosen("", "").unwrap(), Form::Object);
        assert_eq!(chosen("*/*", "").unwrap(), Form::Object);
        assert_eq!(
            chosen("application/vnd.kubernetes.protobuf", "")
                .unwrap_err()
                .code,
            406
        );
    }

    #[test]
    fn warnings_are_bounded() {
        let mut response = raw(StatusCode::OK, Vec::new());
        let many: Vec<String> = (0..100_000)
            .flat_map(|n| [format!("w{n}"), "again".to_owned()])
            .collect();
        warn(&mut response, &many);
        let count = response.headers().get_all(header::WARNING).iter().count();
        assert!((100..=4096).contains(&count), "{count}");
        let mut response = raw(StatusCode::OK, Vec::new());
        warn(&mut response, &["x".repeat(1 << 20), "y".repeat(100)]);
        let warnings = response.headers().get_all(header::WARNING);
        let around = "299 - ''".len();
        let lengths: Vec<usize> = warnings.iter().map(|value| value.len() - around).collect();
        assert_eq!(lengths, [256, 100]);
    }

    #[test]
    fn warnings_are_quoted() {
        let mut response = raw(StatusCode::OK, Vec::new());
        warn(&mut response, &["unknown field \"spec.x\"\n".to_owned()]);
        assert_eq!(
            response.headers()[header::WARNING],
            r#"299 - "unknown field \"spec.x\"""#
        );
    }
}
