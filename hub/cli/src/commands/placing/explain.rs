//! `koinon explain placement`: why each cluster was or was not chosen.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use koinon_api::names::ClusterName;
use koinon_machinery::placement::{ClusterExplanation, GroupExplanation, NOT_FOUND, Name};
use serde_json::Value;

use super::scene;
use crate::{
    args::HubArgs,
    client::Server,
    error::{Error, Result},
    output::{self, Table},
};

/// What to explain.
#[derive(Debug, Subcommand)]
pub(crate) enum ExplainCommand {
    /// Why a placement chooses each cluster, or does not
    Placement(PlacementArgs),
}

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns.
    Table,
    /// Everything, as JSON.
    Json,
    /// JSON in the shape of OCM's debug endpoint.
    Debug,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PlacementArgs {
    /// Namespace and name of the placement.
    #[arg(value_name = "NAMESPACE/NAME", value_parser = name)]
    placement: Name,
    /// Only this cluster, in detail.
    #[arg(long, value_name = "NAME", value_parser = cluster)]
    cluster: Option<String>,
    /// With the snapshot that a decision was made from, as its annotation koinon.dev/snapshot names it.
    #[arg(long, value_name = "REVISION", conflicts_with = "dir")]
    revision: Option<i64>,
    /// Look at a folder of YAML and not at a hub.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// How to print it.
    #[arg(long, short, value_enum, default_value = "table")]
    output: Format,
}

fn name(text: &str) -> Result<Name, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("write it as NAMESPACE/NAME".to_owned()),
    }
}

/// A name that a cluster may have: it becomes a part of a path as it is.
fn cluster(text: &str) -> Result<String, koinon_api::names::Error> {
    ClusterName::parse(text).map(|name| name.to_string())
}

pub(crate) async fn run(hub: &HubArgs, command: ExplainCommand) -> Result<()> {
    let ExplainCommand::Placement(args) = command;
    if args.output == Format::Debug && (args.cluster.is_some() || args.revision.is_some()) {
        return Err(Error::Usage(
            "OCM's debug endpoint shows the whole placement as it is now: leave out --cluster and --revision, or take --output json"
                .to_owned(),
        ));
    }
    let answer = match &args.dir {
        Some(folder) => look(folder, &args)?,
        None => ask(hub, &args).await?,
    };
    show(&args, &answer)
}

/// Explains it on a folder. Nobody has decided there yet: what `simulate` shows is what is explained.
fn look(folder: &Path, args: &PlacementArgs) -> Result<Value> {
    let now = scene::now();
    let (world, placement) = (scene::from_folder(folder)?.settled(now), &args.placement);
    let answer = match args.output {
        Format::Debug => world.debug_report(placement, now, &|_| true),
        Format::Table | Format::Json => {
            world.report(placement, args.cluster.as_deref(), now, &|_| true)
        }
    };
    answer.ok_or_else(|| {
        let (namespace, name) = placement;
        Error::failed(format!("there is no placement {namespace}/{name}")).next(format!(
            "see which there are: koinon simulate {}",
            folder.display()
        ))
    })
}

/// Has the hub explain: it knows everything that the placement depends on, and what the caller may see of it.
async fn ask(hub: &HubArgs, args: &PlacementArgs) -> Result<Value> {
    let server = Server::hub(hub).await?;
    let (namespace, name) = &args.placement;
    let what = format!("cannot explain {namespace}/{name}");
    if args.output == Format::Debug {
        let path = format!("/debug/placements/{namespace}/{name}");
        return server.read(&what, &path).await;
    }
    let group = "/apis/cluster.open-cluster-management.io/v1beta1";
    let mut path = format!("{group}/namespaces/{namespace}/placements/{name}/explain?");
    if let Some(revision) = args.revision {
        path.push_str(&format!("revision={revision}&"));
    }
    if let Some(cluster) = &args.cluster {
        path.push_str(&format!("cluster={cluster}"));
    }
    server.read(&what, &path).await
}

