//! Many placements through the API, with Postgres: created and decided, and decided anew when many clusters are lost.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    https::{Connection, Target},
    latency::shown,
    table::Table,
};
use crate::hub::Hub;

mod seen;

use seen::Seen;

const CLUSTER: &str = "/apis/cluster.open-cluster-management.io";
const DECISIONS: &str =
    "/apis/cluster.open-cluster-management.io/v1beta1/namespaces/bench/placementdecisions";
/// The larger fleet, and how many of it are lost.
const FLEET: usize = 10_000;
const LOST: usize = 1_000;
const PLACEMENTS: usize = 10_000;
/// Connections that write side by side.
const CLIENTS: usize = 64;
/// As long as a machine can have for one step.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) async fn run(table: &mut Table) -> anyhow::Result<()> {
    let (created, decided) = decide(1_000, async |_, _| Ok(())).await?;
    table.row(
        &format!("{PLACEMENTS} placements over 1000 clusters"),
        &format!(
            "created in {}, all decided in {}",
            shown(created),
            shown(decided)
        ),
        "OCM, its own benchmark of that size: 401 s",
        "< 10 s",
    );
    let mut lost = None;
    decide(FLEET, async |connections, seen| {
        lost = Some(lose(connections, seen).await?);
        Ok(())
    })
    .await?;
    let (tainted, out) = lost.context("nothing was lost")?;
    table.row(
        &format!(
            "{LOST} of {FLEET} clusters lost at once, {PLACEMENTS} placements: all decisions out"
        ),
        &format!("{} (tainted in {})", shown(out), shown(tainted)),
        "",
        "< 2 s",
    );
    Ok(())
}

/// A hub with clusters on which all placements are created: how long that took, and how long until all were decided.
async fn decide(
    clusters: usize,
    then: impl AsyncFnOnce(Vec<Connection>, &mut Seen) -> anyhow::Result<()>,
) -> anyhow::Result<(Duration, Duration)> {
    let dir = super::folder()?;
    // Clusters are made by hand, and nobody beats for them: what taints them is this benchmark.
    let flags = ["--controllers=*,-lease,-taint"];
    let hub = Hub::start_with(&dir.path().join("hub"), &flags).await?;
    let target = Target::read(&hub.kubeconfig(), hub.api_address())?;
    let mut connections = Vec::new();
    for _ in 0..CLIENTS {
        connections.push(target.connect().await?);
    }
    let mut api = target.connect().await?;
    prepare(&mut api).await?;
    connections = each(connections, clusters, Method::POST, |n| {
        (format!("{CLUSTER}/v1/managedclusters"), cluster(n))
    })
    .await?;
    // A cluster is unreachable until an agent reports.
    let objects = tainted(&mut api, clusters, &json!([])).await?;
    connections = each(connections, clusters, Method::PUT, |n| {
        (object_path(n), objects[n].clone())
    })
    .await?;

    let mut seen = Seen::open(&target, DECISIONS).await?;
    let begin = Instant::now();
    let create = async {
        let connections = each(connections, PLACEMENTS, Method::POST, |n| {
            let path = format!("{CLUSTER}/v1beta1/namespaces/bench/placements");
            (path, placement(n))
        })
        .await?;
        anyhow::Ok((connections, begin.elapsed()))
    };
    let all = seen.until(PLACEMENTS, |clusters| clusters.len() == WANTED);
    let ((connections, created), ()) = timeout(PATIENCE, async { tokio::try_join!(create, all) })
        .await
        .context("not all placements were decided in time")??;
    let decided = begin.elapsed();
    then(connections, &mut seen).await?;
    Ok((created, decided))
}

