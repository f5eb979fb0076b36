//! Server-side apply: `PATCH` with `application/apply-patch+yaml`.

use axum::{body::Body, response::Response};
use http::StatusCode;
use koinon_machinery::{ApiError, Object, Reason, Result, decode};
use serde_json::{Map, Value};

use super::{
    body,
    call::{Call, refuse_duplicates},
    options, present, respond,
};
use crate::registry::{Application, FieldValidation, MayCreate, Outcome, Part};

/// Applies the configuration in the body.
pub(super) async fn apply(call: &Call, body: Body, part: Part) -> Result<Response> {
    let form = call.form()?;
    let (options, force) = options::apply_options(&call.query)?;
    let bytes = body::read(body, call.kind.strategy.body_limit()).await?;
    let (config, mut warnings) = configuration(call, &bytes, options.fields)?;
    let (registry, key, writer) = (call.api.registry(), call.key(), call.writer());
    let attempt = |may_create| {
        let application = Application {
            part,
            config: &config,
            force,
            may_create,
        };
        registry.apply(&call.kind, &key, application, options, &writer)
    };
    let outcome = match attempt(MayCreate::No).await {
        Err(missing) if missing.reason == Reason::NotFound && part == Part::Main => {
            call.may_create()?;
            attempt(MayCreate::Yes).await?
        }
        outcome => outcome?,
    };
    let (code, saved) = match outcome {
        Outcome::Created(saved) => (StatusCode::CREATED, saved),
        Outcome::Changed(saved) => (StatusCode::OK, saved),
    };
    warnings.extend(saved.warnings);
    let mut response = present::state(code, &call.kind, form, saved.state);
    respond::warn(&mut response, &warnings);
    Ok(response)
}

/// Reads the body, which is YAML and so may be JSON.
fn configuration(
    call: &Call,
    bytes: &[u8],
    fields: FieldValidation,
) -> Result<(Object, Vec<String>)> {
    // Most clients send JSON, which is read faster as what it is.
    let json = (bytes.trim_ascii_start().first() == Some(&b'{'))
        .then(|| decode::json(bytes).ok())
        .flatten();
    let decoded = match json {
        Some(decoded) => decoded,
        None => body::decode("application/yaml", bytes).map_err(|error| {
            ApiError::bad_request(format!("error decoding YAML: {}", error.message))
        })?,
    };
    let warnings = match fields {
        FieldValidation::Ignore => Vec::new(),
        FieldValidation::Warn => decode::faults(&[], &decoded.duplicates),
        FieldValidation::Strict => {
            refuse_duplicates(&call.kind, &decoded.value, &decoded.duplicates)?;
            Vec::new()
        }
    };
    let value = match decoded.value {
        // A YAML of nothing is an object without anything.
        Value::Null => Value::Object(Map::new()),
        value => value,
    };
    Ok((Object::from_applied(value)?, warnings))
}
