//! The gRPC services: who calls, and to whom the call goes.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, TryStreamExt as _};
use koinon_proto::{
    MAX_MESSAGE,
    v1::{
        AgentMessage, EnrolRequest, EnrolResponse, HubMessage, Issued, PullChunk, PullRequest,
        RenewRequest,
        enrolment_server::{Enrolment, EnrolmentServer},
        session_server::{Session, SessionServer},
    },
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use super::{
    Agents,
    crowd::Crowd,
    enrol, pull, renew, session,
    trail::{Call, Trail, agent_of, stranger},
};
use crate::{
    clock,
    pki::Enrolled,
    tls::{Acceptor, Peer},
};

/// Window of a stream and of a connection: bounds what a hostile peer makes the hub hold.
const WINDOW: u32 = 64 * 1024;
/// One session, some pulls, a renewal.
const STREAMS: u32 = 16;
/// Dead connections are noticed after one interval and one timeout.
const KEEPALIVE: Duration = Duration::from_secs(20);
const HEADERS: u32 = 16 * 1024;

/// Serves agents until stopped; sessions have to be drained for it to end.
///
/// # Errors
///
/// If the server fails.
pub async fn serve(
    acceptor: Acceptor,
    agents: Agents,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let enrolment = EnrolmentServer::new(agents.clone()).max_decoding_message_size(64 * 1024);
    let session = SessionServer::new(agents)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let crowd = Crowd::default();
    let incoming = acceptor.into_stream().map_ok(move |conn| crowd.admit(conn));
    Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .http2_max_header_list_size(HEADERS)
        .add_service(enrolment)
        .add_service(session)
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await?;
    Ok(())
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Enrolment for Agents {
    async fn enrol(
        &self,
        request: Request<EnrolRequest>,
    ) -> Result<Response<EnrolResponse>, Status> {
        let peer = peer(&request)?;
        enrol::enrol(self, &peer, request.into_inner())
            .await
            .map(Response::new)
    }
}

#[tonic::async_trait]
impl Session for Agents {
    type AttachStream = Answers<HubMessage>;
    type PullStream = Answers<PullChunk>;

    /// Answers at once: a client's call returns with the response headers, and only then does it wait for messages.
    async fn attach(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let peer = peer(&request)?;
        let (agent, not_after) = self.identity(&peer, Call::Attach)?;
        let cluster = agent.subject.cluster.as_str();
        let trail = Trail::note(self, &peer, agent_of(&peer), cluster, Call::Attach);
        let stream = session::stream(self.clone(), agent, not_after, request.into_inner(), trail);
        Ok(Response::new(Box::pin(stream)))
    }

    async fn pull(
        &self,
        request: Request<PullRequest>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let peer = peer(&request)?;
        let (agent, _) = self.identity(&peer, Call::Pull)?;
        if let Err(status) = self.own_cluster(&agent).await {
            let cluster = agent.subject.cluster.as_str();
            Trail::note(self, &peer, agent_of(&peer), cluster, Call::Pull).refused(&status);
            return Err(status);
        }
        let cluster = Arc::from(agent.subject.cluster);
        let stream = pull::pull(self, cluster, request.into_inner()).await?;
        Ok(Response::new(Box::pin(stream)))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<Issued>, Status> {
        let peer = peer(&request)?;
        let (agent, _) = self.identity(&peer, Call::Renew)?;
        renew::renew(self, &peer, &agent, request.get_ref())
            .await
            .map(Response::new)
    }
}

impl Agents {
    /// The caller's identity and the end of its validity, from its verified certificate and nothing else (P6).
    fn identity(&self, peer: &Peer, call: Call) -> Result<(Enrolled, i64), Status> {
        let shown = peer.certificate.as_ref();
        let identity = shown.and_then(|shown| Some((shown.agent.clone()?, shown.not_after)));
        let (reason, words) = match identity {
            None => ("no_identity", "an agent's certificate is required"),
            // It was good when the connection began, which may be long ago.
            Some((_, not_after)) if clock::until_unix(not_after).is_zero() => {
                ("expired", "the agent's certificate has expired")
            }
            Some(identity) => return Ok(identity),
        };
        self.0.metrics.reject(reason);
        let status = Status::unauthenticated(words);
        stranger(self, peer, call, &status);
        Err(status)
    }
}

fn peer<T>(request: &Request<T>) -> Result<Arc<Peer>, Status> {
    let peer = request.extensions().get::<Arc<Peer>>();
    peer.cloned()
        .ok_or_else(|| Status::internal("the connection has no peer"))
}
