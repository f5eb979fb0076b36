//! `koinon survive`: does each placement survive the loss of a region, a cloud, a zone?

use std::path::PathBuf;

use koinon_machinery::placement::{Difference, Topology};
use serde_json::json;

use super::{UNSATISFIED, differences, scene, warn_if};
use crate::{
    args::HubArgs,
    error::{Error, Result},
    output::{self, Output, Table},
};

/// Exit codes: 0 = every placement survives every loss, 3 = one does not, 1 = the question cannot be answered.
#[derive(Debug, clap::Args)]
pub(crate) struct SurviveArgs {
    /// The label whose values are lost one at a time, like `region`.
    #[arg(long, value_name = "LABEL")]
    by: String,
    /// It is a cluster claim and not a label.
    #[arg(long)]
    claim: bool,
    /// Show the placements that survive too.
    #[arg(long)]
    all: bool,
    /// Look at a folder of YAML and not at a hub.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// How to print it.
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

pub(crate) async fn run(hub: &HubArgs, args: SurviveArgs) -> Result<u8> {
    let now = scene::now();
    let world = scene::world(hub, args.dir.as_deref()).await?.settled(now);
    let by = if args.claim {
        Topology::Claim(args.by.clone())
    } else {
        Topology::Label(args.by.clone())
    };
    let mut losses = world.losses(&by, now);
    warn_if(world.is_restless() || losses.iter().any(|loss| loss.restless));
    if losses.is_empty() {
        let what = if args.claim { "claim" } else { "label" };
        return Err(Error::failed(format!(
            "no cluster has the {what} {}",
            args.by
        )));
    }
    let broken = losses
        .iter()
        .flat_map(|loss| &loss.placements)
        .filter(|one| one.breaks())
        .count();
    match args.output {
        Output::Json => {
            output::json(&json!({ "by": args.by, "losses": losses, "broken": broken }))?
        }
        Output::Table => {
            let mut table =
                Table::new(&["LOST", "PLACEMENT", "EFFECT", "LEAVES", "JOINS", "MESSAGE"]);
            for loss in &mut losses {
                if !args.all {
                    loss.placements.retain(Difference::breaks);
                }
                differences(&mut table, &loss.value, &loss.placements);
            }
            table.print("Every placement survives the loss of any one.")?;
        }
    }
    Ok(if broken > 0 { UNSATISFIED } else { 0 })
}
