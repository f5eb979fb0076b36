//! Replace, of the object or of its status.

use axum::{body::Body, response::Response};
use http::StatusCode;
use koinon_machinery::{ApiError, Reason, Result, Verb};

use super::{call::Call, options, present, respond};
use crate::registry::Part;

/// Puts the object in the body in the place of what is there.
pub(super) async fn replace(call: &Call, body: Body, part: Part) -> Result<Response> {
    call.demand(Verb::Update)?;
    let form = call.form()?;
    let options = options::write_options(&call.query, "UpdateOptions")?;
    let (object, mut warnings) = call.object(body, options.fields).await?;
    if object.name().is_empty() {
        return Err(ApiError::bad_request("name must be provided"));
    }
    let creates = part == Part::Main && call.kind.strategy.creates_on_update();
    let new = creates.then(|| object.clone());
    let (registry, key, writer) = (call.api.registry(), call.key(), call.writer());
    let updated = registry
        .update(&call.kind, &key, object, part, options, &writer)
        .await;
    let (code, saved) = match (updated, new) {
        (Err(missing), Some(new)) if missing.reason == Reason::NotFound => {
            call.may_create()?;
            let created = registry.create_absent(&call.kind, &key, new, options, &writer);
            (StatusCode::CREATED, created.await?)
        }
        (updated, _) => (StatusCode::OK, updated?),
    };
    warnings.extend(saved.warnings);
    let mut response = present::state(code, &call.kind, form, saved.state);
    respond::warn(&mut response, &warnings);
    Ok(response)
}
