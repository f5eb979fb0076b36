//! The Kubernetes API over HTTP.
//!
//! ```text
//!   request ─► catch panics ─► who ─► what ─► may they ─► body ─► turn ─► verb ─► registry or cache
//!                              auth   request  authz      intake   flow   (one file each, none knows a kind)
//! ```
//!
//! Whatever goes wrong is a Kubernetes `Status`, made in [`error`] and nowhere else.

mod admit;
mod apply;
mod audit;
mod basis;
mod body;
mod call;
mod compress;
mod create;
mod deadline;
mod delete;
mod discovery;
mod error;
mod explain;
mod flow;
mod get;
mod health;
mod held;
mod intake;
mod list;
mod openapi;
mod options;
mod pace;
mod pages;
mod patch;
mod present;
mod protobuf;
mod query;
mod replace;
mod request;
mod respond;
mod reviews;
mod selection;
mod tenant;
mod token;
mod version;
mod watch;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State},
    middleware,
    response::Response,
    routing::{MethodRouter, any, get},
};
use koinon_machinery::{ApiError, ResourceInfo, Result, discovery::Discovery, openapi::OpenApi};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use self::{
    basis::Basis, call::Call, flow::Flow, intake::Intake, pages::Pages, query::Query,
    tenant::Tenant,
};
pub use self::{flow::Limits, held::Hangup};
use crate::{
    audit::Audit,
    auth::{Authenticator, User},
    authz::Attributes,
    registry::{Part, Registry},
};

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

struct Shared {
    registry: Registry,
    stop: CancellationToken,
    pages: Pages,
    discovery: Discovery,
    openapi: OpenApi,
    /// Whether the database did not answer when it was last asked.
    away: AtomicBool,
    authenticator: Authenticator,
    flow: Flow,
    intake: Intake,
    audit: Option<Audit>,
}

/// What the API needs beside its registry; the default knows certificates only.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Tells who asks.
    pub authenticator: Authenticator,
    /// How much is done at once.
    pub limits: Limits,
    /// Takes records of what is done.
    pub audit: Option<Audit>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

impl Api {
    /// An API on `registry` with default settings; watches end when `stop` is cancelled.
    pub fn new(registry: Registry, stop: CancellationToken) -> Self {
        Self::with(registry, stop, Settings::default())
    }

    /// The same with other settings.
    pub fn with(registry: Registry, stop: CancellationToken, settings: Settings) -> Self {
        let Settings {
            authenticator,
            limits,
            audit,
        } = settings;
        let kinds = registry.kinds().iter().map(|kind| Arc::clone(&kind.info));
        let served: Vec<Arc<ResourceInfo>> = kinds.chain(reviews::kinds()).collect();
        Self(Arc::new(Shared {
            discovery: Discovery::new(&served),
            openapi: OpenApi::new(&served, env!("CARGO_PKG_VERSION")),
            registry,
            stop,
            pages: Pages::default(),
            away: AtomicBool::new(false),
            authenticator,
            flow: Flow::new(limits),
            intake: Intake::default(),
            audit,
        }))
    }

    fn discovery(&self) -> &Discovery {
        &self.0.discovery
    }

    fn openapi(&self) -> &OpenApi {
        &self.0.openapi
    }

    fn registry(&self) -> &Registry {
        &self.0.registry
    }

    fn authenticator(&self) -> &Authenticator {
        &self.0.authenticator
    }

    fn flow(&self) -> &Flow {
        &self.0.flow
    }

    fn intake(&self) -> &Intake {
        &self.0.intake
    }

    fn audit(&self) -> Option<&Audit> {
        self.0.audit.as_ref()
    }

    fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    fn pages(&self) -> &Pages {
        &self.0.pages
    }

    fn is_away(&self) -> bool {
        self.0.away.load(Ordering::Relaxed)
    }

    fn set_away(&self, away: bool) {
        self.0.away.store(away, Ordering::Relaxed);
    }
}

/// Every path that is served, and by what. A test asks each of them as everybody; what is not here is not served.
fn routes() -> Vec<(&'static str, MethodRouter<Api>)> {
    vec![
        ("/", get(version::paths)),
        ("/livez", get(health::all)),
        ("/livez/{check}", get(health::one)),
        ("/healthz", get(health::all)),
        ("/healthz/{check}", get(health::one)),
        ("/readyz", get(health::all)),
        ("/readyz/{check}", get(health::one)),
        ("/version", get(version::version)),
        ("/version/", get(version::version)),
        (koinon_api::audit::PATH, get(audit::records)),
        ("/api", get(discovery::core)),
        ("/api/", get(discovery::core)),
        ("/apis", get(discovery::groups)),
        ("/apis/", get(discovery::groups)),
        ("/apis/{group}", get(discovery::group)),
        ("/apis/{group}/", get(discovery::group)),
        ("/api/{version}", get(discovery::core_version)),
        ("/api/{version}/", get(discovery::core_version)),
        ("/apis/{group}/{version}", get(discovery::group_version)),
        ("/apis/{group}/{version}/", get(discovery::group_version)),
        ("/openapi/v2", get(openapi::v2)),
        ("/openapi/v3", get(openapi::index)),
        ("/openapi/v3/", get(openapi::index)),
        ("/openapi/v3/{*path}", get(openapi::document)),
        ("/debug/placements", any(explain::debug)),
        ("/debug/placements/", any(explain::debug)),
        ("/debug/placements/{namespace}/{name}", any(explain::debug)),
        ("/api/{version}/{*path}", any(resource)),
        ("/apis/{group}/{version}/{*path}", any(resource)),
    ]
}

