//! `koinon explain`, `what-if`, `survive` and `simulate` on a folder of YAML: they print what the docs show, and say by
//! their exit code what a pipeline must know.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::ensure;
use koinon_tests::{
    tools::{binary, repository},
    yaml::APPS,
};
use serde_json::Value;

/// Where the docs run the commands: `fleet` is a folder there.
const FOLDER: &str = "deploy/demo";

/// Runs `koinon` without any hub.
fn koinon(args: &[&str], folder: &Path) -> anyhow::Result<Output> {
    let output = Command::new(binary("koinon")?)
        .args(args)
        .env("KUBECONFIG", "/nowhere")
        .current_dir(folder)
        .output()?;
    Ok(output)
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// The commands of a page that look at the fleet, each with the output that is shown.
fn shown(page: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut open = false;
    for line in page.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            open = command.starts_with("koinon ") && command.contains("fleet");
            if open {
                all.push((command.to_owned(), String::new()));
            }
        } else if line.starts_with("```") {
            open = false;
        } else if let (true, Some((_, output))) = (open, all.last_mut()) {
            output.push_str(line.trim_end());
            output.push('\n');
        }
    }
    for (_, output) in &mut all {
        *output = output.trim_end().to_owned();
    }
    all
}

#[test]
fn the_docs_show_what_is_printed() -> anyhow::Result<()> {
    let mut commands = 0;
    for page in ["README.md", "docs/placement.md"] {
        let page_text = fs::read_to_string(repository().join(page))?;
        for (command, expected) in shown(&page_text) {
            let args: Vec<&str> = command.split_whitespace().skip(1).collect();
            let output = koinon(&args, &repository().join(FOLDER))?;
            let printed = text(&output.stdout);
            ensure!(
                printed == expected,
                "{page}: $ {command}\n{printed}\n{}",
                text(&output.stderr)
            );
            commands += 1;
        }
    }
    ensure!(commands >= 5, "the docs show {commands} commands");
    Ok(())
}

#[test]
fn exit_codes_tell_a_pipeline_what_breaks() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let change = |name: &str, text: &str| fs::write(dir.path().join(name), text);
    let placement = |spec: &str| {
        format!(
            "apiVersion: cluster.open-cluster-management.io/v1beta1\nkind: Placement\nmetadata: {{name: shop, namespace: apps}}\nspec: {spec}\n"
        )
    };
    change("more.yaml", &placement("{numberOfClusters: 3}"))?;
    change("most.yaml", &placement("{numberOfClusters: 9}"))?;
    change(
        "heavy.yaml",
        &placement(
            "{prioritizerPolicy: {configurations: [{scoreCoordinate: {builtIn: Steady}, weight: 50}]}}",
        ),
    )?;
    change(
        "wrong.yaml",
        &placement("{prioritizerPolicy: {mode: Fancy}}"),
    )?;
    change(
        "olympia.yaml",
        "apiVersion: cluster.open-cluster-management.io/v1\nkind: ManagedCluster\nmetadata: {name: olympia, labels: {tier: prod, region: eu-south}}\n",
    )?;
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (more, most, heavy) = (file("more.yaml"), file("most.yaml"), file("heavy.yaml"));
    let (wrong, olympia) = (file("wrong.yaml"), file("olympia.yaml"));
    let fleet = ["--dir", "fleet"];
    for (args, code, said) in [
        (vec!["simulate", "fleet"], 0, "satisfied"),
        (vec!["simulate", "nowhere"], 1, "cannot read nowhere"),
        (vec!["what-if", "--without", "region=eu-west"], 0, "moves"),
        (
            vec!["what-if", "--without", "region=mars"],
            1,
            "no cluster has the label",
        ),
        (
            vec![
                "what-if",
                "--without-claim",
                "kubeversion.open-cluster-management.io=v1.33.4",
            ],
            0,
            "training",
        ),
        (
            vec!["what-if", "--without-claim", "planet=mars"],
            1,
            "no cluster has the claim planet=mars",
        ),
        (
            vec![
                "what-if",
                "--without-cluster",
                "athens",
                "--without-cluster",
                "corinth",
            ],
            3,
            "breaks",
        ),
        (
            vec!["what-if", "--without-cluster", "nobody"],
            1,
            "there is no cluster nobody",
        ),
        (
            vec!["what-if", "--cordon", "athens"],
            0,
            "No placement changes.",
        ),
        (vec!["what-if", "--drain", "sparta"], 0, "apps/training"),
        (vec!["what-if", "--add", &olympia], 0, ""),
        (vec!["what-if", "-f", &more], 0, "gains"),
        (vec!["what-if", "-f", &most], 3, "breaks"),
        (vec!["what-if", "-f", &wrong], 3, "breaks"),
        (vec!["what-if", "-f", &heavy], 1, "weight"),
        (vec!["what-if"], 64, "say what would change"),
        (vec!["survive", "--by", "region"], 3, "breaks"),
        (vec!["survive", "--by", "tier"], 3, "prod"),
        (
            vec![
                "survive",
                "--by",
                "kubeversion.open-cluster-management.io",
                "--claim",
            ],
            3,
            "v1.34.1",
        ),
        (
            vec!["survive", "--by", "planet"],
            1,
            "no cluster has the label planet",
        ),
        (
            vec!["explain", "placement", "apps/none"],
            1,
            "there is no placement apps/none",
        ),
        (
            vec!["explain", "placement", "apps/shop", "--cluster", "none"],
            1,
            "there is no cluster none",
        ),
        (vec!["explain", "placement", "shop"], 64, "NAMESPACE/NAME"),
    ] {
        let mut all = args.clone();
        if args[0] != "simulate" {
            all.extend(fleet);
        }
        let output = koinon(&all, &repository().join(FOLDER))?;
        let (printed, warned) = (text(&output.stdout), text(&output.stderr));
        ensure!(
            output.status.code() == Some(code),
            "{all:?} exits with {:?}:\n{printed}\n{warned}",
            output.status.code()
        );
        ensure!(
            printed.contains(said) || warned.contains(said),
            "{all:?} says:\n{printed}\n{warned}"
        );
    }
    Ok(())
}

