use std::time::Duration;

use koinon_proto::{
    MAX_MESSAGE,
    v1::{Issued, PullChunk, PullRequest, RenewRequest, WorkRef, session_client::SessionClient},
};
use tonic::{Status, Streaming, transport::Channel};

/// Longest wait for a renewal.
const RENEW_TIMEOUT: Duration = Duration::from_secs(30);

/// The unary side of an open session: pulls and renewals over the same connection.
#[derive(Debug, Clone)]
pub struct Puller {
    client: SessionClient<Channel>,
}

impl Puller {
    pub(super) fn new(channel: Channel) -> Self {
        Self {
            client: SessionClient::new(channel)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
        }
    }

    /// Asks for bodies.
    ///
    /// # Errors
    /// Fails when the hub refuses or the connection is gone.
    pub async fn pull(&mut self, works: Vec<WorkRef>) -> Result<Streaming<PullChunk>, Status> {
        Ok(self.client.pull(PullRequest { works }).await?.into_inner())
    }

    /// Asks for a new certificate.
    ///
    /// # Errors
    /// Fails when the hub refuses, the connection is gone or it takes too long.
    pub async fn renew(&mut self, request: RenewRequest) -> Result<Issued, Status> {
        match tokio::time::timeout(RENEW_TIMEOUT, self.client.renew(request)).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(Status::deadline_exceeded("the hub did not answer in time")),
        }
    }

    pub(super) const fn client(&mut self) -> &mut SessionClient<Channel> {
        &mut self.client
    }
}
