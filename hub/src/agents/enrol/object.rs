//! The `ManagedCluster` that an enrolment is for.

use k8s_openapi::api::core::v1::Namespace;
use koinon_api::{ManagedCluster, labels::label};
use koinon_machinery::Reason;

use super::{
    error::Error,
    standing::{accept_once, new_cluster},
};
use crate::{
    agents::{Agents, token::Applicant},
    registry::{Client, Preconditions},
};

/// Makes the `ManagedCluster` of an applicant, not accepted; says which one, if it was this call that made it.
pub(super) async fn make(
    agents: &Agents,
    applicant: &mut Applicant,
) -> Result<Option<ManagedCluster>, Error> {
    let client = &agents.0.client;
    let name = applicant.cluster.as_str();
    refuse_tenant(client, name)?;
    let (cluster, made) = match client.create(&new_cluster(name)).await {
        Ok(cluster) => (cluster.clone(), Some(cluster)),
        Err(error) if error.reason == Reason::AlreadyExists => {
            agents.store().fresh().await?;
            let gone = || Error::Unavailable("the cluster was deleted at this moment".into());
            let cluster = client.get::<ManagedCluster>("", name)?;
            (cluster.ok_or_else(gone)?, None)
        }
        Err(error) => return Err(error.into()),
    };
    applicant.object = uid_of(&cluster);
    Ok(made)
}

/// Refuses a name whose namespace is somebody else's: a cluster reads what is in its namespace, and takes it along when it goes.
///
/// The namespace of a cluster that was there before carries its label; an admin may put that on any other.
fn refuse_tenant(client: &Client, name: &str) -> Result<(), Error> {
    let Some(namespace) = client.get::<Namespace>("", name)? else {
        return Ok(());
    };
    let labels = namespace.metadata.labels.unwrap_or_default();
    match labels.get(label::CLUSTER_NAME) {
        Some(cluster) if cluster == name => Ok(()),
        _ => Err(Error::Occupied(name.to_owned())),
    }
}

/// Takes back what an enrolment made that was then refused.
pub(super) async fn unmake(agents: &Agents, made: Option<ManagedCluster>) {
    let Some(cluster) = made else { return };
    let name = cluster.metadata.name.clone().unwrap_or_default();
    let only = Preconditions {
        uid: cluster.metadata.uid,
        resource_version: None,
    };
    let client = &agents.0.client;
    if let Err(error) = client.delete::<ManagedCluster>("", &name, only).await {
        // An object that nobody accepted stays, for an admin to see.
        tracing::warn!(cluster = name, %error, "a refused cluster was not taken back");
    }
}

/// Accepts the `ManagedCluster` that a use was spent on, where the token says so.
///
/// As in OCM a cluster is accepted automatically once: an admin's later denial stays.
pub(super) async fn accept(
    agents: &Agents,
    applicant: &Applicant,
    auto: bool,
) -> Result<ManagedCluster, Error> {
    let change = |cluster: &mut ManagedCluster| {
        auto && uid_of(cluster) == applicant.object && accept_once(cluster)
    };
    let client = &agents.0.client;
    let cluster = client.modify::<ManagedCluster>("", &applicant.cluster, change);
    Ok(cluster.await?)
}

/// The uid of an object, as tokens' uses name it.
pub(super) fn uid_of(cluster: &ManagedCluster) -> String {
    cluster.metadata.uid.clone().unwrap_or_default()
}
