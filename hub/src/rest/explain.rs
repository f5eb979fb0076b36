//! Why a placement chose what it chose: `placements/explain`, and `/debug/placements/` as OCM serves it.
//!
//! Whoever may get a placement may have it explained. Clusters that the user may not get are counted and not named. An explanation
//! looks at a whole fleet: only few are made at the same time, of one user one, from before the first read to the end.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Extension,
    body::Body,
    extract::{Path, State},
    response::Response,
};
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use koinon_api::Placement;
use koinon_machinery::{
    ApiError, Object, Result,
    placement::{MayName, Name},
};
use koinon_store::{Revision, Stored, Unknown};
use serde_json::Value;

use super::{Api, body, call::Call, error, respond, tenant::Tenant};
use crate::{
    auth::User,
    authz::Attributes,
    clock,
    explain::{self, DECISIONS, Question, RESOURCES, Scene},
    registry,
};

const GROUP: &str = "cluster.open-cluster-management.io";
/// OCM's bound on a placement that is asked about.
pub(super) const LIMIT: usize = 1 << 20;

/// Answers `GET …/placements/NAME/explain`. Parameters: `cluster`, and `revision` with the snapshot of an old decision.
pub(super) async fn explain(call: &Call) -> Result<Response> {
    let name = (call.asked.namespace.clone(), call.asked.name.clone());
    let revision = call.query.integer("revision")?.map(Revision);
    let only = call.query.text("cluster").map(str::to_owned);
    let asks = (&call.user, &call.tenant);
    let about = About {
        name,
        cluster: only,
        revision,
        hypothesis: None,
    };
    let answer = in_turn(&call.api, asks, about, move |scene, may_name| {
        let mut answer = scene.explain(may_name)?;
        if let Some(revision) = revision {
            answer["snapshot"] = revision.to_string().into();
        }
        Some(answer)
    })
    .await?;
    let answer = answer.ok_or_else(|| ApiError::not_found(&call.kind.info, &call.asked.name))?;
    Ok(respond::json(StatusCode::OK, &answer))
}

/// Answers `/debug/placements/NAMESPACE/NAME`, and a dry run of the placement in the body of a POST.
pub(super) async fn debug(
    State(api): State<Api>,
    Extension(user): Extension<User>,
    Extension(tenant): Extension<Tenant>,
    method: Method,
    path: Option<Path<(String, String)>>,
    headers: HeaderMap,
    content: Body,
) -> Response {
    let done = match (method, path) {
        (Method::GET, Some(Path(name))) => known(&api, (&user, &tenant), name).await,
        (Method::POST, _) => dry_run(&api, (&user, &tenant), &headers, content).await,
        (Method::GET, None) => Err(ApiError::bad_request(
            "name a placement: /debug/placements/NAMESPACE/NAME",
        )),
        _ => Err(ApiError::method_not_allowed()),
    };
    done.unwrap_or_else(|error| error::response(&error))
}

async fn known(api: &Api, asks: Asks<'_>, name: Name) -> Result<Response> {
    demand(api, asks.0, "get", &name)?;
    let about = About {
        name: name.clone(),
        cluster: None,
        revision: None,
        hypothesis: None,
    };
    let answer = in_turn(api, asks, about, |scene, may_name| scene.debug(may_name)).await?;
    let answer = answer.ok_or_else(|| {
        let kinds = api.registry().kinds();
        let kind = kinds.find(GROUP, "v1beta1", "placements");
        kind.map_or_else(ApiError::no_such_resource, |kind| {
            ApiError::not_found(&kind.info, &name.1)
        })
    })?;
    Ok(respond::json(StatusCode::OK, &answer))
}

async fn dry_run(
    api: &Api,
    asks: Asks<'_>,
    headers: &HeaderMap,
    content: Body,
) -> Result<Response> {
    let bytes = body::read(content, LIMIT).await?;
    let read = body::decode(&body::media_type(headers), &bytes)?;
    let placement = hypothetical(api, read.value)?;
    let name = (
        placement.metadata.namespace.clone().unwrap_or_default(),
        placement.metadata.name.clone().unwrap_or_default(),
    );
    if name.0.is_empty() {
        return Err(ApiError::bad_request("the placement names no namespace"));
    }
    demand(api, asks.0, "create", &name)?;
    let about = About {
        name,
        cluster: None,
        revision: None,
        hypothesis: Some(Box::new(placement)),
    };
    let answer = in_turn(api, asks, about, |scene, may_name| scene.debug(may_name)).await?;
    Ok(respond::json(StatusCode::OK, &answer.unwrap_or_default()))
}

