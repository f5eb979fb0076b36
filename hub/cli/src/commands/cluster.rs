//! `koinon cluster`: decisions about one cluster that only a person can make.

use clap::Subcommand;
use koinon_api::{ManagedCluster, labels::annotation, names::ClusterName};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    args::HubArgs,
    client::{Server, found},
    error::{Error, Result},
    output,
};

/// What to decide.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Let a restored hub that is behind what a cluster knows have its way there
    ///
    /// An agent that remembers a later state than the hub offers holds still, because the hub may have been restored
    /// from an old backup. This accepts what the hub offers now: the works that it has are brought to that state. Works
    /// that it no longer has stay in the cluster; make one of the same name and delete it, and they go.
    AcceptRollback {
        /// Name of the cluster.
        #[arg(value_name = "NAME")]
        name: ClusterName,
    },
    /// Let a mass deletion that a cluster holds up go on
    ///
    /// A cluster lets only a share of what is applied in it go within a while; the rest waits, because it may be the
    /// work of a mistaken script. This approves what was deleted on the hub so far, and nothing that is deleted later.
    ApproveDeletion {
        /// Name of the cluster.
        #[arg(value_name = "NAME")]
        name: ClusterName,
    },
}

pub(crate) async fn run(hub: &HubArgs, command: ClusterCommand) -> Result<()> {
    let (name, deletion) = match command {
        ClusterCommand::AcceptRollback { name } => (name, false),
        ClusterCommand::ApproveDeletion { name } => (name, true),
    };
    let server = Server::hub(hub).await?;
    let api = server.all::<ManagedCluster>();
    let call = async { found(api.get(name.as_str()).await) };
    let cluster = server
        .call(&format!("cannot read cluster {name}"), call)
        .await?
        .ok_or_else(|| {
            Error::failed(format!("there is no cluster {name}"))
                .next("see which there are: koinon get clusters")
        })?;
    let (key, value, failure, done) = if deletion {
        let told = held_deletions(&cluster)?;
        let done =
            format!("cluster {name} deletes what was deleted on the hub up to revision {told}");
        (
            annotation::APPROVE_DELETIONS,
            told,
            "approve the deletions",
            done,
        )
    } else {
        let offered = offer(&cluster)?;
        let done = format!("cluster {name} follows the hub from {offered}");
        (
            annotation::ACCEPT_ROLLBACK,
            offered,
            "accept the rollback",
            done,
        )
    };
    let patch = Patch::Merge(json!({ "metadata": {
        // What is held may have moved since it was read: then this is refused, not applied to something else.
        "resourceVersion": cluster.resource_version(),
        "annotations": { key: value },
    }}));
    server
        .call(
            &format!("cannot {failure} of {name}"),
            api.patch(name.as_str(), &PatchParams::default(), &patch),
        )
        .await?;
    output::line(&done)
}

/// Returns the revision up to which deletions were told that a cluster holds up.
fn held_deletions(cluster: &ManagedCluster) -> Result<String> {
    let name = cluster.name_any();
    let told = cluster
        .annotations()
        .get(annotation::DELETION_HOLD)
        .ok_or_else(|| {
            Error::failed(format!("cluster {name} holds no deletion up"))
                .next("there is nothing to approve")
        })?;
    if told.parse::<i64>().is_err() {
        return Err(Error::failed(format!(
            "annotation {} of cluster {name} is no revision: {told:?}",
            annotation::DELETION_HOLD
        )));
    }
    Ok(told.clone())
}

/// Returns what the hub offers to a cluster that holds still.
fn offer(cluster: &ManagedCluster) -> Result<String> {
    let name = cluster.name_any();
    let offer = cluster
        .annotations()
        .get(annotation::ROLLBACK_HOLD)
        .ok_or_else(|| {
            Error::failed(format!("cluster {name} does not hold a rollback"))
                .next("there is nothing to accept")
        })?;
    let well_formed = offer
        .split_once(':')
        .is_some_and(|(incarnation, revision)| {
            !incarnation.is_empty() && revision.parse::<i64>().is_ok()
        });
    if !well_formed {
        return Err(Error::failed(format!(
            "annotation {} of cluster {name} is not <incarnation>:<revision>: {offer:?}",
            annotation::ROLLBACK_HOLD
        )));
    }
    Ok(offer.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_held_deletions_can_be_approved() {
        let mut cluster = ManagedCluster::default();
        assert!(
            held_deletions(&cluster)
                .unwrap_err()
                .report()
                .contains("nothing to approve")
        );
        for (text, good) in [("17", true), ("", false), ("x", false)] {
            cluster
                .annotations_mut()
                .insert(annotation::DELETION_HOLD.into(), text.into());
            assert_eq!(held_deletions(&cluster).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn only_a_held_rollback_can_be_accepted() {
        let mut cluster = ManagedCluster::default();
        assert!(
            offer(&cluster)
                .unwrap_err()
                .report()
                .contains("nothing to accept")
        );
        for (text, good) in [
            ("0b9d:17", true),
            ("0b9d", false),
            (":17", false),
            ("0b9d:x", false),
        ] {
            cluster
                .annotations_mut()
                .insert(annotation::ROLLBACK_HOLD.into(), text.into());
            assert_eq!(offer(&cluster).is_ok(), good, "{text}");
        }
    }
}
