//! Statuses as agents report them: over their sessions, many works in a message, checked and written by the hub.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use hyper::Method;
use serde_json::Value;

use super::{
    Settings,
    beside::PATIENCE,
    fleet::Fleet,
    https::{Connection, JSON, Target},
    load::fill,
    objects,
    table::Table,
    writes::ask,
};
use crate::hub::Hub;

const AGENTS: usize = 100;
/// Of each agent.
const WORKS: usize = 10;
/// The first reports fill queues.
const BEGINNING: Duration = Duration::from_secs(1);

pub(super) async fn run(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let dir = super::folder()?;
    let hub = Hub::start(&dir.path().join("hub")).await?;
    let target = Target::read(&hub.kubeconfig(), hub.api_address())?;
    let mut api = target.connect().await?;
    let fleet = Fleet::start(AGENTS, hub.agent_address(), &hub.kubeconfig(), &mut api).await?;
    until("all agents are attached", || fleet.connected() >= AGENTS).await?;
    fill(&target, AGENTS * WORKS, |index| {
        let namespace = format!("c{:04}", index % AGENTS);
        let path = format!(
            "/apis/work.open-cluster-management.io/v1/namespaces/{namespace}/manifestworks"
        );
        let work = objects::work(&format!("w-{index:04}"));
        ask(Method::POST, path, JSON, &work)
    })
    .await?;
    until("every agent has its works", || {
        fleet.pulled() >= AGENTS * WORKS
    })
    .await?;

    fleet.counters.reporting.store(true, Ordering::Relaxed);
    tokio::time::sleep(BEGINNING).await;
    let (begin, from) = (Instant::now(), revision(&mut api).await?);
    tokio::time::sleep(settings.load).await;
    let (took, upto) = (begin.elapsed(), revision(&mut api).await?);
    fleet.counters.reporting.store(false, Ordering::Relaxed);
    ensure!(fleet.running() == AGENTS, "an agent ended");
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = (upto - from) as f64 / took.as_secs_f64();
    table.row(
        &format!("status updates of works over {AGENTS} sessions"),
        &format!("{rate:.0}/s"),
        "Maestro, published: 15/s",
        "> 10,000/s",
    );
    Ok(())
}

/// The revision of the registry: nothing else is written meanwhile, and every status is another one, so it counts them.
async fn revision(api: &mut Connection) -> anyhow::Result<i64> {
    let list = "/api/v1/namespaces?limit=1";
    let list = api.json(Method::GET, list, &Value::Null).await?;
    let revision = list["metadata"]["resourceVersion"].as_str();
    Ok(revision.context("a list without a revision")?.parse()?)
}

async fn until(what: &str, holds: impl Fn() -> bool) -> anyhow::Result<()> {
    let begin = Instant::now();
    while !holds() {
        ensure!(begin.elapsed() < PATIENCE, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
