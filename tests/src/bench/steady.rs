//! An agent that has many works and nothing to do: what it holds and uses, how soon it repairs drift, and what it costs to
//! find out after a reconnect that nothing has changed.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures::StreamExt;
use hyper::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
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

/// Objects of each work.
const EACH: usize = 5;

/// Objects that are changed by hand, one after the other. Each only once: who changes one again and again is in a fight.
const DRIFTS: usize = 100;

/// Long enough for all works to be applied on a slow machine.
const PATIENCE: Duration = Duration::from_secs(100);

/// How long memory settles, and how long the processor time is taken.
const REST: Duration = Duration::from_secs(15);
const WATCHED: Duration = Duration::from_secs(20);

pub(super) async fn run(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let mut league = League::start()
        .apis(Apis::Whole)
        .clusters([CLUSTER])
        .await?;
    let target = Target::read(&league.hub.kubeconfig(), league.hub.api_address())?;
    let member = league.site(CLUSTER).member.client().await?;
    let agent = league.site(CLUSTER).agent.pid().context("no agent")?;
    tokio::time::sleep(REST).await;
    table.row(
        "agent without works",
        &memory::shown(memory::resident(agent)?),
        "OCM: 99 MB",
        "< 15 MiB",
    );

    let begin = Instant::now();
    create(&target, settings.held).await?;
    let mut connection = target.connect().await?;
    applied(&mut connection, settings.held).await?;
    let took = begin.elapsed();
    let what = format!("{} works of {EACH} objects", settings.held);
    table.row(&format!("{what}: all applied"), &shown(took), "", "");

    let drift = drift(&member, settings.held).await?;
    table.row(
        "drift → repaired",
        &Latency::of(drift).to_string(),
        "OCM: up to 6 min",
        "p99 < 1 s",
    );

    tokio::time::sleep(REST).await;
    table.row(
        &format!("{what}: agent's memory"),
        &memory::shown(memory::resident(agent)?),
        "",
        "< 40 MiB",
    );
    let before = memory::processor(agent)?;
    tokio::time::sleep(WATCHED).await;
    let used = memory::processor(agent)? - before;
    let share = used.as_secs_f64() / WATCHED.as_secs_f64() * 100.0;
    table.row(
        &format!("{what}: agent's processor time"),
        &format!("{share:.1} % of a core"),
        "",
        "< 1 %",
    );

    let versions = versions(&member).await?;
    let wire = &league.site(CLUSTER).wire;
    wire.cut();
    // What was on its way is lost now.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (up, down) = wire.passed();
    wire.resume();
    let begin = Instant::now();
    eventually_within(PATIENCE, "the agent is back", async || {
        let now = league.site(CLUSTER).wire.passed();
        Ok((now.0 > up && now.1 > down).then_some(()))
    })
    .await?;
    let away = begin.elapsed();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let now = league.site(CLUSTER).wire.passed();
    let after = self::versions(&member).await?;
    let changed = after.iter().filter(|(k, v)| versions.get(*k) != Some(v));
    table.row(
        &format!("{what}, unchanged: reconnect"),
        &format!(
            "{} sent, {} received (TLS included), {} writes, back after {}",
            memory::shown(now.0 - up),
            memory::shown(now.1 - down),
            changed.count(),
            shown(away),
        ),
        "",
        "< 1 KB per 100 works, 0 writes",
    );
    league.finish();
    Ok(())
}

async fn create(target: &Target, count: usize) -> anyhow::Result<()> {
    const CLIENTS: usize = 16;
    let clients = (0..CLIENTS).map(async |client| {
        let mut connection = target.connect().await?;
        for index in (client..count).step_by(CLIENTS) {
            let work = objects::several(&format!("held-{index}"), EACH);
            connection.json(Method::POST, WORKS, &work).await?;
        }
        anyhow::Ok(())
    });
    futures::future::try_join_all(clients).await?;
    Ok(())
}

