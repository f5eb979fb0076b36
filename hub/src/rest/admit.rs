//! What every request passes before anything looks at it: who, in whose name, may they, its body, is it their turn.

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, header};
use koinon_machinery::{ApiError, Result};

use super::{
    Api, body, compress, error,
    flow::Place,
    held::{self, Hangup},
    intake::Charge,
    query::Query,
    request,
    tenant::Tenant,
};
use crate::{
    auth::{Impersonation, User},
    authz::{Attributes, Decision},
    keeping::Keeping,
    tls::Peer,
};

/// Decides whether the request may be made.
pub(super) async fn admit(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let asked = request::attributes(request.method(), request.uri(), &query);
    let (place, charge) = match enter(&api, &mut request, &asked).await {
        Ok(entered) => entered,
        Err(refused) => return error::response(&refused),
    };
    let is_watch = asked.verb == "watch";
    let zipped = !is_watch && compress::is_accepted(request.headers());
    let hangup = request.extensions().get::<Hangup>().cloned();
    let extensions = request.extensions_mut();
    extensions.insert(query);
    extensions.insert(asked);
    let response = next.run(request).await;
    drop(charge);
    if is_watch {
        // The place is held for as long as the watch goes on.
        return response.map(|body| Body::new(Keeping::new(body, place)));
    }
    let response = if zipped {
        compress::large(response).await
    } else {
        response
    };
    response.map(|body| held::until_read(body, place, hangup))
}

/// Finds out who asks, lets them in or not, and reads the body. User and body are in the request then.
async fn enter(
    api: &Api,
    request: &mut Request,
    asked: &Attributes,
) -> Result<(Place, Option<Charge>)> {
    let peer = request.extensions().get::<Peer>();
    let found = api.authenticator().request(peer, request.headers()).await;
    // Nothing behind this may see the credential, and nothing may log it.
    request.headers_mut().remove(header::AUTHORIZATION);
    let mut user = found.map_err(|_| ApiError::unauthorized())?;
    let tenant = Tenant::of(&user);
    if let Some(other) = impersonated(api, &user, request.headers())? {
        tracing::info!(user = user.name, other = other.name, "impersonation");
        user = other;
    }
    // Whoever watches over the hub need not be known to it.
    let open =
        !asked.is_resource() && matches!(asked.path.as_str(), "/livez" | "/readyz" | "/healthz");
    if let Some(judged) = request::judged(asked)
        && !open
    {
        demand(api, &user, &judged)?;
    }
    let charge = match body::limit(api, asked) {
        Some(limit) => {
            let body = std::mem::take(request.body_mut());
            let (bytes, charge) = api.intake().read(&tenant, body, limit).await?;
            *request.body_mut() = Body::from(bytes);
            Some(charge)
        }
        None => None,
    };
    let place = api.flow().enter(&tenant, asked).await?;
    request.extensions_mut().insert(tenant);
    request.extensions_mut().insert(user);
    Ok((place, charge))
}

/// Whom the user acts as, if that is asked for and allowed.
fn impersonated(api: &Api, user: &User, headers: &HeaderMap) -> Result<Option<User>> {
    let wanted = Impersonation::read(headers).map_err(ApiError::bad_request)?;
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    for right in wanted.rights() {
        demand(api, user, &right)?;
    }
    Ok(Some(wanted.into_user()))
}

fn demand(api: &Api, user: &User, asked: &Attributes) -> Result<()> {
    match api.registry().authorizer().authorize(user, asked) {
        Decision::Allowed(_) => Ok(()),
        Decision::Denied(reason) => {
            let Attributes { verb, path, .. } = asked;
            tracing::info!(user = user.name, verb, path, "request denied");
            Err(error::denied(user, asked, &reason))
        }
    }
}
