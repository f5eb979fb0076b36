//! Patch, of the object or of its status.

use axum::{body::Body, response::Response};
use http::StatusCode;
use koinon_machinery::{ApiError, Object, Result, Verb, patch::Patch};

use super::{apply, body, call::Call, options, present, respond};
use crate::registry::Part;

/// Applies the patch in the body to what is there.
pub(super) async fn patch(call: &Call, body: Body, part: Part) -> Result<Response> {
    call.demand(Verb::Patch)?;
    let media_type = body::media_type(&call.headers);
    if media_type == Patch::APPLY {
        return apply::apply(call, body, part).await;
    }
    let form = call.form()?;
    let options = options::patch_options(&call.query)?;
    let limit = call.kind.strategy.body_limit();
    let bytes = body::read(body, limit).await?;
    let info = &call.kind.info;
    let patch = Patch::parse(&media_type, &bytes, info)?;
    let apply = |old: &Object| {
        let new = patch.apply(old, info, limit)?;
        check(call, &new)?;
        Ok(new)
    };
    let saved = call
        .api
        .registry()
        .patch(
            &call.kind,
            &call.key(),
            part,
            options,
            &call.writer(),
            apply,
        )
        .await?;
    let mut response = present::state(StatusCode::OK, &call.kind, form, saved.state);
    respond::warn(&mut response, &saved.warnings);
    Ok(response)
}

/// Refuses what has lost its name or its type. It was most likely not meant: a patch that puts `{}` in the place of all there is would
/// else empty the object.
fn check(call: &Call, patched: &Object) -> Result<()> {
    let kind = &call.kind;
    if patched.name().is_empty() {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            call.asked.name
        )));
    }
    for (field, value) in [
        ("apiVersion", patched.api_version()),
        ("kind", patched.kind()),
    ] {
        if value.is_empty() {
            return Err(ApiError::bad_request(format!(
                "the patched object has no {field}, which is {} {}",
                kind.api_version, kind.info.kind
            )));
        }
    }
    Ok(())
}
