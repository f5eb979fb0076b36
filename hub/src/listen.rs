//! The Kubernetes API on TLS connections: HTTP/1.1 and HTTP/2.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::tls::{Acceptor, Conn, Peer};

/// Connections of users and controllers; agents have a port of their own.
pub const MOST_CONNECTIONS: usize = 8192;
/// A request's head has to arrive within it; an idle HTTP/1.1 connection lasts no longer either.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection without a request for this long after its handshake is closed: a place is not held for nothing.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Requests on one HTTP/2 connection, as kube-apiserver allows.
const STREAMS: u32 = 250;
/// Requests that are under way when the hub stops may take this long.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// Serves `router` until stopped; then lets requests end for a while. The [`Peer`] of the connection is in every
/// request's extensions.
pub async fn serve(mut acceptor: Acceptor, router: Router, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    while let Some(conn) = stop.run_until_cancelled(acceptor.next()).await.flatten() {
        let asked = Arc::new(AtomicBool::new(false));
        let connection = connection(conn, router.clone(), Arc::clone(&asked));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection ended");
                    }
                }
                () = silent(asked) => tracing::debug!("a connection without a request was closed"),
            }
        });
    }
    // Watches have ended by then: they stop with the same token.
    if tokio::time::timeout(LAST_REQUESTS, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests were cut off");
    }
}

/// Ends when nothing was asked in time, and else never.
async fn silent(asked: Arc<AtomicBool>) {
    tokio::time::sleep(FIRST_REQUEST).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

fn connection(
    conn: Conn,
    router: Router,
    asked: Arc<AtomicBool>,
) -> impl hyper_util::server::graceful::GracefulConnection<
    Error = Box<dyn std::error::Error + Send + Sync>,
> + Send
+ 'static {
    let peer = Peer::clone(conn.peer());
    let service = router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(peer.clone());
        request
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .max_concurrent_streams(STREAMS);
    builder
        .serve_connection(TokioIo::new(conn), TowerToHyperService::new(service))
        .into_owned()
}