/// Waits until all works are applied.
async fn applied(connection: &mut Connection, count: usize) -> anyhow::Result<()> {
    let connection = tokio::sync::Mutex::new(connection);
    eventually_within(PATIENCE, "all works are applied", async || {
        let list = connection
            .lock()
            .await
            .json(Method::GET, WORKS, &Value::Null)
            .await?;
        let works = list["items"].as_array().into_iter().flatten();
        let done = works.filter(|work| {
            let conditions = work["status"]["conditions"].as_array();
            conditions
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Applied" && condition["status"] == "True")
        });
        let done = done.count();
        ensure!(done == count, "{done} of {count}");
        Ok(Some(()))
    })
    .await
}

/// Changes objects by hand and takes the time until each is as declared again.
async fn drift(member: &Client, held: usize) -> anyhow::Result<Vec<Duration>> {
    let maps: Api<ConfigMap> = Api::namespaced(member.clone(), "default");
    let mut events = watch(maps.clone()).await?;
    let mut times = Vec::new();
    for n in 0..DRIFTS.min(held) {
        let name = format!("held-{n}-{}", n % EACH);
        let change = Patch::Merge(json!({"data": {"key": "drift"}}));
        let begin = Instant::now();
        let changed = maps.patch(&name, &PatchParams::default(), &change).await?;
        let changed = changed.metadata.resource_version.unwrap_or_default();
        let repaired = async {
            loop {
                let (map, at) = events.recv().await.context("the watch ended")??;
                let data = map.data.unwrap_or_default();
                if map.metadata.name.as_deref() == Some(&name)
                    && map.metadata.resource_version.unwrap_or_default() != changed
                    && data.get("key").map(String::as_str) == Some("value")
                {
                    return anyhow::Ok(at);
                }
            }
        };
        let at = tokio::time::timeout(PATIENCE, repaired)
            .await
            .with_context(|| format!("{name} was not repaired"))??;
        times.push(at.duration_since(begin));
    }
    Ok(times)
}

type Seen = anyhow::Result<(ConfigMap, Instant)>;

/// Watches the ConfigMaps from now on.
async fn watch(maps: Api<ConfigMap>) -> anyhow::Result<mpsc::UnboundedReceiver<Seen>> {
    let one = ListParams::default().limit(1);
    let list = maps.list_metadata(&one).await?;
    let version = list.metadata.resource_version.unwrap_or_default();
    let mut stream = maps.watch(&WatchParams::default(), &version).await?.boxed();
    // Unbounded: it holds a few events for each drift.
    let (sender, events) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(event) = stream.next().await {
            let at = Instant::now();
            let said = match event {
                Ok(WatchEvent::Modified(map)) => Ok((map, at)),
                Ok(_) => continue,
                Err(error) => Err(error.into()),
            };
            if sender.send(said).is_err() {
                return;
            }
        }
    });
    Ok(events)
}

/// Versions of all that the agent has written.
async fn versions(member: &Client) -> anyhow::Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::new();
    for path in [
        "/api/v1/namespaces/default/configmaps",
        "/apis/work.open-cluster-management.io/v1/appliedmanifestworks",
        "/api/v1/namespaces/open-cluster-management-agent/configmaps",
        "/api/v1/namespaces/open-cluster-management-agent/secrets",
    ] {
        let request = http::Request::get(path).body(Vec::new())?;
        let list: Value = member.request(request).await?;
        let items = list["items"].as_array().into_iter().flatten();
        let of = |item: &Value, field: &str| {
            let text = item["metadata"][field].as_str().unwrap_or_default();
            text.to_owned()
        };
        let found: HashMap<_, _> = items
            .map(|item| {
                (
                    format!("{path}/{}", of(item, "name")),
                    of(item, "resourceVersion"),
                )
            })
            .collect();
        versions.extend(found);
    }
    Ok(versions)
}
