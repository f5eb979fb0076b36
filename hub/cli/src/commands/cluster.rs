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
    /// that it no longer has stay in the cluster: see dispose-unmanaged.
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
    /// Let a cluster dispose of works that this hub does not know
    ///
    /// After an accepted rollback, or when a cluster comes from another hub, it keeps works that this hub does not know
    /// applied: that they are missing here is no reason to delete them. The condition UnmanagedWorks of the cluster counts
    /// and names them. This deletes exactly those, and nothing that is found later; what else holds deletions up holds
    /// these up, too. To keep some of them, first make works of the same names on the hub.
    DisposeUnmanaged {
        /// Name of the cluster.
        #[arg(value_name = "NAME")]
        name: ClusterName,
        /// Forget the works, but leave their objects in the cluster.
        #[arg(long)]
        orphan: bool,
    },
}

/// An annotation of the cluster that its agent follows.
struct Decision {
    key: &'static str,
    value: String,
    /// What could not be done if it is refused.
    failure: &'static str,
    done: String,
}

impl Decision {
    fn of(command: &ClusterCommand, cluster: &ManagedCluster) -> Result<Self> {
        let name = cluster.name_any();
        Ok(match command {
            ClusterCommand::AcceptRollback { .. } => {
                let offered = offer(cluster)?;
                Self {
                    key: annotation::ACCEPT_ROLLBACK,
                    done: format!("cluster {name} follows the hub from {offered}"),
                    value: offered,
                    failure: "accept the rollback",
                }
            }
            ClusterCommand::ApproveDeletion { .. } => {
                let told = held_deletions(cluster)?;
                Self {
                    key: annotation::APPROVE_DELETIONS,
                    done: format!(
                        "cluster {name} deletes what was deleted on the hub up to revision {told}"
                    ),
                    value: told,
                    failure: "approve the deletions",
                }
            }
            ClusterCommand::DisposeUnmanaged { orphan, .. } => {
                let token = unmanaged(cluster)?;
                let (mode, done) = if *orphan {
                    (
                        "orphan",
                        "forgets the works that the hub does not know; their objects stay",
                    )
                } else {
                    (
                        "delete",
                        "deletes the works that the hub does not know, with their objects",
                    )
                };
                Self {
                    key: annotation::DISPOSE_UNMANAGED,
                    value: format!("{mode}:{token}"),
                    failure: "dispose of the works",
                    done: format!("cluster {name} {done}"),
                }
            }
        })
    }
}

pub(crate) async fn run(hub: &HubArgs, command: ClusterCommand) -> Result<()> {
    let (ClusterCommand::AcceptRollback { name }
    | ClusterCommand::ApproveDeletion { name }
    | ClusterCommand::DisposeUnmanaged { name, .. }) = &command;
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
    let Decision {
        key,
        value,
        failure,
        done,
    } = Decision::of(&command, &cluster)?;
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

/// Returns the token of the works that a cluster keeps and the hub does not know.
fn unmanaged(cluster: &ManagedCluster) -> Result<String> {
    let token = cluster.annotations().get(annotation::UNMANAGED);
    token.cloned().ok_or_else(|| {
        let name = cluster.name_any();
        Error::failed(format!(
            "cluster {name} keeps no works that the hub does not know"
        ))
        .next("there is nothing to dispose of")
    })
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
    fn only_what_was_reported_is_disposed_of() {
        let order = |orphan: bool| ClusterCommand::DisposeUnmanaged {
            name: ClusterName::parse("east").unwrap(),
            orphan,
        };
        let mut cluster = ManagedCluster::default();
        let refused = Decision::of(&order(false), &cluster).err().unwrap();
        assert!(refused.report().contains("nothing to dispose of"));
        let token = "a1".to_owned();
        cluster
            .annotations_mut()
            .insert(annotation::UNMANAGED.into(), token);
        for (orphan, expected) in [(false, "delete:a1"), (true, "orphan:a1")] {
            let decision = Decision::of(&order(orphan), &cluster).unwrap();
            assert_eq!(
                (decision.key, decision.value.as_str()),
                (annotation::DISPOSE_UNMANAGED, expected)
            );
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
