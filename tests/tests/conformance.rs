//! The hub must answer as a kube-apiserver that has its CRDs, row by row, except where `docs/conformance.md` says why not.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::ensure;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use koinon_tests::{
    Hub, Member,
    conformance::{Answer, Row, Server, normal, row},
    tools::{kubernetes_minor, repository},
};
use serde_json::Value;

/// The version that the listed differences were found with.
const REFERENCE: u32 = 20;
/// Rows that are told at a time: most of their time is the second that a watch lasts.
const AT_A_TIME: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_answers_as_kubernetes_does() -> anyhow::Result<()> {
    let minor = kubernetes_minor()?;
    if minor != REFERENCE && std::env::var_os("CONFORMANCE_ANYWAY").is_none() {
        println!(
            "not compared: the differences of Kubernetes 1.{minor} are not listed; CONFORMANCE_ANYWAY=1 shows them"
        );
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let (hub, member) = (dir.path().join("hub"), dir.path().join("kube"));
    // Controllers of the hub would write into what is compared.
    let flags = ["--controllers=namespace"];
    let (running, member) = tokio::try_join!(
        Hub::start_with(&hub, &flags),
        Member::reference("kube", &member)
    )?;
    member.install_crds().await?;
    let kube = Server {
        name: "kube",
        client: member.client().await?,
    };
    let hub = Server {
        name: "hub",
        client: running.client().await?,
    };

    let rows: Vec<Row> = row::load(&repository().join("tests/conformance"))?
        .into_iter()
        .filter(|row| (row.versions.0..=row.versions.1).contains(&minor))
        .collect();
    let only = std::env::var("CONFORMANCE_ROW").unwrap_or_default();
    let (kube, hub) = (Arc::new(kube), Arc::new(hub));
    let told = stream::iter(&rows)
        .filter(|row| std::future::ready(row.name.contains(&only)))
        .map(|row| {
            let (kube, hub) = (Arc::clone(&kube), Arc::clone(&hub));
            async move {
                let (theirs, ours) = tokio::try_join!(kube.play(row), hub.play(row))?;
                anyhow::Ok((row, compare(row, &theirs, &ours, minor)))
            }
        })
        .buffered(AT_A_TIME)
        .try_collect::<Vec<_>>()
        .await?;
    let listed = listed()?;
    let mut wrong: Vec<String> = told
        .iter()
        .filter(|(row, found)| !found.is_empty() && !listed.contains(story(row)))
        .map(|(row, found)| format!("{}:\n    {}", row.name, found.join("\n    ")))
        .collect();
    let differ: BTreeSet<&str> = told
        .iter()
        .filter(|(_, found)| !found.is_empty())
        .map(|(row, _)| story(row))
        .collect();
    let agree = listed
        .iter()
        .filter(|name| only.is_empty() && !differ.contains(name.as_str()));
    wrong.extend(
        agree.map(|name| format!("{name}: listed in docs/conformance.md, and does not differ")),
    );
    println!(
        "{} rows, {} requests, {} listed differences",
        told.len(),
        told.iter().map(|(row, _)| row.steps.len()).sum::<usize>(),
        listed.len()
    );
    ensure!(
        wrong.is_empty(),
        "{} of {} rows differ:\n{}",
        wrong.len(),
        told.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// The name of a row without the kind that it is told for.
fn story(row: &Row) -> &str {
    row.name.split(" (").next().unwrap_or_default()
}

/// What differs between the answers to a row.
fn compare(row: &Row, kube: &[Answer], hub: &[Answer], minor: u32) -> Vec<String> {
    let mut found = Vec::new();
    for (step, (theirs, ours)) in row.steps.iter().zip(kube.iter().zip(hub)) {
        let what = format!("{} {}", step.method, step.path);
        if theirs.code != ours.code {
            found.push(format!(
                "{what}: kube {} {}, hub {} {}",
                theirs.code,
                brief(theirs),
                ours.code,
                brief(ours)
            ));
            continue;
        }
        if step.setup {
            continue;
        }
        let (mut theirs, mut ours) = (normal::answer(theirs, minor), normal::answer(ours, minor));
        normal::same_words(&mut theirs, &mut ours);
        let body = normal::differences(&Value::from(theirs.body), &Value::from(ours.body));
        let headers = normal::differences(
            &serde_json::json!(theirs.headers),
            &serde_json::json!(ours.headers),
        );
        found.extend(
            body.into_iter()
                .chain(headers)
                .map(|difference| format!("{what}: {difference}")),
        );
    }
    found
}

fn brief(answer: &Answer) -> String {
    let body = answer
        .body
        .first()
        .map(|body| body.get("message").cloned().unwrap_or_else(|| body.clone()));
    body.unwrap_or_default()
        .to_string()
        .chars()
        .take(200)
        .collect()
}

/// The rows that may differ: the first column of the tables in the document, in backquotes.
fn listed() -> anyhow::Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(repository().join("docs/conformance.md"))?;
    let names = text.lines().filter_map(|line| {
        let cell = line.strip_prefix("| ")?.split('|').next()?;
        Some(
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    });
    Ok(names.flatten().collect())
}
