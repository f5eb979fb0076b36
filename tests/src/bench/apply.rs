//! A work, from its creation until a watcher of the hub sees it applied: with a real agent and a real API server. And
//! what the agent holds when nothing happens.

mod floor;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::StreamExt;
use hyper::Method;
use koinon_api::ManifestWork;
use kube::{
    Api, Client,
    api::{WatchEvent, WatchParams},
};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    Settings,
    https::{Connection, Target},
    latency::{Latency, shown},
    memory, objects,
    table::Table,
};
use crate::{eventually::eventually_within, league::League, member::Apis};

const CLUSTER: &str = "one";
const WORKS: &str = "/apis/work.open-cluster-management.io/v1/namespaces/one/manifestworks";

/// How many clients make a burst.
const CLIENTS: usize = 16;

/// Long enough for whatever is reported late.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn run(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let mut league = League::start()
        .apis(Apis::Whole)
        .clusters([CLUSTER])
        .await?;
    let target = Target::read(&league.hub.kubeconfig(), league.hub.api_address())?;
    let mut connection = target.connect().await?;
    let mut applied = watch(league.client().await?);

    let mut times = Vec::new();
    for index in 0..settings.works {
        let name = format!("single-{index}");
        let begin = Instant::now();
        connection
            .json(Method::POST, WORKS, &objects::work(&name))
            .await?;
        let seen = tokio::time::timeout(PATIENCE, applied.of(&name))
            .await
            .context("not applied in time")??;
        times.push(seen - begin);
    }
    // The first few set up watches in the agent.
    let times = Latency::of(times.split_off(times.len().min(10)));
    table.row(
        "work created → Applied seen by a watcher",
        &times.to_string(),
        "OCM: p50 25 / p99 41 ms",
        "p50 < 10 / p99 < 25 ms",
    );

    let begin = Instant::now();
    burst(&target, settings.burst).await?;
    let mut last = begin;
    for index in 0..settings.burst {
        let name = format!("burst-{index}");
        let seen = applied.of(&name);
        last = last.max(
            tokio::time::timeout(PATIENCE, seen)
                .await
                .context("not applied in time")??,
        );
    }
    table.row(
        &format!("burst of {} works for one cluster", settings.burst),
        &rate(settings.burst, last - begin),
        "OCM: 14 works/s",
        "> 300 works/s",
    );

    clear(&mut connection).await?;
    let agent = league.site(CLUSTER).agent.pid().context("no agent")?;
    let hub = league.hub.pid().context("no hub")?;
    settle().await;
    table.row(
        "agent at rest",
        &memory::shown(memory::resident(agent)?),
        "OCM: 99 MB",
        "< 15 MiB",
    );
    table.row(
        "hub with one cluster",
        &memory::shown(memory::resident(hub)?),
        "",
        "",
    );
    let site = league.site(CLUSTER);
    let own = Target::read(&site.member.kubeconfig(), site.member.api_address())?;
    let member = floor::member(&mut own.connect().await?, settings.works).await?;
    let kept = floor::kept(&own, settings.works).await?;
    let all = floor::all(&mut connection, settings.works, member.clone()).await?;
    table.row(
        "floor: record, then object, written bare into the same member",
        &Latency::of(member).to_string(),
        "",
        "",
    );
    table.row(
        "floor: the same, with what is desired stored beside the record",
        &Latency::of(kept).to_string(),
        "",
        "",
    );
    table.row(
        "floor: these two, and work and status written bare to the hub",
        &Latency::of(all).to_string(),
        "",
        "",
    );
    let bare = floor::burst(&target, &own, settings.burst, CLIENTS).await?;
    table.row(
        &format!(
            "floor: {} works at once, the same four writes bare by {CLIENTS} clients",
            settings.burst
        ),
        &rate(settings.burst, bare),
        "",
        "",
    );
    league.finish();
    Ok(())
}

fn rate(works: usize, took: Duration) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = works as f64 / took.as_secs_f64();
    format!("{rate:.0} works/s ({})", shown(took))
}

async fn burst(target: &Target, count: usize) -> anyhow::Result<()> {
    let clients = (0..CLIENTS).map(async |client| {
        let mut connection = target.connect().await?;
        for index in (client..count).step_by(CLIENTS) {
            connection
                .json(
                    Method::POST,
                    WORKS,
                    &objects::work(&format!("burst-{index}")),
                )
                .await?;
        }
        anyhow::Ok(())
    });
    futures::future::try_join_all(clients).await?;
    Ok(())
}

/// Deletes all works and waits until the agent has removed them.
async fn clear(connection: &mut Connection) -> anyhow::Result<()> {
    connection.json(Method::DELETE, WORKS, &Value::Null).await?;
    let connection = tokio::sync::Mutex::new(connection);
    eventually_within(PATIENCE, "all works are gone", async || {
        let list = connection
            .lock()
            .await
            .json(Method::GET, WORKS, &Value::Null)
            .await?;
        let left = list["items"].as_array().map_or(0, Vec::len);
        anyhow::ensure!(left == 0, "{left} are left");
        Ok(Some(()))
    })
    .await
}

/// Lets freed memory go back and timers run dry.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(20)).await;
}

/// When each work was seen applied.
struct Applied {
    events: mpsc::UnboundedReceiver<anyhow::Result<(String, Instant)>>,
    seen: HashMap<String, Instant>,
}

impl Applied {
    async fn of(&mut self, name: &str) -> anyhow::Result<Instant> {
        loop {
            if let Some(at) = self.seen.remove(name) {
                return Ok(at);
            }
            let (name, at) = self.events.recv().await.context("the watch ended")??;
            self.seen.insert(name, at);
        }
    }
}

/// Watches the works, as a user's program would.
fn watch(client: Client) -> Applied {
    // Unbounded: it holds one entry for each work of the run.
    let (sender, events) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let works: Api<ManifestWork> = Api::namespaced(client, CLUSTER);
        let mut said = HashMap::new();
        let stream = match works.watch(&WatchParams::default(), "0").await {
            Ok(stream) => stream,
            Err(error) => return drop(sender.send(Err(error.into()))),
        };
        let mut stream = stream.boxed();
        while let Some(event) = stream.next().await {
            let at = Instant::now();
            let work = match event {
                Ok(WatchEvent::Added(work) | WatchEvent::Modified(work)) => work,
                Ok(_) => continue,
                Err(error) => return drop(sender.send(Err(error.into()))),
            };
            let name = work.metadata.name.unwrap_or_default();
            let conditions = work.status.unwrap_or_default().conditions;
            let applied = conditions
                .iter()
                .any(|condition| condition.type_ == "Applied" && condition.status == "True");
            if applied
                && said.insert(name.clone(), ()).is_none()
                && sender.send(Ok((name, at))).is_err()
            {
                return;
            }
        }
    });
    Applied {
        events,
        seen: HashMap::new(),
    }
}
