//! Many objects: how long a start takes with them, and what they cost in memory.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use super::{
    Settings,
    beside::{self, Kinds, PATIENCE, Side},
    etcd,
    https::{JSON, MERGE_PATCH, Target},
    latency::shown,
    load::fill,
    memory, objects,
    table::Table,
    writes::{ask, namespace},
};

const CLUSTERS: &str = "/apis/cluster.open-cluster-management.io/v1/managedclusters";
const WORKS: &str = "/apis/work.open-cluster-management.io/v1/manifestworks";
/// The first page is what shows that a server serves.
const PAGE: usize = 500;

/// Time from the start of the programs to a first page of many objects.
pub(super) async fn cold(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let count = settings.objects;
    let (ours, beside) = beside::both(Kinds::BuiltIn, async |side| {
        let target = side.admin()?;
        namespace(&mut target.connect().await?).await?;
        let name = |index| format!("o-{index:06}");
        match side {
            Side::Ours(_) => {
                fill(&target, count, |index| {
                    let object = objects::config_map(&name(index));
                    ask(Method::POST, objects::CONFIG_MAPS.to_owned(), JSON, &object)
                })
                .await?;
            }
            Side::Beside(member) => {
                etcd::put(member.etcd_address(), count, |index| {
                    let mut object = objects::config_map(&name(index));
                    object["metadata"]["namespace"] = "bench".into();
                    (format!("configmaps/bench/{}", name(index)), object)
                })
                .await?;
            }
        }
        let took = restart(side, &target, objects::CONFIG_MAPS, count).await?;
        Ok(format!("{}, {}", shown(took), resident(side)?))
    })
    .await?;
    table.row(
        &format!("cold start with {count} objects until they are listed"),
        &ours,
        &beside::kube(beside),
        "< 2 s",
    );
    Ok(())
}

/// Memory with a fleet and its works, each work with a body of its own and a status.
pub(super) async fn fleet(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let (clusters, works) = (settings.clusters.max(1), settings.assigned);
    let (ours, beside) = beside::both(Kinds::Ours, async |side| {
        let target = side.admin()?;
        match side {
            Side::Ours(_) => enter_fleet(&target, clusters, works).await?,
            Side::Beside(member) => store_fleet(member.etcd_address(), clusters, works).await?,
        }
        let page = format!("{WORKS}?limit={PAGE}");
        until(&target, &page, works).await?;
        let held = resident(side)?;
        let took = restart(side, &target, WORKS, works).await?;
        Ok((held, format!("{}, {}", shown(took), resident(side)?)))
    })
    .await?;
    let (held, took) = beside.unzip();
    table.row(
        &format!("memory with {clusters} clusters and {works} works"),
        &ours.0,
        &beside::kube(held),
        "< 1 GiB",
    );
    table.row(
        "the same, cold start until the works are listed",
        &ours.1,
        &beside::kube(took),
        "< 2 s",
    );
    Ok(())
}

fn cluster(index: usize) -> (String, Value) {
    let name = format!("c{index:05}");
    let cluster = json!({
        "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
        "metadata": { "name": name, "labels": { "region": format!("r{}", index % 20) } },
        "spec": { "hubAcceptsClient": true, "leaseDurationSeconds": 60 },
    });
    (name, cluster)
}

fn work(index: usize, clusters: usize) -> (String, String, Value) {
    let (namespace, name) = (format!("c{:05}", index % clusters), format!("w-{index:06}"));
    let mut work = objects::work(&name);
    // Else all works would share one body.
    work["spec"]["workload"]["manifests"][0]["data"]["own"] = index.to_string().into();
    (namespace, name, work)
}

