//! `koinon explain placement`: why each cluster was or was not chosen.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use koinon_api::names::ClusterName;
use koinon_machinery::placement::{Answer, ClusterExplanation, Name};
use serde_json::json;

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
        return Err(
            Error::failed("OCM's debug endpoint shows the whole placement as it is now")
                .next("leave out --cluster and --revision, or take --output json"),
        );
    }
    let Some(folder) = &args.dir else {
        return ask(hub, &args).await;
    };
    let now = scene::now();
    // Nobody has decided there yet: what `simulate` shows is what is explained.
    let world = scene::from_folder(folder)?.settled(now);
    let shown = format!("{}/{}", args.placement.0, args.placement.1);
    let answer = world.answer(&args.placement, now).ok_or_else(|| {
        Error::failed(format!("there is no placement {shown}")).next(format!(
            "see which there are: koinon simulate {}",
            folder.display()
        ))
    })?;
    let evaluation = match answer {
        Answer::Evaluated(evaluation) => evaluation,
        Answer::Misconfigured(error) => {
            return nothing(&args, &shown, "Misconfigured", &error.to_string());
        }
        Answer::NoClusters(none) => {
            return nothing(&args, &shown, none.reason(), &none.to_string());
        }
        Answer::Untouched => {
            let why = "it is being deleted, or its annotation disables scheduling";
            return nothing(&args, &shown, "Untouched", why);
        }
    };
    if args.output == Format::Debug {
        let mut debug = evaluation.debug();
        debug["placement"] = json!({ "namespace": args.placement.0, "name": args.placement.1 });
        return output::json(&debug);
    }
    let Some(mut explanation) = world.explain(&args.placement, now) else {
        return Err(Error::failed(format!("{shown} cannot be explained")));
    };
    if let Some(cluster) = &args.cluster {
        let one = world.explain_cluster(&args.placement, cluster, now);
        let unknown = || {
            Error::failed(format!("there is no cluster {cluster}"))
                .next("leave out --cluster: then all are shown that it could choose")
        };
        explanation.clusters = vec![one.ok_or_else(unknown)?];
    }
    match (args.output, explanation.clusters.as_slice()) {
        (Format::Table, [one]) if args.cluster.is_some() => detail(one),
        (Format::Table, all) => table(all).print("No candidates."),
        _ => output::json(&json!({
            "placement": shown,
            "selected": evaluation.selected,
            "unscheduled": evaluation.unscheduled,
            "clusters": explanation.clusters,
            "recheckAt": explanation.recheck_at,
        })),
    }
}

/// Has the hub explain: it knows everything that the placement depends on, and what the caller may see of it.
async fn ask(hub: &HubArgs, args: &PlacementArgs) -> Result<()> {
    let server = Server::hub(hub).await?;
    let (namespace, name) = &args.placement;
    let what = format!("cannot explain {namespace}/{name}");
    if args.output == Format::Debug {
        let path = format!("/debug/placements/{namespace}/{name}");
        return output::json(&server.read(&what, &path).await?);
    }
    let group = "/apis/cluster.open-cluster-management.io/v1beta1";
    let mut path = format!("{group}/namespaces/{namespace}/placements/{name}/explain?");
    if let Some(revision) = args.revision {
        path.push_str(&format!("revision={revision}&"));
    }
    if let Some(cluster) = &args.cluster {
        path.push_str(&format!("cluster={cluster}"));
    }
    let answer = server.read(&what, &path).await?;
    if args.output == Format::Json {
        return output::json(&answer);
    }
    if let Some(reason) = answer["reason"].as_str() {
        let message = answer["message"].as_str().unwrap_or_default();
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

/// A placement that has no candidates to speak of.
fn nothing(args: &PlacementArgs, shown: &str, reason: &str, message: &str) -> Result<()> {
    match args.output {
        Format::Table => output::line(&format!("{shown}: {reason}: {message}")),
        Format::Json => output::json(&json!({
            "placement": shown, "selected": 0, "clusters": [], "reason": reason, "message": message,
        })),
        Format::Debug => output::json(&json!({ "error": message })),
    }
}

fn table(clusters: &[ClusterExplanation]) -> Table {
    let mut table = Table::new(&[
        "CLUSTER",
        "SELECTED",
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
            number(one.rank.map(|rank| rank.to_string())),
            number(one.total.map(|total| total.to_string())),
            stopped.map_or("-", |filter| &*filter.name).to_owned(),
            one.reason.clone(),
        ]);
    }
    table
}

fn detail(one: &ClusterExplanation) -> Result<()> {
    let selected = if one.selected {
        "selected"
    } else {
        "not selected"
    };
    let mut text = format!("{}: {selected}: {}\n\n", one.cluster, one.reason);
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
        text.push_str(&format!(
            "\n{} PreferNoSelect taints are not tolerated: it ranks behind all clusters with fewer.\n",
            one.avoided
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
