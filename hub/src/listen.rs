//! The Kubernetes API on TLS connections: HTTP/1.1 and HTTP/2.

mod line;
mod lingering;

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, response::Response};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulConnection, GracefulShutdown},
    },
    service::TowerToHyperService,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use self::{
    line::{Line, Lines},
    lingering::Lingering,
};
use crate::{
    keeping::Keeping,
    rest::Hangup,
    tls::{Acceptor, Conn, Peer},
};

/// Connections of users and controllers; agents have a port of their own. When there are more, those are closed on which
/// nothing is going on, for the longest, from where most come from.
pub const MOST_CONNECTIONS: usize = 8192;
/// Connections that are about to be closed for others, beyond those.
pub const CLOSING: usize = 256;
/// A request's head has to arrive within it; an idle HTTP/1.1 connection lasts no longer either. Longer than clients keep one that
/// they do not use (Go's and hyper's 90 s): a request must not meet a connection that is just being closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// A connection without a request for this long after its handshake is closed: a place is not held for nothing.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Requests on one HTTP/2 connection, as kube-apiserver allows.
const STREAMS: u32 = 250;
/// Requests that are under way when the hub stops may take this long.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// Serves `router` until stopped; then lets requests end for a while. The [`Peer`] of the connection is in every
/// request's extensions, and its [`Hangup`].
///
/// At most `most` connections are kept open: the acceptor should take some more, for the new one comes before an old one goes.
pub async fn serve(mut acceptor: Acceptor, router: Router, most: usize, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let lines = Lines::new(most);
    while let Some(conn) = stop.run_until_cancelled(acceptor.next()).await.flatten() {
        let line = lines.open(conn.peer().address.ip());
        let connection = connection(conn, router.clone(), Arc::clone(&line));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection ended");
                    }
                }
                () = line.hung_up() => tracing::debug!("a connection was cut off or made way for others"),
                () = silent(&line) => tracing::debug!("a connection without a request was closed"),
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
async fn silent(line: &Line) {
    tokio::time::sleep(FIRST_REQUEST).await;
    if line.was_used() {
        std::future::pending::<()>().await;
    }
}

fn connection(
    conn: Conn,
    router: Router,
    line: Arc<Line>,
) -> impl GracefulConnection<Error = Box<dyn std::error::Error + Send + Sync>> + Send + 'static {
    let peer = Peer::clone(conn.peer());
    let service = tower::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let busy = line.busy();
        let (head, body) = request.into_parts();
        let body = Lingering::new(body, head.version, &head.headers);
        let mut request = http::Request::from_parts(head, Body::new(body));
        let extensions = request.extensions_mut();
        extensions.insert(peer.clone());
        extensions.insert(Hangup(line.hangup()));
        let answer = router.clone().oneshot(request);
        async move {
            let answer: Response = answer.await?;
            // Not idle until the last of the answer has left.
            let kept = answer.map(|body| Body::new(Keeping::new(body, busy)));
            Ok::<_, std::convert::Infallible>(kept)
        }
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
