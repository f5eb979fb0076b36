//! Liveness, readiness, metrics and task listings over plain HTTP.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{controllers::Reports, metrics::Metrics, tasks::Tasks};

/// One thing that must hold for the hub to be ready: its name, and how it is asked.
pub type Check = (
    &'static str,
    Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
);

/// A check that takes longer has failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// What the health listener shows.
pub struct Health {
    /// All must pass for `/readyz`.
    pub checks: Vec<Check>,
    /// Rendered by `/metrics`.
    pub metrics: Metrics,
    /// Listed by `/debug/tasks`.
    pub tasks: Vec<(&'static str, Tasks)>,
    /// Listed there too.
    pub controllers: Reports,
    /// Once cancelled, the hub is not ready.
    pub stopping: CancellationToken,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

/// Serves until stopped.
///
/// # Errors
///
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/debug/tasks", get(tasks))
        .with_state(Arc::new(health));
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await?;
    Ok(())
}

async fn readyz(State(health): State<Arc<Health>>) -> Response {
    let mut lines = String::new();
    let mut ready = !health.stopping.is_cancelled();
    if !ready {
        lines.push_str("[-]shutdown failed: stopping\n");
    }
    for (name, check) in &health.checks {
        match tokio::time::timeout(CHECK_TIMEOUT, check())
            .await
            .unwrap_or_else(|_| Err("timed out".to_owned()))
        {
            Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
            Err(reason) => {
                ready = false;
                lines.push_str(&format!("[-]{name} failed: {reason}\n"));
            }
        }
    }
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, lines).into_response()
}

async fn metrics(State(health): State<Arc<Health>>) -> Response {
    match health.metrics.render() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn tasks(State(health): State<Arc<Health>>) -> Response {
    let groups: std::collections::BTreeMap<_, _> = health
        .tasks
        .iter()
        .map(|(name, tasks)| (*name, tasks.list()))
        .collect();
    let shown = serde_json::json!({ "tasks": groups, "controllers": health.controllers.list() });
    Json(shown).into_response()
}
