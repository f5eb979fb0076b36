//! `TokenReview`: whose token is this?

use koinon_machinery::{ApiError, Object, Result};
use serde_json::{Value, json};

use super::{super::Api, text, texts, who};

pub(super) async fn answer(api: &Api, review: &Object) -> Result<(Value, Value)> {
    let mut spec = review.spec().cloned().unwrap_or_else(|| json!({}));
    let token = text(&spec, "token");
    if token.is_empty() {
        return Err(ApiError::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let audiences = texts(&spec, "audiences");
    let status = match api.authenticator().token(&token, &audiences).await {
        Ok((user, audiences)) => {
            json!({ "authenticated": true, "user": who::info(&user), "audiences": audiences })
        }
        Err(why) => json!({ "user": {}, "error": why }),
    };
    // The answer need not carry the secret around once more.
    spec["token"] = Value::from("");
    Ok((spec, status))
}