/// The patterns of all paths that are served, as axum writes them.
pub fn paths() -> Vec<&'static str> {
    routes().into_iter().map(|(path, _)| path).collect()
}

/// The API. A [`Peer`](crate::tls::Peer) in the request's extensions says who asks, or a token does.
pub fn router(api: Api) -> Router {
    let add = |router: Router<Api>, (path, served)| router.route(path, served);
    routes()
        .into_iter()
        .fold(Router::new(), add)
        .fallback(nothing)
        .method_not_allowed_fallback(not_allowed)
        .layer(middleware::from_fn_with_state(api.clone(), admit::admit))
        .layer(CatchPanicLayer::custom(error::panicked))
        .with_state(api)
}

/// Serves every resource.
async fn resource(
    State(api): State<Api>,
    Extension(user): Extension<User>,
    Extension(tenant): Extension<Tenant>,
    Extension(basis): Extension<Arc<Basis>>,
    Extension(query): Extension<Query>,
    Extension(asked): Extension<Attributes>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let answer = if reviews::is_one(&asked) {
        reviews::answer(&api, &asked, &user, &head.headers, body).await
    } else {
        match api
            .registry()
            .kinds()
            .find(&asked.group, &asked.version, &asked.resource)
        {
            None => Err(ApiError::no_such_resource()),
            Some(kind) => {
                let kind = Arc::clone(kind);
                let call = Call {
                    api,
                    kind,
                    asked,
                    user,
                    tenant,
                    basis,
                    query,
                    headers: head.headers,
                    hangup: head.extensions.get::<Hangup>().cloned(),
                };
                // On the heap, so that the layers around it do not move what the largest verb needs at every request.
                Box::pin(dispatch(&call, body)).await
            }
        }
    };
    answer.unwrap_or_else(|error| error::response(&error))
}

/// Finds the verb.
async fn dispatch(call: &Call, body: Body) -> Result<Response> {
    let (named, namespaced) = (
        !call.asked.name.is_empty(),
        !call.asked.namespace.is_empty(),
    );
    let is_namespace = call.kind.info.key() == "namespaces";
    match (call.asked.verb.as_str(), call.asked.subresource.as_str()) {
        // A cluster-scoped kind has no objects inside a namespace.
        _ if namespaced && !call.kind.info.namespaced && !is_namespace => {
            Err(ApiError::no_such_resource())
        }
        // A namespace is inside itself and holds no others: `/namespaces/mine/namespaces` would be judged by the rights in
        // one namespace and answered with all.
        ("list" | "watch" | "create" | "deletecollection", _) if is_namespace && namespaced => {
            Err(ApiError::no_such_resource())
        }
        _ if is_namespace && namespaced && call.asked.namespace != call.asked.name => {
            Err(ApiError::no_such_resource())
        }
        ("get" | "update" | "patch" | "delete", _) if call.kind.info.namespaced && !namespaced => {
            Err(ApiError::no_such_resource())
        }
        ("create" | "deletecollection", "") if call.kind.info.namespaced && !namespaced => {
            Err(ApiError::method_not_allowed())
        }
        // Nothing but a named object is updated.
        ("update" | "patch", "") if !named => Err(ApiError::method_not_allowed()),
        ("create", "") if !named => create::create(call, body).await,
        ("get", "") => get::get(call).await,
        ("list", "") => list::list(call).await,
        ("watch", "") => watch::watch(call).await,
        ("update", "") => replace::replace(call, body, Part::Main).await,
        ("patch", "") => patch::patch(call, body, Part::Main).await,
        ("delete", "") => delete::delete(call, body).await,
        ("deletecollection", "") => delete::delete_collection(call, body).await,
        ("get", request::STATUS) if call.kind.info.has_status => get::get(call).await,
        ("update", request::STATUS) if call.kind.info.has_status => {
            replace::replace(call, body, Part::Status).await
        }
        ("patch", request::STATUS) if call.kind.info.has_status => {
            patch::patch(call, body, Part::Status).await
        }
        ("get", request::EXPLAIN) if call.kind.info.has_subresource(request::EXPLAIN) => {
            explain::explain(call).await
        }
        ("create", request::TOKEN) if call.kind.info.has_subresource(request::TOKEN) => {
            token::create(call, body).await
        }
        ("get", request::APPROVAL) if call.kind.info.has_subresource(request::APPROVAL) => {
            get::get(call).await
        }
        ("update", request::APPROVAL) if call.kind.info.has_subresource(request::APPROVAL) => {
            replace::replace(call, body, Part::Approval).await
        }
        ("patch", request::APPROVAL) if call.kind.info.has_subresource(request::APPROVAL) => {
            patch::patch(call, body, Part::Approval).await
        }
        (_, "") => Err(ApiError::method_not_allowed()),
        (_, request::TOKEN | request::EXPLAIN | request::APPROVAL)
            if call.kind.info.has_subresource(&call.asked.subresource) =>
        {
            Err(ApiError::method_not_allowed())
        }
        (_, request::STATUS) if call.kind.info.has_status => Err(ApiError::method_not_allowed()),
        _ => Err(ApiError::no_such_resource()),
    }
}

async fn nothing() -> Response {
    error::response(&ApiError::no_such_resource())
}

async fn not_allowed() -> Response {
    error::response(&ApiError::method_not_allowed())
}
