//! `koinon what-if`: which placements a change would move, before it happens.

use std::path::PathBuf;

use koinon_machinery::placement::{Effect, Taint, Topology};
use serde_json::json;

use super::{UNSATISFIED, differences, scene, warn_if};
use crate::{
    args::HubArgs,
    error::{Error, Result},
    output::{self, Output, Table},
};

/// Exit codes: 0 = no placement that is satisfied would break, 3 = one would, 1 = the question cannot be answered.
#[derive(Debug, clap::Args)]
pub(crate) struct WhatIfArgs {
    /// Without the clusters that have this label (repeatable).
    #[arg(long, value_name = "LABEL=VALUE", value_parser = pair)]
    without: Vec<(String, String)>,
    /// Without the clusters that claim this (repeatable).
    #[arg(long, value_name = "CLAIM=VALUE", value_parser = pair)]
    without_claim: Vec<(String, String)>,
    /// Without this cluster (repeatable).
    #[arg(long, value_name = "NAME")]
    without_cluster: Vec<String>,
    /// With this cluster taking nothing new: taint NoSelectIfNew (repeatable).
    #[arg(long, value_name = "NAME")]
    cordon: Vec<String>,
    /// With this cluster giving up what it has: taint NoSelect (repeatable).
    #[arg(long, value_name = "NAME")]
    drain: Vec<String>,
    /// With the clusters of this file (repeatable).
    #[arg(long, value_name = "FILE")]
    add: Vec<PathBuf>,
    /// With the placements, sets, bindings and scores of this file, new or changed (repeatable).
    #[arg(long, short = 'f', value_name = "FILE")]
    filename: Vec<PathBuf>,
    /// Look at a folder of YAML and not at a hub.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// How to print it.
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

pub(crate) async fn run(hub: &HubArgs, args: WhatIfArgs) -> Result<u8> {
    let now = scene::now();
    let before = scene::world(hub, args.dir.as_deref()).await?.settled(now);
    let mut after = before.clone();
    let mut changes = 0;
    let labels = args.without.iter().map(|(key, value)| {
        let by = Topology::Label(key.clone());
        (by, value, format!("label {key}={value}"))
    });
    let claims = args.without_claim.iter().map(|(name, value)| {
        let by = Topology::Claim(name.clone());
        (by, value, format!("claim {name}={value}"))
    });
    for (by, value, shown) in labels.chain(claims) {
        let lost = after.lose(|cluster| by.of(cluster) == Some(value));
        if lost.is_empty() {
            return Err(Error::failed(format!("no cluster has the {shown}")));
        }
        changes += 1;
    }
    for name in &args.without_cluster {
        if after.lose(|cluster| cluster.name == *name).is_empty() {
            return Err(unknown(name));
        }
        changes += 1;
    }
    let cordoned = args.cordon.iter().map(|name| (name, Effect::NoSelectIfNew));
    let drained = args.drain.iter().map(|name| (name, Effect::NoSelect));
    for (name, effect) in cordoned.chain(drained) {
        let taint = Taint {
            key: "koinon.dev/what-if".to_owned(),
            value: String::new(),
            effect,
            added: Some(now),
        };
        if !after.taint(name, taint) {
            return Err(unknown(name));
        }
        changes += 1;
    }
    for file in args.add.iter().chain(&args.filename) {
        let added = scene::add_file(&mut after, file)?;
        if args.add.contains(file) && added.clusters == 0 {
            return Err(Error::failed(format!(
                "there is no ManagedCluster in {}",
                file.display()
            )));
        }
        changes += 1;
    }
    if changes == 0 {
        return Err(Error::Usage(
            "say what would change: --without, --without-claim, --without-cluster, --cordon, --drain, --add or -f"
                .to_owned(),
        ));
    }
    let after = after.settled(now);
    warn_if(before.is_restless() || after.is_restless());
    let all = before.differences(&after, now);
    let breaks = all.iter().filter(|one| one.breaks()).count();
    match args.output {
        Output::Json => output::json(&json!({ "changed": all, "breaks": breaks }))?,
        Output::Table => {
            let mut table = Table::new(&["", "PLACEMENT", "EFFECT", "LEAVES", "JOINS", "MESSAGE"]);
            differences(&mut table, "~", &all);
            table.print("No placement changes.")?;
        }
    }
    Ok(if breaks > 0 { UNSATISFIED } else { 0 })
}

fn unknown(name: &str) -> Error {
    Error::failed(format!("there is no cluster {name}"))
        .next("see which there are: koinon get clusters")
}