async fn enter_fleet(target: &Target, clusters: usize, works: usize) -> anyhow::Result<()> {
    fill(target, clusters, |index| {
        ask(Method::POST, CLUSTERS.to_owned(), JSON, &cluster(index).1)
    })
    .await?;
    // The hub makes the namespaces of clusters that it accepts.
    until(target, "/api/v1/namespaces?limit=1", clusters).await?;
    let path = |namespace: &str| {
        format!("/apis/work.open-cluster-management.io/v1/namespaces/{namespace}/manifestworks")
    };
    fill(target, works, |index| {
        let (namespace, _, work) = work(index, clusters);
        ask(Method::POST, path(&namespace), JSON, &work)
    })
    .await?;
    fill(target, works, |index| {
        let (namespace, name, _) = work(index, clusters);
        let path = format!("{}/{name}/status", path(&namespace));
        ask(Method::PATCH, path, MERGE_PATCH, &objects::status(index))
    })
    .await?;
    Ok(())
}

async fn store_fleet(
    etcd: std::net::SocketAddr,
    clusters: usize,
    works: usize,
) -> anyhow::Result<()> {
    etcd::put(etcd, clusters, |index| {
        let (name, cluster) = cluster(index);
        (
            format!("cluster.open-cluster-management.io/managedclusters/{name}"),
            cluster,
        )
    })
    .await?;
    etcd::put(etcd, clusters, |index| {
        let name = cluster(index).0;
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name },
            "spec": { "finalizers": ["kubernetes"] }, "status": { "phase": "Active" },
        });
        (format!("namespaces/{name}"), namespace)
    })
    .await?;
    etcd::put(etcd, works, |index| {
        let (namespace, name, mut work) = work(index, clusters);
        work["metadata"]["namespace"] = namespace.clone().into();
        work["status"] = objects::status(index)["status"].clone();
        (
            format!("work.open-cluster-management.io/manifestworks/{namespace}/{name}"),
            work,
        )
    })
    .await
}

/// Stops a server in order, starts it, and measures until it lists.
async fn restart(
    side: &mut Side,
    target: &Target,
    path: &str,
    count: usize,
) -> anyhow::Result<Duration> {
    let page = format!("{path}?limit={PAGE}");
    let begin;
    match side {
        Side::Ours(hub) => {
            hub.stop().await?;
            begin = Instant::now();
            hub.launch()?;
            until(target, &page, count).await?;
        }
        Side::Beside(member) => {
            member.stop().await?;
            begin = Instant::now();
            let serving = async {
                until(target, &page, count).await?;
                anyhow::Ok(begin.elapsed())
            };
            let (took, started) = tokio::join!(serving, member.restart());
            started?;
            return took;
        }
    }
    Ok(begin.elapsed())
}

/// Asks until the first page of a list says that there are `count` objects; a server that is not there yet is no error.
async fn until(target: &Target, page: &str, count: usize) -> anyhow::Result<()> {
    let asked = async || {
        let mut api = target.connect().await?;
        let (status, body) = api.send(Method::GET, page, Bytes::new()).await?;
        ensure!(status.is_success(), "{status}");
        let list: Value = serde_json::from_slice(&body)?;
        let here = list["items"].as_array().map_or(0, Vec::len);
        let rest = list["metadata"]["remainingItemCount"]
            .as_u64()
            .unwrap_or_default();
        Ok(here + usize::try_from(rest)?)
    };
    let begin = Instant::now();
    loop {
        let said = match tokio::time::timeout(PATIENCE, asked())
            .await
            .context("no answer")?
        {
            Ok(there) if there >= count => return Ok(()),
            Ok(there) => anyhow::anyhow!("{there} of {count} objects"),
            Err(error) => error,
        };
        if begin.elapsed() >= PATIENCE {
            return Err(said.context(format!("{page}: not within {}", shown(PATIENCE))));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the programs of a server hold: the part that serves, and its database.
fn resident(side: &Side) -> anyhow::Result<String> {
    let (server, database, name) = match side {
        Side::Ours(hub) => {
            let pid = hub.pid().context("no hub")?;
            (memory::resident(pid)?, memory::below(pid)?, "Postgres")
        }
        Side::Beside(member) => {
            let (api, etcd) = member.pids().context("no API server")?;
            (memory::resident(api)?, memory::resident(etcd)?, "etcd")
        }
    };
    Ok(format!(
        "{} and {} {name}",
        memory::shown(server),
        memory::shown(database)
    ))
}
