//! Renewal: a new certificate for the same identity.

use koinon_proto::v1::{Issued, RenewRequest};
use tonic::Status;

use super::{
    Agents, enrol,
    trail::{Call, Trail, agent_of},
};
use crate::{
    pki::{Enrolled, approve::approve},
    telemetry::Chain,
    tls::Peer,
};

/// Answers a renewal of `agent`, which is what the caller's certificate says.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for a bad request, `PERMISSION_DENIED` when the cluster is not accepted any more, or is another one by now,
/// `RESOURCE_EXHAUSTED` when it asks too often.
pub(super) async fn renew(
    agents: &Agents,
    peer: &Peer,
    agent: &Enrolled,
    request: &RenewRequest,
) -> Result<Issued, Status> {
    let cluster = agent.subject.cluster.as_str();
    let mut trail = Trail::note(agents, peer, agent_of(peer), cluster, Call::Renew);
    match checked(agents, agent, request, &mut trail).await {
        Ok(issued) => {
            trail.done(201);
            Ok(issued)
        }
        Err(status) => {
            trail.refused(&status);
            Err(status)
        }
    }
}

async fn checked(
    agents: &Agents,
    agent: &Enrolled,
    request: &RenewRequest,
    trail: &mut Trail,
) -> Result<Issued, Status> {
    let cluster = agent.subject.cluster.as_str();
    let key = approve(&request.csr_der, &agent.subject).map_err(|refusal| {
        agents.0.metrics.enrolment("renewal_csr_refused");
        tracing::warn!(cluster, error = %refusal, "renewal refused");
        Status::invalid_argument(refusal.to_string())
    })?;
    if let Err(status) = agents.own_cluster(agent).await {
        agents.0.metrics.enrolment("renewal_denied");
        tracing::warn!(cluster, error = status.message(), "renewal refused");
        return Err(status);
    }
    trail.begin()?;
    match enrol::issue(agents, agent, &key).await {
        Ok(issued) => {
            agents.0.metrics.enrolment("renewed");
            tracing::info!(cluster, agent = agent.subject.agent, "certificate renewed");
            Ok(issued)
        }
        Err(error) => {
            tracing::warn!(cluster, error = %Chain(&error), "renewal failed");
            Err(Status::from(&error))
        }
    }
}
