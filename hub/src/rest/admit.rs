//! What every request passes before anything looks at it: who, in whose name, may they, its body, is it their turn. And what is
//! recorded of it.

mod recording;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use http::{HeaderMap, header};
use koinon_machinery::{ApiError, Result};

use self::recording::Asked;
use super::{
    Api,
    basis::{self, Basis},
    body, compress,
    deadline::Deadline,
    error,
    flow::Place,
    held::{self, Hangup},
    intake::Charge,
    query::Query,
    request,
    tenant::Tenant,
};
use crate::{
    auth::{AUTHENTICATED, Impersonation, User},
    authz::Attributes,
    keeping::Keeping,
    tls::Peer,
};

/// Decides whether the request may be made, and has it recorded.
pub(super) async fn admit(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let asked = request::attributes(request.method(), request.uri(), &query);
    let who = identify(&api, &mut request).await;
    let noted = Asked::note(&api, &request, &who, &asked);
    let is_watch = asked.verb == "watch";
    let entered = match Deadline::read(&query, is_watch) {
        Ok(deadline) => {
            let entered = deadline.entering(enter(&api, who, &mut request, &asked));
            entered.await.map(|entered| (entered, deadline))
        }
        Err(refused) => Err(refused),
    };
    let (entered, deadline) = match entered {
        Ok(entered) => entered,
        Err(refused) => {
            noted.refused(&refused);
            return error::response(&refused);
        }
    };
    let recording = match noted.begin(request.headers(), &entered.body) {
        Ok(recording) => recording,
        Err(refused) => return error::response(&refused),
    };
    let extensions = request.extensions_mut();
    extensions.insert(query);
    extensions.insert(asked);
    let response = carry_out(request, next, entered, deadline, is_watch).await;
    recording.end(response.status().as_u16(), Some("allow"));
    response
}

async fn carry_out(
    request: Request,
    next: Next,
    entered: Entered,
    deadline: Deadline,
    is_watch: bool,
) -> Response {
    let Entered {
        place,
        charge,
        body: _,
    } = entered;
    let zipped = !is_watch && compress::is_accepted(request.headers());
    let hangup = request.extensions().get::<Hangup>().cloned();
    let response = match deadline.acting(next.run(request)).await {
        Ok(response) => response,
        Err(overdue) => error::response(&overdue),
    };
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

/// Who asks.
struct Who {
    /// As authenticated; nobody, if what was shown is no credential.
    user: User,
    /// In whose name, if in another's.
    acting_as: Option<User>,
    /// The rights that this takes.
    impersonates: Vec<Attributes>,
    /// Why the request is refused before it is looked at.
    refused: Option<ApiError>,
}

/// What a request holds that was let in.
struct Entered {
    place: Place,
    charge: Option<Charge>,
    /// The body that it came with.
    body: Bytes,
}

/// Finds out who asks.
async fn identify(api: &Api, request: &mut Request) -> Who {
    let peer = request.extensions().get::<Peer>();
    let found = api.authenticator().request(peer, request.headers()).await;
    // Nothing behind this may see the credential, and nothing may log it.
    request.headers_mut().remove(header::AUTHORIZATION);
    let Ok(user) = found else {
        return Who {
            user: User::anonymous(),
            acting_as: None,
            impersonates: Vec::new(),
            refused: Some(ApiError::unauthorized()),
        };
    };
    let (other, refused) = match impersonated(api, &user, request.headers()) {
        Ok(other) => (other, None),
        Err(refused) => (None, Some(refused)),
    };
    let (acting_as, impersonates) = other.unzip();
    Who {
        user,
        acting_as,
        impersonates: impersonates.unwrap_or_default(),
        refused,
    }
}

/// Lets them in or not, and reads the body. User and body are in the request then.
async fn enter(api: &Api, who: Who, request: &mut Request, asked: &Attributes) -> Result<Entered> {
    if let Some(refused) = who.refused {
        return Err(refused);
    }
    let tenant = Tenant::of(&who.user);
    let user = match who.acting_as {
        Some(other) => {
            tracing::info!(user = who.user.name, other = other.name, "impersonation");
            other
        }
        None => who.user.clone(),
    };
    let basis = Basis {
        user: who.user,
        impersonates: who.impersonates,
    };
    // Whoever watches over the hub need not be known to it.
    let open =
        !asked.is_resource() && matches!(asked.path.as_str(), "/livez" | "/readyz" | "/healthz");
    match request::judged(asked) {
        Some(judged) if !open => demand(api, &user, &judged)?,
        // Nothing is read of somebody whom nobody knows.
        None if !user.in_group(AUTHENTICATED) => return Err(error::denied(&user, asked, "")),
        _ => {}
    }
    let (body, charge) = match body::limit(api, asked) {
        Some(limit) => {
            let body = std::mem::take(request.body_mut());
            let (bytes, charge) = api.intake().read(&tenant, body, limit).await?;
            *request.body_mut() = Body::from(bytes.clone());
            (bytes, Some(charge))
        }
        None => (Bytes::new(), None),
    };
    // Whether the hub is well is asked by whoever sends it its users: a storm under the same name, nobody's, must not make it look ill.
    let place = if open {
        Place::exempt()
    } else {
        api.flow().enter(&tenant, asked).await?
    };
    request.extensions_mut().insert(tenant);
    request.extensions_mut().insert(Arc::new(basis));
    request.extensions_mut().insert(user);
    Ok(Entered {
        place,
        charge,
        body,
    })
}

/// Whom the user acts as, and by which rights, if that is asked for and allowed.
fn impersonated(
    api: &Api,
    user: &User,
    headers: &HeaderMap,
) -> Result<Option<(User, Vec<Attributes>)>> {
    let wanted = Impersonation::read(headers).map_err(ApiError::bad_request)?;
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    let rights = wanted.rights();
    for right in &rights {
        demand(api, user, right)?;
    }
    Ok(Some((wanted.into_user(), rights)))
}

fn demand(api: &Api, user: &User, asked: &Attributes) -> Result<()> {
    basis::demand(api, user, asked).inspect_err(|_| {
        let Attributes { verb, path, .. } = asked;
        // Anybody can make any number of these.
        tracing::debug!(user = user.name, verb, path, "request denied");
    })
}
