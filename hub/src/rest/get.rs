//! Get, also of the status.

use std::sync::Arc;

use axum::response::Response;
use koinon_machinery::{ApiError, Result, Verb};

use super::{
    call::{Call, Source},
    options, present, respond,
};

/// Answers with one object.
pub(super) async fn get(call: &Call) -> Result<Response> {
    call.demand(Verb::Get)?;
    let form = call.form()?;
    let warning = call.settle(options::at(&call.query)?).await?;
    let key = call.key();
    let found = match call.snapshot().await? {
        Source::Snapshot(snapshot) => snapshot.get(&key.namespace, &key.name).cloned(),
        Source::View(_, objects) => objects.into_iter().find(|stored| stored.key == key),
    };
    let stored = found.ok_or_else(|| ApiError::not_found(&call.kind.info, &key.name))?;
    let mut response =
        present::stored(http::StatusCode::OK, &call.kind, form, &Arc::clone(&stored));
    respond::warn(&mut response, &warning.into_iter().collect::<Vec<_>>());
    Ok(response)
}
