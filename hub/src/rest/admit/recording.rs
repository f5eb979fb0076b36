//! What the record of a request says, from before it is looked at.

use axum::extract::Request;
use http::{HeaderMap, header};
use koinon_machinery::{ApiError, Result};
use serde_json::Value;

use super::{
    super::{Api, body},
    Who,
};
use crate::{
    audit::{Audit, Happened, Level, Outcome, Recording, redact},
    authz::Attributes,
    clock,
    tls::Peer,
};

/// Largest body that is recorded; of a larger one the record says what was done and not with what.
const MOST_BODY: usize = 64 << 10;

/// What is known of a request that the policy wants recorded, before it is let in.
pub(super) struct Asked(Option<(Audit, Happened)>);

impl Asked {
    /// Notes who asks for what, if the policy wants a record.
    pub(super) fn note(api: &Api, request: &Request, who: &Who, asked: &Attributes) -> Self {
        let Some(audit) = api.audit() else {
            return Self(None);
        };
        let mut level = audit.policy().level(&who.user, asked);
        if who
            .refused
            .as_ref()
            .is_some_and(|refused| refused.code == 401)
        {
            // Nobody with a credential that is none: no rule is about him.
            level = level.max(Level::Metadata);
        }
        if level == Level::None {
            return Self(None);
        }
        let agent = request.headers().get(header::USER_AGENT);
        let agent = agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
        let happened = Happened {
            level,
            at: clock::now(),
            from: request.extensions().get::<Peer>().map(|peer| peer.address),
            uri: request.uri().to_string(),
            agent: agent.unwrap_or_default(),
            user: who.user.clone(),
            acting_as: who.acting_as.clone(),
            asked: asked.clone(),
            body: None,
            unrecorded: None,
        };
        Self(Some((audit.clone(), happened)))
    }

    /// It was not let in.
    pub(super) fn refused(self, error: &ApiError) {
        let Some((audit, happened)) = self.0 else {
            return;
        };
        let outcome = Outcome {
            code: Some(error.code),
            decision: (error.code == 403).then_some("forbid"),
            at: clock::now(),
        };
        let user = happened.user.clone();
        audit.refused(&user, || happened.event(&outcome));
    }

    /// It is let in: keeps a place for its record, and at the level that wants it the body that it came with.
    ///
    /// # Errors
    ///
    /// `ServiceUnavailable` for a change that cannot be recorded and may not go unrecorded.
    pub(super) fn begin(self, headers: &HeaderMap, body: &[u8]) -> Result<Recording> {
        let Some((audit, happened)) = self.0 else {
            return Ok(Recording::default());
        };
        let change = !matches!(
            happened.asked.verb.as_str(),
            "get" | "list" | "watch" | "head"
        );
        let with_body = happened.level >= Level::Request && !body.is_empty();
        let asked = with_body.then(|| happened.asked.clone());
        let recording = audit.begin(happened, change).map_err(|_| {
            ApiError::service_unavailable(
                "the audit log takes no records at the moment; nothing was changed",
                1,
            )
        })?;
        let Some(asked) = asked else {
            return Ok(recording);
        };
        Ok(recording.with_body(if body.len() > MOST_BODY {
            Err("not recorded: too large")
        } else {
            read(headers, body)
                .and_then(|body| redact(body, &asked))
                .ok_or("not recorded: it does not decode, or is nested too deep")
        }))
    }
}

/// One value, by the rules of the API or, for patches, as the JSON or YAML that they are.
fn read(headers: &HeaderMap, bytes: &[u8]) -> Option<Value> {
    let media_type = body::media_type(headers);
    let decoded = body::decode(&media_type, bytes).ok();
    decoded
        .map(|decoded| decoded.value)
        .or_else(|| body::json(bytes).ok().map(|decoded| decoded.value))
        .or_else(|| {
            body::decode("application/yaml", bytes)
                .ok()
                .map(|decoded| decoded.value)
        })
}
