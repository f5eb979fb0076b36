//! `/audit/records`: the audit log, page by page, for `koinon audit`. A path and no kind: records are not objects.

use axum::{Extension, extract::State, response::Response};
use http::StatusCode;
use koinon_machinery::{ApiError, Result};

use super::{Api, error, query::Query, respond};
use crate::registry;

/// Most records of a page.
const MOST: usize = 1_000;

/// Answers with a page.
pub(super) async fn records(
    State(api): State<Api>,
    Extension(query): Extension<Query>,
) -> Response {
    page(&api, &query)
        .await
        .unwrap_or_else(|error| error::response(&error))
}

async fn page(api: &Api, query: &Query) -> Result<Response> {
    let number = |name: &str, default: i64| match query.text(name) {
        None | Some("") => Ok(default),
        Some(text) => text
            .parse::<i64>()
            .ok()
            .filter(|number| *number >= 0)
            .ok_or_else(|| ApiError::bad_request(format!("{name} must be a number"))),
    };
    let after = number("after", 0)?;
    let limit = usize::try_from(number("limit", 500)?).unwrap_or(MOST);
    let log = api.registry().store().audit();
    let page = log
        .page(after, limit.clamp(1, MOST))
        .await
        .map_err(|error| registry::unavailable(&error))?;
    // Not by way of a tree: the hashes are over the texts of the records.
    Ok(respond::json(StatusCode::OK, &page))
}
