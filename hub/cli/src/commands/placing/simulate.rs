//! `koinon simulate`: what placements would decide on a folder of YAML, without a hub.

use std::path::PathBuf;

use koinon_machinery::placement::State;
use serde_json::json;

use super::{UNSATISFIED, headline, names, scene, state, warn_if};
use crate::{
    error::Result,
    output::{self, Output, Table},
};

/// Exit codes: 0 = every placement is satisfied, 3 = one is not, 1 = the folder cannot be read.
#[derive(Debug, clap::Args)]
pub(crate) struct SimulateArgs {
    /// Clusters, sets, bindings, scores, placements, and decisions to start from.
    #[arg(value_name = "FOLDER")]
    dir: PathBuf,
    /// How to print it.
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

pub(crate) fn run(args: &SimulateArgs) -> Result<u8> {
    let now = scene::now();
    let world = scene::from_folder(&args.dir)?.settled(now);
    warn_if(world.is_restless());
    let standings = world.standings(now);
    let short = standings
        .values()
        .filter(|one| one.state != State::Satisfied && one.state != State::Untouched)
        .count();
    match args.output {
        Output::Json => {
            let all: Vec<_> = standings
                .iter()
                .map(|((namespace, name), standing)| {
                    json!({
                        "namespace": namespace, "placement": name, "state": standing.state,
                        "message": standing.message, "clusters": standing.clusters,
                    })
                })
                .collect();
            output::json(&json!({ "placements": all, "unsatisfied": short }))?;
        }
        Output::Table => {
            let mut table = Table::new(&["PLACEMENT", "STATE", "SELECTED", "CLUSTERS", "MESSAGE"]);
            for ((namespace, name), standing) in &standings {
                table.row([
                    format!("{namespace}/{name}"),
                    state(standing).to_owned(),
                    standing.clusters.len().to_string(),
                    names(standing.clusters.iter()),
                    headline(standing),
                ]);
            }
            table.print("No placements.")?;
        }
    }
    Ok(if short > 0 { UNSATISFIED } else { 0 })
}