/// One runs after the other, who runs away.
#[test]
fn placements_that_move_each_other_are_warned_of() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let folder = dir.path().join("fleet");
    fs::create_dir(&folder)?;
    fs::copy(
        repository().join(FOLDER).join("fleet/clusters.yaml"),
        folder.join("clusters.yaml"),
    )?;
    let placement = |name: &str, weight: i32| {
        format!(
            "---\napiVersion: cluster.open-cluster-management.io/v1beta1\nkind: Placement\nmetadata: {{name: {name}, namespace: apps}}\nspec:\n  numberOfClusters: 1\n  tolerations: [{{operator: Exists}}]\n  prioritizerPolicy: {{mode: Exact, configurations: [{{scoreCoordinate: {{builtIn: Balance}}, weight: {weight}}}]}}\n"
        )
    };
    fs::write(
        folder.join("placements.yaml"),
        [
            APPS.to_owned(),
            placement("flees", 1),
            placement("follows", -1),
        ]
        .concat(),
    )?;
    for args in [
        vec!["simulate", "fleet"],
        vec!["what-if", "--dir", "fleet", "--without-cluster", "athens"],
        vec!["survive", "--dir", "fleet", "--by", "region"],
    ] {
        let output = koinon(&args, dir.path())?;
        let warned = text(&output.stderr);
        ensure!(
            warned.contains("move each other without end"),
            "{args:?}: {warned}"
        );
    }
    let args = [
        "survive", "--dir", "fleet", "--by", "region", "--output", "json",
    ];
    let answer: Value = serde_json::from_slice(&koinon(&args, dir.path())?.stdout)?;
    ensure!(answer["losses"][0]["restless"] == true, "{answer:#}");
    Ok(())
}

#[test]
fn a_cluster_is_explained_whatever_it_is_to_the_placement() -> anyhow::Result<()> {
    let folder = repository().join(FOLDER);
    for cluster in ["athens", "corinth", "sparta", "thebes"] {
        let args = [
            "explain",
            "placement",
            "apps/training",
            "--dir",
            "fleet",
            "--cluster",
            cluster,
            "--output",
            "json",
        ];
        let output = koinon(&args, &folder)?;
        let answer: Value = serde_json::from_slice(&output.stdout)?;
        let one = &answer["clusters"][0];
        let filters: Vec<&str> = one["filters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|filter| filter["name"].as_str())
            .collect();
        ensure!(
            filters == ["ClusterSets", "Predicate", "TaintToleration", "Packing"],
            "{one:#}"
        );
        let total: i64 = one["scores"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|score| score["weighted"].as_i64())
            .sum();
        ensure!(one["total"].as_i64().unwrap_or(0) == total, "{one:#}");
        ensure!(
            (one["reason"] == "12 cpu requested, 7 free") == (cluster == "thebes"),
            "{one:#}"
        );
        ensure!(
            one["selected"].as_bool() == Some(one["group"].is_object()),
            "{one:#}"
        );
    }
    Ok(())
}
