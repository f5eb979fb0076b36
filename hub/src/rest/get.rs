//! Get, also of the status.

use std::sync::Arc;

use axum::response::Response;
use koinon_machinery::{ApiError, Result, Verb};

use super::{call::Call, options, present, respond};

/// Answers with one object.
pub(super) async fn get(call: &Call) -> Result<Response> {
    call.demand(Verb::Get)?;
    let form = call.form()?;
    let warning = call.settle(options::at(&call.query)?).await?;
    let key = call.key();
    let found = if call.kind.is_view(&key.name) {
        let mut shown = call.view().await?.into_iter();
        shown.find(|stored| stored.key == key)
    } else {
        call.snapshot().get(&key.namespace, &key.name).cloned()
    };
    let stored = found.ok_or_else(|| ApiError::not_found(&call.kind.info, &key.name))?;
    let mut response =
        present::stored(http::StatusCode::OK, &call.kind, form, &Arc::clone(&stored));
    respond::warn(&mut response, &warning.into_iter().collect::<Vec<_>>());
    Ok(response)
}
