//! `TokenReview`: whose token is this?

use koinon_machinery::{ApiError, Object, Result};
use serde_json::{Value, json};

use super::{super::Api, text};

pub(super) async fn answer(_: &Api, review: &Object) -> Result<(Value, Value)> {
    let spec = review.spec().cloned().unwrap_or_else(|| json!({}));
    if text(&spec, "token").is_empty() {
        return Err(ApiError::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let status = json!({ "user": {}, "error": "[invalid bearer token]" });
    Ok((spec, status))
}
