//! `/livez`, `/readyz` and `/healthz`, whole and check by check, as kube-apiserver has and words them.

use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use http::{HeaderValue, StatusCode, Uri, header};
use koinon_machinery::ApiError;

use super::{Api, error, query::Query, respond};

/// What whoever answers passes.
const PING: &str = "ping";
/// The registry can be read and written.
const REGISTRY: &str = "registry";
/// The hub is not about to end; in Kubernetes' words.
const SHUTDOWN: &str = "shutdown";

/// What a path looks at. `/healthz` is another name of `/livez`: what cannot reach its registry lives.
fn checks(path: &str) -> &'static [&'static str] {
    if path == "readyz" {
        &[PING, REGISTRY, SHUTDOWN]
    } else {
        &[PING]
    }
}

async fn passes(api: &Api, check: &str) -> bool {
    match check {
        REGISTRY => api.registry().catch_up().await.is_ok(),
        SHUTDOWN => !api.stop().is_cancelled(),
        _ => true,
    }
}

/// All checks of the path: `ok`, or with `?verbose`, and whenever one fails, each of them. `?exclude=` leaves one out.
pub(super) async fn all(
    State(api): State<Api>,
    Extension(query): Extension<Query>,
    uri: Uri,
) -> Response {
    let path = uri.path().trim_matches('/');
    let mut excluded: Vec<&str> = query.all("exclude").collect();
    let (mut told, mut healthy) = (String::new(), true);
    for check in checks(path) {
        if excluded.contains(check) {
            excluded.retain(|name| name != check);
            told.push_str(&format!("[+]{check} excluded: ok\n"));
        } else if passes(&api, check).await {
            told.push_str(&format!("[+]{check} ok\n"));
        } else {
            healthy = false;
            // Anybody may ask. What is wrong is in the log, and on the private port.
            told.push_str(&format!("[-]{check} failed: reason withheld\n"));
        }
    }
    if !excluded.is_empty() {
        excluded.sort_unstable();
        excluded.dedup();
        let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
        let names = names.join(", ");
        told.push_str(&format!(
            "warn: some health checks cannot be excluded: no matches for {names}\n"
        ));
    }
    match (healthy, query.raw_present("verbose")) {
        (true, false) => text(StatusCode::OK, "ok".to_owned()),
        (true, true) => text(StatusCode::OK, format!("{told}{path} check passed\n")),
        (false, _) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{told}{path} check failed\n"),
        ),
    }
}

/// One check of a path.
pub(super) async fn one(State(api): State<Api>, Path(name): Path<String>, uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    let path = path.split('/').next().unwrap_or_default();
    match checks(path).iter().find(|check| **check == name) {
        None => error::response(&ApiError::no_such_resource()),
        Some(check) if passes(&api, check).await => text(StatusCode::OK, "ok".to_owned()),
        Some(check) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{check} failed: reason withheld\n"),
        ),
    }
}

fn text(code: StatusCode, words: String) -> Response {
    let mut response = respond::raw(code, words);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
