//! Waiting for a cluster, and saying meanwhile what is being waited for.

use std::time::Duration;

use koinon_api::{ManagedCluster, labels::condition, meta, names::ClusterName};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    client::{Server, found},
    error::{Error, Result},
};

const POLL: Duration = Duration::from_millis(500);

/// How far a cluster has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Unheard,
    Asked,
    Accepted,
    Joined,
    Available,
}

impl Stage {
    fn of(cluster: Option<&ManagedCluster>) -> Self {
        let Some(cluster) = cluster else {
            return Stage::Unheard;
        };
        let conditions = cluster
            .status
            .as_ref()
            .map_or(&[][..], |status| &status.conditions);
        match () {
            () if !cluster.spec.hub_accepts_client => Stage::Asked,
            () if !meta::is_true(conditions, condition::JOINED) => Stage::Accepted,
            () if !meta::is_true(conditions, condition::CLUSTER_AVAILABLE) => Stage::Joined,
            () => Stage::Available,
        }
    }

    fn message(self, name: &ClusterName) -> String {
        match self {
            Stage::Unheard => format!("waiting for the agent of {name} to ask to join"),
            Stage::Asked => format!(
                "{name} asked to join; waiting for somebody to accept it: koinon accept {name}"
            ),
            Stage::Accepted => format!("{name} is accepted; waiting for its agent to connect"),
            Stage::Joined => format!("{name} has joined; waiting for it to be available"),
            Stage::Available => format!("{name} is available"),
        }
    }
}

/// Waits until a cluster is available, with a line to stderr for each step.
///
/// # Errors
///
/// It is not available within the limit, or the hub cannot be asked.
pub(super) async fn until_available(
    server: &Server,
    name: &ClusterName,
    limit: Duration,
) -> Result<()> {
    let deadline = Instant::now() + limit;
    let api = server.all::<ManagedCluster>();
    let mut last = None;
    loop {
        let call = async { found(api.get(name.as_str()).await) };
        let cluster = server
            .call(&format!("cannot read cluster {name}"), call)
            .await?;
        let stage = Stage::of(cluster.as_ref());
        if last != Some(stage) {
            eprintln!("{}", stage.message(name));
            last = Some(stage);
        }
        if stage == Stage::Available {
            return Ok(());
        }
        if timeout_at(deadline, sleep(POLL)).await.is_err() {
            return Err(Error::failed(format!("{name} is not available after {limit:?}: {}", stage.message(name))).next(
                "see what its agent says:\n  kubectl -n open-cluster-management-agent logs deployment/klusterlet   (in the member cluster)",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use koinon_api::meta::{Truth, new_condition};

    use super::*;

    #[test]
    fn a_cluster_comes_along_step_by_step() {
        let mut cluster = ManagedCluster::default();
        assert_eq!(Stage::of(None), Stage::Unheard);
        assert_eq!(Stage::of(Some(&cluster)), Stage::Asked);
        cluster.spec.hub_accepts_client = true;
        assert_eq!(Stage::of(Some(&cluster)), Stage::Accepted);
        for (kind, stage) in [
            (condition::JOINED, Stage::Joined),
            (condition::CLUSTER_AVAILABLE, Stage::Available),
        ] {
            let condition = new_condition(kind, Truth::True, "R", "", jiff::Timestamp::UNIX_EPOCH);
            cluster
                .status
                .get_or_insert_default()
                .conditions
                .push(condition);
            assert_eq!(Stage::of(Some(&cluster)), stage);
        }
    }
}
