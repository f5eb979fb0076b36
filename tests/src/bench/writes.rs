//! Writes per second through the HTTPS API with fsync on, by 1, 32 and 256 clients, beside kube-apiserver on etcd.

use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use futures::future::try_join_all;
use hyper::{Method, StatusCode};
use serde_json::json;

use super::{Settings, https::Target, latency::Latency, objects, table::Table};
use crate::{hub::Hub, member::Member};

const CLIENTS: [(usize, &str); 3] = [(1, "> 2,000/s"), (32, "> 10,000/s"), (256, "> 12,000/s")];

pub(super) async fn run(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let dir = super::folder()?;
    // One after the other: side by side means the same machine, not the same moment.
    let ours = {
        let hub = Hub::start(&dir.path().join("hub")).await?;
        measure_all(
            &Target::read(&hub.kubeconfig(), hub.api_address())?,
            settings.load,
        )
        .await?
    };
    let beside = match Member::start("beside", &dir.path().join("beside")).await {
        Ok(member) => {
            measure_all(
                &Target::read(&member.kubeconfig(), member.api_address())?,
                settings.load,
            )
            .await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = &beside {
        eprintln!("bench:   nothing to compare with: {error:#}");
    }
    let beside = beside.unwrap_or_default();
    for (index, (clients, bar)) in CLIENTS.into_iter().enumerate() {
        let shown = |all: &[Load]| all.get(index).map_or_else(String::new, ToString::to_string);
        let name = format!("API creates of 1 KB, {clients} clients");
        table.row(
            &name,
            &shown(&ours),
            &format!("kube-apiserver + etcd: {}", shown(&beside)),
            bar,
        );
    }
    Ok(())
}

/// What a load reached.
struct Load {
    rate: f64,
    latency: Latency,
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0}/s, {}", self.rate, self.latency)
    }
}

async fn measure_all(target: &Target, load: Duration) -> anyhow::Result<Vec<Load>> {
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "bench" } });
    target
        .connect()
        .await?
        .json(Method::POST, "/api/v1/namespaces", &namespace)
        .await?;
    let mut loads = Vec::new();
    // The first writes after a start fill caches and allocate; they are nobody's usual.
    measure(target, 8, Duration::from_secs(1), "warm").await?;
    for (clients, _) in CLIENTS {
        loads.push(measure(target, clients, load, &format!("c{clients}")).await?);
    }
    Ok(loads)
}

async fn measure(
    target: &Target,
    clients: usize,
    load: Duration,
    prefix: &str,
) -> anyhow::Result<Load> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(target.connect().await?);
    }
    let begin = Instant::now();
    let end = begin + load;
    let tasks = connections
        .into_iter()
        .enumerate()
        .map(|(client, mut connection)| {
            let prefix = format!("{prefix}-{client}");
            let task = tokio::spawn(async move {
                let mut times = Vec::new();
                for count in 0_u64.. {
                    let sent = Instant::now();
                    if sent >= end {
                        break;
                    }
                    let body = Bytes::from(serde_json::to_vec(&objects::config_map(&format!(
                        "{prefix}-{count}"
                    )))?);
                    let path = "/api/v1/namespaces/bench/configmaps";
                    let (status, answer) = connection.send(Method::POST, path, body).await?;
                    ensure!(
                        status == StatusCode::CREATED,
                        "{status}: {}",
                        String::from_utf8_lossy(&answer)
                    );
                    times.push(sent.elapsed());
                }
                Ok(times)
            });
            async move { task.await? }
        });
    let times = try_join_all(tasks).await?.concat();
    let took = begin.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    Ok(Load {
        rate: times.len() as f64 / took,
        latency: Latency::of(times),
    })
}
