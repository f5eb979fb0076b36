//! Renewal: a new certificate for the same identity.

use koinon_proto::v1::{Issued, RenewRequest};
use tonic::Status;

use super::{Agents, enrol};
use crate::{
    pki::{Enrolled, approve::approve},
    telemetry::Chain,
};

/// Answers a renewal of `agent`, which is what the caller's certificate says.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for a bad request, `PERMISSION_DENIED` when the cluster is not accepted any more, or is another one by now,
/// `RESOURCE_EXHAUSTED` when it asks too often.
pub(super) async fn renew(
    agents: &Agents,
    agent: &Enrolled,
    request: &RenewRequest,
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