/// Taints the first clusters; how long that took, and how long until no decision names one of them.
async fn lose(
    mut connections: Vec<Connection>,
    seen: &mut Seen,
) -> anyhow::Result<(Duration, Duration)> {
    let api = connections.first_mut().context("no connection")?;
    let lost = json!([{
        "key": "cluster.open-cluster-management.io/unreachable", "effect": "NoSelect",
    }]);
    let objects = tainted(api, LOST, &lost).await?;
    let begin = Instant::now();
    let taint = async {
        let connections = each(connections, LOST, Method::PUT, |n| {
            (object_path(n), objects[n].clone())
        })
        .await?;
        anyhow::Ok((connections, begin.elapsed()))
    };
    let first = name(LOST);
    let sound = |one: &[String]| one.len() == WANTED && one.iter().all(|name| *name >= first);
    let out = seen.until(PLACEMENTS, sound);
    let ((_connections, tainted), ()) = timeout(PATIENCE, async { tokio::try_join!(taint, out) })
        .await
        .context("decisions name lost clusters for too long")??;
    Ok((tainted, begin.elapsed()))
}

/// The first clusters, with these taints instead of theirs.
async fn tainted(
    api: &mut Connection,
    clusters: usize,
    taints: &Value,
) -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    for n in 0..clusters {
        let mut object = api.json(Method::GET, &object_path(n), &Value::Null).await?;
        object["spec"]["taints"] = taints.clone();
        objects.push(object);
    }
    Ok(objects)
}

fn object_path(n: usize) -> String {
    format!("{CLUSTER}/v1/managedclusters/{}", name(n))
}

/// Clusters that each placement wants.
const WANTED: usize = 3;

async fn prepare(api: &mut Connection) -> anyhow::Result<()> {
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "bench" } });
    api.json(Method::POST, "/api/v1/namespaces", &namespace)
        .await?;
    let binding = json!({
        "apiVersion": "cluster.open-cluster-management.io/v1beta2", "kind": "ManagedClusterSetBinding",
        "metadata": { "name": "global" }, "spec": { "clusterSet": "global" },
    });
    let path = format!("{CLUSTER}/v1beta2/namespaces/bench/managedclustersetbindings");
    api.json(Method::POST, &path, &binding).await?;
    Ok(())
}

fn name(n: usize) -> String {
    format!("c{n:05}")
}

fn cluster(n: usize) -> Value {
    json!({
        "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
        "metadata": { "name": name(n), "labels": { "region": format!("r{}", n % 10), "tier": (n % 5).to_string() } },
        "spec": { "hubAcceptsClient": false },
    })
}

fn placement(n: usize) -> Value {
    let mut spec = json!({ "numberOfClusters": WANTED });
    if n.is_multiple_of(2) {
        let labels = json!({ "matchLabels": { "region": format!("r{}", n / 2 % 10) } });
        spec["predicates"] = json!([{ "requiredClusterSelector": { "labelSelector": labels } }]);
    }
    json!({
        "apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "Placement",
        "metadata": { "name": format!("p{n:05}") }, "spec": spec,
    })
}

/// Sends one request for each number, over all connections.
async fn each(
    connections: Vec<Connection>,
    count: usize,
    method: Method,
    request: impl Fn(usize) -> (String, Value),
) -> anyhow::Result<Vec<Connection>> {
    let mut shares: Vec<Vec<(String, Bytes)>> = vec![Vec::new(); connections.len()];
    for n in 0..count {
        let (path, body) = request(n);
        let share = n % shares.len();
        shares[share].push((path, Bytes::from(serde_json::to_vec(&body)?)));
    }
    let tasks = connections
        .into_iter()
        .zip(shares)
        .map(|(mut connection, share)| {
            let method = method.clone();
            let task = tokio::spawn(async move {
                for (path, body) in share {
                    let (status, answer) = connection.send(method.clone(), &path, body).await?;
                    ensure!(
                        status.is_success(),
                        "{path}: {status}: {}",
                        String::from_utf8_lossy(&answer)
                    );
                }
                Ok(connection)
            });
            async move { task.await? }
        });
    try_join_all(tasks).await
}
