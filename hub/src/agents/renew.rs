//! Renewal: a new certificate for the same identity.

use koinon_api::ManagedCluster;
use koinon_proto::v1::{Issued, RenewRequest};
use tonic::Status;

use super::{
    Agents,
    enrol::{self, Standing},
};
use crate::{
    pki::approve::{Subject, approve},
    telemetry::Chain,
};

/// Answers a renewal of `subject`, which is what the caller's certificate says.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for a bad request, `PERMISSION_DENIED` when the cluster is not accepted any more.
pub(super) async fn renew(
    agents: &Agents,
    subject: &Subject,
    request: &RenewRequest,
) -> Result<Issued, Status> {
    let key = approve(&request.csr_der, subject).map_err(|refusal| {
        agents.0.metrics.enrolment("renewal_csr_refused");
        tracing::warn!(cluster = subject.cluster, error = %refusal, "renewal refused");
        Status::invalid_argument(refusal.to_string())
    })?;
    let cluster = agents
        .0
        .client
        .get::<ManagedCluster>("", &subject.cluster)
        .ok()
        .flatten();
    if !cluster.is_some_and(|cluster| enrol::standing(&cluster) == Standing::Accepted) {
        agents.0.metrics.enrolment("renewal_denied");
        tracing::warn!(
            cluster = subject.cluster,
            "renewal refused: the cluster is not accepted"
        );
        return Err(Status::permission_denied(
            "the cluster is not accepted by the hub",
        ));
    }
    match enrol::issue(agents, subject, &key).await {
        Ok(issued) => {
            agents.0.metrics.enrolment("renewed");
            tracing::info!(
                cluster = subject.cluster,
                agent = subject.agent,
                "certificate renewed"
            );
            Ok(issued)
        }
        Err(error) => {
            tracing::warn!(cluster = subject.cluster, error = %Chain(&error), "renewal failed");
            Err(Status::from(&error))
        }
    }
}
