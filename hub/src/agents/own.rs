//! Which cluster a certificate opens: the one that it was issued for, while it is accepted (P6).

use koinon_api::ManagedCluster;
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};

use super::{
    Agents,
    enrol::{Standing, standing, uid},
};
use crate::pki::Enrolled;

/// What the agent of a former cluster is told, in words and as something that it can tell from other refusals.
fn former() -> Status {
    let mut said = MetadataMap::new();
    said.insert(
        koinon_proto::REFUSAL,
        MetadataValue::from_static(koinon_proto::FORMER_IDENTITY),
    );
    Status::with_metadata(
        Code::PermissionDenied,
        "the certificate is of a cluster that is not on the hub any more; enrol again",
        said,
    )
}

impl Agents {
    /// Returns the cluster whose agent shows a certificate. Attach, pull and renewal all begin with it.
    ///
    /// # Errors
    ///
    /// `PERMISSION_DENIED` if the cluster is not accepted, is gone, or has its name from another one that is gone; `UNAVAILABLE` if
    /// this replica cannot tell yet.
    pub(super) async fn own_cluster(&self, agent: &Enrolled) -> Result<ManagedCluster, Status> {
        let mut cluster = self.registered(agent)?;
        if cluster.is_none() {
            // Another replica may have enrolled it a moment ago.
            self.store().fresh().await.map_err(|_| {
                Status::unavailable("the registry does not answer; try again later")
            })?;
            cluster = self.registered(agent)?;
        }
        let Some(cluster) = cluster else {
            self.0.metrics.reject("former_identity");
            return Err(former());
        };
        match standing(&cluster) {
            Standing::Accepted => Ok(cluster),
            Standing::Settling => Err(Status::unavailable("the hub is preparing for the cluster")),
            Standing::Waiting | Standing::Denied => Err(Status::permission_denied(
                "the cluster is not accepted by the hub",
            )),
        }
    }

    /// The cluster that the certificate was issued for, as this replica knows it.
    fn registered(&self, agent: &Enrolled) -> Result<Option<ManagedCluster>, Status> {
        let found = self.0.client.get("", &agent.subject.cluster);
        let found = found.map_err(|error| Status::internal(error.message))?;
        Ok(found.filter(|cluster| uid(cluster) == Some(agent.uid)))
    }
}