/// The placement of a dry run, with the defaults of one that is created; what is refused there is refused here.
fn hypothetical(api: &Api, value: Value) -> Result<Placement> {
    let kinds = api.registry().kinds();
    let kind = kinds
        .find(GROUP, "v1beta1", "placements")
        .ok_or_else(ApiError::no_such_resource)?;
    let mut object = Object::from_value(value)?;
    kind.info.schema.normalize(&mut object);
    let causes = kind.info.schema.validate(&object, None);
    if !causes.is_empty() {
        return Err(ApiError::invalid(&kind.info, object.name(), causes));
    }
    serde_json::from_value(object.into_value())
        .map_err(|error| ApiError::bad_request(format!("the body is no Placement: {error}")))
}

fn demand(api: &Api, user: &User, verb: &str, name: &Name) -> Result<()> {
    let asked = Attributes::of(verb, GROUP, "placements")
        .within(&name.0)
        .named(&name.1);
    if api.registry().authorizer().allows(user, &asked) {
        Ok(())
    } else {
        Err(error::denied(user, &asked, ""))
    }
}

/// Who asks, and whose turn it takes.
type Asks<'a> = (&'a User, &'a Tenant);

/// What is asked about.
struct About {
    name: Name,
    /// Nobody else.
    cluster: Option<String>,
    /// As it was at that revision.
    revision: Option<Revision>,
    /// As if this were the placement.
    hypothesis: Option<Box<Placement>>,
}

/// Has a placement explained when it is this tenant's turn, where nobody waits for the thread.
///
/// What has begun goes on when the client gives up, and keeps its turn until it has ended: else one who asks and leaves, again and
/// again, has any number of explanations made at once.
async fn in_turn<T: Send + 'static>(
    api: &Api,
    (user, tenant): Asks<'_>,
    about: About,
    answer: impl FnOnce(&Scene, MayName<'_>) -> T + Send + 'static,
) -> Result<T> {
    let turn = api.flow().explain(tenant).await?;
    let (api, user) = (api.clone(), user.clone());
    let failed = |_| ApiError::internal("the explanation failed");
    let work = async move {
        let (question, objects) = gather(&api, about).await?;
        let authorizer = api.registry().authorizer().clone();
        let evaluation = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let scene = Scene::new(question, objects.iter().map(AsRef::as_ref));
            let may_name = |cluster: &str| {
                authorizer.allows(
                    &user,
                    &Attributes::of("get", GROUP, "managedclusters").named(cluster),
                )
            };
            answer(&scene, &may_name)
        });
        evaluation.await.map_err(failed)
    };
    tokio::spawn(work).await.map_err(failed)?
}

/// The objects that a placement depends on, as they are or as they were.
async fn gather(api: &Api, about: About) -> Result<(Question, Vec<Arc<Stored>>)> {
    let store = api.registry().store();
    let About {
        name,
        cluster,
        revision,
        hypothesis,
    } = about;
    let mut question = Question {
        placement: name.clone(),
        cluster,
        hypothesis,
        now: clock::now(),
    };
    let objects: Vec<Arc<Stored>> = match revision {
        None => {
            store
                .fresh()
                .await
                .map_err(|error| registry::unavailable(&error))?;
            let all = RESOURCES.iter().map(|resource| store.snapshot(resource));
            all.flat_map(|snapshot| snapshot.iter().cloned().collect::<Vec<_>>())
                .collect()
        }
        Some(revision) => {
            let past = store.recall(&RESOURCES, revision).await.map_err(refused)?;
            let of_placement = |stored: &Stored| explain::decided_from(stored).map(|(of, _)| of);
            let marked = store
                .marked(DECISIONS, revision, &explain::stamp(revision.0))
                .await
                .map_err(refused)?;
            // Placements that were decided in one run are decided in the order of their names, each with what was decided
            // before it, which was written later.
            let before: Vec<&Stored> = marked
                .iter()
                .filter(|stored| of_placement(stored).is_some_and(|of| of < name))
                .collect();
            let keys: BTreeSet<_> = before.iter().map(|stored| stored.key.clone()).collect();
            let own = marked
                .iter()
                .filter(|stored| of_placement(stored).as_ref() == Some(&name));
            if let Some(at) = own
                .filter_map(|stored| past.changed.get(&stored.key))
                .copied()
                .reduce(f64::min)
            {
                question.now = moment(at);
            }
            let before = before.into_iter().cloned().map(Arc::new);
            let objects = past.objects.into_iter();
            objects
                .filter(|stored| !keys.contains(&stored.key))
                .chain(before)
                .collect()
        }
    };
    Ok((question, objects))
}

/// A moment in seconds since 1970; the log keeps microseconds.
#[expect(
    clippy::cast_possible_truncation,
    reason = "this side of the year 200,000"
)]
fn moment(seconds: f64) -> Timestamp {
    Timestamp::from_microsecond((seconds * 1e6) as i64).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn refused(error: Unknown) -> ApiError {
    match error {
        Unknown::Expired { .. } => ApiError::expired(error.to_string()),
        Unknown::Ahead { .. } => ApiError::bad_request(error.to_string()),
        Unknown::Unavailable(error) => registry::unavailable(&error),
    }
}
