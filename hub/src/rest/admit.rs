//! What every request passes before anything looks at it: who, in whose name, is it their turn, may they.

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use koinon_machinery::{ApiError, Result};

use super::{Api, compress, error, flow::Place, query::Query, request};
use crate::{
    auth::{Impersonation, User},
    authz::{Attributes, Decision},
    tls::Peer,
};

/// Decides whether the request may be made.
pub(super) async fn admit(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let asked = request::attributes(request.method(), request.uri(), &query);
    let place = match enter(&api, &mut request, &asked).await {
        Ok(place) => place,
        Err(refused) => return error::response(&refused),
    };
    let is_watch = asked.verb == "watch";
    let zipped = !is_watch && compress::is_accepted(request.headers());
    let extensions = request.extensions_mut();
    extensions.insert(query);
    extensions.insert(asked);
    let response = next.run(request).await;
    if is_watch {
        // The place is held for as long as the watch goes on.
        return response.map(|body| {
            Body::new(Held {
                body,
                _place: place,
            })
        });
    }
    if zipped {
        compress::large(response).await
    } else {
        response
    }
}

/// Finds out who asks and lets them in, or not. The user is in the request's extensions then.
async fn enter(api: &Api, request: &mut Request, asked: &Attributes) -> Result<Place> {
    let peer = request.extensions().get::<Peer>();
    let found = api.authenticator().request(peer, request.headers()).await;
    // Nothing behind this may see the credential, and nothing may log it.
    request.headers_mut().remove(header::AUTHORIZATION);
    let mut user = found.map_err(|_| ApiError::unauthorized())?;
    if let Some(other) = impersonated(api, &user, request.headers())? {
        tracing::info!(user = user.name, other = other.name, "impersonation");
        user = other;
    }
    let place = api.flow().enter(&user, asked).await?;
    // Whoever watches over the hub need not be known to it.
    let open =
        !asked.is_resource() && matches!(asked.path.as_str(), "/livez" | "/readyz" | "/healthz");
    if let Some(judged) = request::judged(asked)
        && !open
    {
        demand(api, &user, &judged)?;
    }
    request.extensions_mut().insert(user);
    Ok(place)
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

/// A body that holds a place in a lane until it has ended.
struct Held {
    body: Body,
    _place: Place,
}

impl HttpBody for Held {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<std::result::Result<Frame<Self::Data>, Self::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
