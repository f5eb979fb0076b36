//! Create.

use axum::{body::Body, response::Response};
use http::StatusCode;
use koinon_machinery::{Result, Verb};

use super::{call::Call, options, present, respond};

/// Creates the object in the body.
pub(super) async fn create(call: &Call, body: Body) -> Result<Response> {
    call.demand(Verb::Create)?;
    let form = call.form()?;
    let options = options::write_options(&call.query, "CreateOptions")?;
    let (object, mut warnings) = call.object(body, options.fields).await?;
    let saved = call
        .api
        .registry()
        .create(
            &call.kind,
            call.namespace(),
            object,
            options,
            &call.writer(),
        )
        .await?;
    warnings.extend(saved.warnings);
    let mut response = present::state(StatusCode::CREATED, &call.kind, form, saved.state);
    respond::warn(&mut response, &warnings);
    Ok(response)
}