fn show(args: &PlacementArgs, answer: &Value) -> Result<()> {
    let (reason, message) = (answer["reason"].as_str(), answer["message"].as_str());
    if reason == Some(NOT_FOUND) {
        return Err(Error::failed(message.unwrap_or_default())
            .next("leave out --cluster: then all are shown that it could choose"));
    }
    if args.output != Format::Table {
        return output::json(answer);
    }
    if let (Some(reason), message) = (reason, message.unwrap_or_default()) {
        let (namespace, name) = &args.placement;
        return output::line(&format!("{namespace}/{name}: {reason}: {message}"));
    }
    let clusters: Vec<ClusterExplanation> = serde_json::from_value(answer["clusters"].clone())
        .map_err(|error| Error::caused("the hub's answer cannot be read".to_owned(), error))?;
    if let ([one], Some(_)) = (clusters.as_slice(), &args.cluster) {
        return detail(one);
    }
    table(&clusters).print("No candidates.")?;
    match answer["hidden"]["clusters"].as_u64() {
        Some(hidden) => output::line(&format!("{hidden} more that you may not see")),
        None => Ok(()),
    }
}

fn table(clusters: &[ClusterExplanation]) -> Table {
    let mut table = Table::new(&[
        "CLUSTER",
        "SELECTED",
        "GROUP",
        "RANK",
        "SCORE",
        "STOPPED BY",
        "REASON",
    ]);
    let number = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    let mut rows: Vec<&ClusterExplanation> = clusters.iter().collect();
    rows.sort_by_key(|one| (one.rank.is_none(), one.rank, one.cluster.clone()));
    for one in rows {
        let stopped = one.filters.iter().find(|filter| !filter.passed);
        table.row([
            one.cluster.clone(),
            if one.selected { "yes" } else { "no" }.to_owned(),
            number(one.group.as_ref().map(group)),
            number(one.rank.map(|rank| rank.to_string())),
            number(one.total.map(|total| total.to_string())),
            stopped.map_or("-", |filter| &*filter.name).to_owned(),
            one.reason.clone(),
        ]);
    }
    table
}

/// Index and name of a decision group; most have none.
fn group(group: &GroupExplanation) -> String {
    format!("{} {}", group.index, group.name)
        .trim_end()
        .to_owned()
}

fn detail(one: &ClusterExplanation) -> Result<()> {
    let selected = if one.selected {
        "selected"
    } else {
        "not selected"
    };
    let reason = output::on_one_line(one.reason.clone());
    let mut text = format!("{}: {selected}: {reason}", one.cluster);
    if let Some(group_of) = &one.group {
        text.push_str(&format!(", in decision group {}", group(group_of)));
    }
    text.push_str("\n\n");
    let mut filters = Table::new(&["FILTER", "PASSED", "REASON"]);
    for filter in &one.filters {
        let passed = if filter.passed { "yes" } else { "no" };
        filters.row([
            filter.name.to_string(),
            passed.to_owned(),
            dash(&filter.reason),
        ]);
    }
    text.push_str(&filters.render());
    if one.avoided > 0 {
        let taints = match one.avoided {
            1 => "1 PreferNoSelect taint is".to_owned(),
            more => format!("{more} PreferNoSelect taints are"),
        };
        text.push_str(&format!(
            "\n{taints} not tolerated: it ranks behind all clusters with fewer.\n"
        ));
    }
    if !one.scores.is_empty() {
        let mut scores = Table::new(&["PRIORITIZER", "RAW", "NORMALIZED", "WEIGHT", "WEIGHTED"]);
        for score in &one.scores {
            let expired = if score.expired { " (expired)" } else { "" };
            scores.row([
                score.prioritizer.clone(),
                score
                    .raw
                    .map_or_else(|| "-".to_owned(), |raw| format!("{raw}{expired}")),
                score
                    .normalized
                    .map_or_else(|| "-".to_owned(), |score| score.to_string()),
                score.weight.to_string(),
                score.weighted.to_string(),
            ]);
        }
        let total = one.total.map(|total| total.to_string()).unwrap_or_default();
        scores.row([
            "total".to_owned(),
            "-".to_owned(),
            "-".to_owned(),
            "-".to_owned(),
            total,
        ]);
        text.push('\n');
        text.push_str(&scores.render());
    }
    output::write(&text)
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}
