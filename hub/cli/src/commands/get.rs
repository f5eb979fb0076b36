//! `koinon get`: clusters, works and placements at a glance.

mod clusters;
mod placements;
mod works;

use clap::Subcommand;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use koinon_api::{
    ManagedCluster, ManifestWork, Placement, PlacementDecision, meta, names::ClusterName,
};
use kube::ResourceExt as _;

use crate::{
    args::HubArgs,
    client::Server,
    error::{Error, Result},
    output::{self, Output},
};

/// What to show.
#[derive(Debug, Subcommand)]
pub(crate) enum GetCommand {
    /// The clusters of the league, and how they are
    #[command(visible_alias = "cluster")]
    Clusters {
        /// Only these clusters.
        #[arg(value_name = "NAME")]
        names: Vec<ClusterName>,
        /// How to print them.
        #[arg(long, short, value_enum, default_value = "table")]
        output: Output,
    },
    /// What runs where: each work in each cluster
    #[command(visible_alias = "work")]
    Works {
        /// Only the works of this cluster.
        #[arg(long, value_name = "NAME")]
        cluster: Option<ClusterName>,
        /// How to print them.
        #[arg(long, short, value_enum, default_value = "table")]
        output: Output,
    },
    /// What placements have decided
    #[command(visible_alias = "placement")]
    Placements {
        /// Only the placements of this namespace.
        #[arg(long, short, value_name = "NAME")]
        namespace: Option<String>,
        /// How to print them.
        #[arg(long, short, value_enum, default_value = "table")]
        output: Output,
    },
}

pub(crate) async fn run(hub: &HubArgs, command: GetCommand) -> Result<()> {
    let server = Server::hub(hub).await?;
    let now = jiff::Timestamp::now();
    match command {
        GetCommand::Clusters { names, output } => {
            let clusters = chosen(server.list(&server.all::<ManagedCluster>()).await?, &names)?;
            match output {
                Output::Json => output::json_list(&clusters),
                Output::Table => clusters::table(&clusters, now)
                    .print("No clusters yet. Begin with: koinon token create, then koinon join"),
            }
        }
        GetCommand::Works { cluster, output } => {
            let api = match &cluster {
                Some(cluster) => server.namespaced::<ManifestWork>(cluster.as_str()),
                None => server.all::<ManifestWork>(),
            };
            let works = server.list(&api).await?;
            match output {
                Output::Json => output::json_list(&works),
                Output::Table => works::table(&works, now).print("No works."),
            }
        }
        GetCommand::Placements { namespace, output } => {
            let placements = match &namespace {
                Some(namespace) => server.namespaced::<Placement>(namespace),
                None => server.all::<Placement>(),
            };
            let decisions = match &namespace {
                Some(namespace) => server.namespaced::<PlacementDecision>(namespace),
                None => server.all::<PlacementDecision>(),
            };
            let placements = server.list(&placements).await?;
            match output {
                Output::Json => output::json_list(&placements),
                Output::Table => {
                    placements::table(&placements, &server.list(&decisions).await?, now)
                        .print("No placements.")
                }
            }
        }
    }
}

/// Keeps the clusters that were named, all of them when none was.
fn chosen(clusters: Vec<ManagedCluster>, names: &[ClusterName]) -> Result<Vec<ManagedCluster>> {
    if let Some(missing) = names.iter().find(|name| {
        !clusters
            .iter()
            .any(|cluster| cluster.name_any() == name.as_str())
    }) {
        return Err(Error::failed(format!("there is no cluster {missing}"))
            .next("see which there are: koinon get clusters"));
    }
    Ok(clusters
        .into_iter()
        .filter(|cluster| {
            names.is_empty() || names.iter().any(|name| name.as_str() == cluster.name_any())
        })
        .collect())
}

/// The status of a condition; `-` when it was never set.
fn status(conditions: &[Condition], kind: &str) -> String {
    meta::condition(conditions, kind)
        .map_or_else(|| "-".to_owned(), |condition| condition.status.clone())
}
