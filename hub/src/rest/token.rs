//! `serviceaccounts/token`: a token for an account (`TokenRequest`).

use axum::{body::Body, response::Response};
use http::StatusCode;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use koinon_machinery::{ApiError, Cause, Details, Object, Reason, Result, object};
use serde_json::{Value, json};
use std::time::Duration;

use super::{body, call::Call, options, respond};
use crate::{
    auth::tokens::{Account, Bound, DEFAULT_LIFE, LEAST_LIFE, MOST_LIFE},
    registry::DryRun,
};

/// A request is small.
pub(super) const LIMIT: usize = 64 << 10;
const GROUP: &str = "authentication.k8s.io";

/// Issues a token for the account that the path names.
pub(super) async fn create(call: &Call, body: Body) -> Result<Response> {
    let Some(tokens) = call.api.authenticator().tokens() else {
        return Err(ApiError::no_such_resource());
    };
    let options = options::write_options(&call.query, "CreateOptions")?;
    let bytes = body::read(body, LIMIT).await?;
    let value = body::decode(&body::media_type(&call.headers), &bytes)?.value;
    let mut spec = spec(&value)?;
    let mut request = Object::from_value(value)?;
    let account = call.api.registry().current(&call.kind, &call.key()).await?;
    let asked = life(spec.expiration_seconds)?;
    let life = asked.min(MOST_LIFE);
    let audiences = std::mem::take(&mut spec.audiences);
    let bound = match &spec.bound_object_ref {
        Some(wanted) => Some(bound(call, wanted).await?),
        None => None,
    };
    let uid = account.uid.to_string();
    let whose = Account {
        namespace: &account.key.namespace,
        name: &account.key.name,
        uid: &uid,
    };
    let mut status = json!({});
    if options.dry_run == DryRun::No {
        let issued = tokens
            .issue(&whose, &audiences, life, bound)
            .map_err(|error| {
                tracing::error!(%error, "cannot issue a token");
                ApiError::service_unavailable("the hub cannot sign tokens at the moment", 5)
            })?;
        status = json!({
            "token": issued.token, "expirationTimestamp": object::timestamp(issued.expires),
        });
    }
    spec.audiences = if audiences.is_empty() {
        vec![tokens.issuer().to_owned()]
    } else {
        audiences
    };
    spec.expiration_seconds = Some(life.as_secs().cast_signed());
    request.set_name(&account.key.name);
    request.set_namespace(&account.key.namespace);
    request.set_creation_timestamp(crate::clock::now());
    let answer = json!({
        "kind": "TokenRequest", "apiVersion": format!("{GROUP}/v1"), "metadata": request.metadata(),
        "spec": spec, "status": status,
    });
    let mut response = respond::json(StatusCode::CREATED, &answer);
    if life < asked {
        // kube-apiserver's words.
        let (asked, life) = (asked.as_secs(), life.as_secs());
        let shortened =
            format!("requested expiration of {asked} seconds shortened to {life} seconds");
        respond::warn(&mut response, &[shortened]);
    }
    Ok(response)
}

/// Reads what is asked for. What is of another type is refused: taken for absent, it would widen the token.
fn spec(request: &Value) -> Result<TokenRequestSpec> {
    let mut request = request.clone();
    if let Some(fields) = request.as_object_mut() {
        // Clients send a status too, with nothing in it.
        fields.retain(|field, _| !matches!(field.as_str(), "metadata" | "status"));
    }
    serde_json::from_value::<TokenRequest>(request)
        .map(|request| request.spec)
        .map_err(|error| ApiError::bad_request(format!("the body is no TokenRequest: {error}")))
}

fn life(seconds: Option<i64>) -> Result<Duration> {
    let why = match seconds {
        None => return Ok(DEFAULT_LIFE),
        Some(seconds) if seconds < LEAST_LIFE.as_secs().cast_signed() => {
            "may not specify a duration less than 10 minutes"
        }
        Some(seconds) if seconds > 1 << 32 => "may not specify a duration larger than 2^32 seconds",
        Some(seconds) => return Ok(Duration::from_secs(seconds.cast_unsigned())),
    };
    Err(invalid(Cause::invalid(
        "spec.expirationSeconds",
        seconds,
        why,
    )))
}

/// What the token is to end with. Only a Secret can be, for the hub has no Pods and Nodes.
async fn bound(call: &Call, wanted: &BoundObjectReference) -> Result<Bound> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (kind, name, uid) = (text(&wanted.kind), text(&wanted.name), text(&wanted.uid));
    let secrets = call.api.registry().kinds().by_key("secrets");
    let Some(secrets) = secrets.filter(|_| kind == "Secret") else {
        return Err(invalid(Cause::not_supported(
            "spec.boundObjectRef.kind",
            kind.as_str(),
            ["Secret"],
        )));
    };
    if name.is_empty() {
        return Err(invalid(Cause::required("spec.boundObjectRef.name", "")));
    }
    let key = koinon_store::Key::new(
        std::sync::Arc::clone(&secrets.key),
        call.namespace(),
        name.as_str(),
    );
    let secret = call.api.registry().current(secrets, &key).await?;
    let found = secret.uid.to_string();
    if !uid.is_empty() && uid != found {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict_because(&secrets.info, &name, &why));
    }
    Ok(Bound {
        kind,
        name,
        uid: found,
    })
}

fn invalid(cause: Cause) -> ApiError {
    let message = format!("TokenRequest.{GROUP} \"\" is invalid: {cause}");
    ApiError::new(Reason::Invalid, message).with_details(Details {
        group: GROUP.to_owned(),
        kind: "TokenRequest".to_owned(),
        causes: vec![cause],
        ..Details::default()
    })
}
