//! `serviceaccounts/token`: a token for an account (`TokenRequest`).

use axum::{body::Body, response::Response};
use http::StatusCode;
use koinon_machinery::{ApiError, Cause, Details, Object, Reason, Result, object};
use serde_json::{Value, json};
use std::time::Duration;

use super::{body, call::Call, options, respond};
use crate::{
    auth::tokens::{Account, Bound, DEFAULT_LIFE, LEAST_LIFE},
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
    let mut request =
        Object::from_value(body::decode(&body::media_type(&call.headers), &bytes)?.value)?;
    let account = call.api.registry().current(&call.kind, &call.key()).await?;
    let spec = request.spec().cloned().unwrap_or_else(|| json!({}));
    let life = life(&spec)?;
    let audiences: Vec<String> = spec
        .get("audiences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    let bound = bound(call, &spec).await?;
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
    let audiences = if audiences.is_empty() {
        vec![tokens.issuer().to_owned()]
    } else {
        audiences
    };
    let mut spec = spec;
    spec["audiences"] = json!(audiences);
    spec["expirationSeconds"] = life.as_secs().into();
    request.set_name(&account.key.name);
    request.set_namespace(&account.key.namespace);
    request.set_creation_timestamp(crate::clock::now());
    let answer = json!({
        "kind": "TokenRequest", "apiVersion": format!("{GROUP}/v1"), "metadata": request.metadata(),
        "spec": spec, "status": status,
    });
    Ok(respond::json(StatusCode::CREATED, &answer))
}

fn life(spec: &Value) -> Result<Duration> {
    let field = "spec.expirationSeconds";
    let Some(value) = spec
        .get("expirationSeconds")
        .filter(|value| !value.is_null())
    else {
        return Ok(DEFAULT_LIFE);
    };
    let why = match value.as_i64() {
        None => "must be a whole number of seconds",
        Some(seconds) if seconds < LEAST_LIFE.as_secs().cast_signed() => {
            "may not specify a duration less than 10 minutes"
        }
        Some(seconds) if seconds > 1 << 32 => "may not specify a duration larger than 2^32 seconds",
        Some(seconds) => return Ok(Duration::from_secs(seconds.cast_unsigned())),
    };
    Err(invalid(Cause::invalid(field, value.clone(), why)))
}

/// What the token is to end with. Only a Secret can be, for the hub has no Pods and Nodes.
async fn bound(call: &Call, spec: &Value) -> Result<Option<Bound>> {
    let Some(wanted) = spec
        .get("boundObjectRef")
        .filter(|wanted| wanted.is_object())
    else {
        return Ok(None);
    };
    let text = |field| {
        wanted
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (kind, name, uid) = (text("kind"), text("name"), text("uid"));
    let secrets = call.api.registry().kinds().by_key("secrets");
    let Some(secrets) = secrets.filter(|_| kind == "Secret") else {
        return Err(invalid(Cause::not_supported(
            "spec.boundObjectRef.kind",
            kind,
            ["Secret"],
        )));
    };
    if name.is_empty() {
        return Err(invalid(Cause::required("spec.boundObjectRef.name", "")));
    }
    let key = koinon_store::Key::new(std::sync::Arc::clone(&secrets.key), call.namespace(), name);
    let secret = call.api.registry().current(secrets, &key).await?;
    let found = secret.uid.to_string();
    if !uid.is_empty() && uid != found {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict_because(&secrets.info, name, &why));
    }
    Ok(Some(Bound {
        kind: kind.to_owned(),
        name: name.to_owned(),
        uid: found,
    }))
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
