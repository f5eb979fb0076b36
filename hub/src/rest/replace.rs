//! Replace, of the object or of its status.

use axum::{body::Body, response::Response};
use http::StatusCode;
use koinon_machinery::{ApiError, Result, Verb};

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
    let saved = call
        .api
        .registry()
        .update(
            &call.kind,
            &call.key(),
            object,
            part,
            options,
            &call.writer(),
        )
        .await?;
    warnings.extend(saved.warnings);
    let mut response = present::state(StatusCode::OK, &call.kind, form, saved.state);
    respond::warn(&mut response, &warnings);
    Ok(response)
}
