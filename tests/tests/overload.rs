//! One tenant's storm is that tenant's: agents, admins and other tenants go on (P12). By count; nothing here measures time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use koinon_tests::{League, client::client, eventually, kubectl::Kubectl, league::condition};
use kube::Client;
use serde_json::{Value, json};

const CLUSTER: &str = "/apis/cluster.open-cluster-management.io/v1/managedclusters/east";
const WORKS: &str = "/apis/work.open-cluster-management.io/v1/namespaces/east/manifestworks";
/// As many requests at the same time: more than the tenant has places and room to wait.
const STORM: usize = 300;

#[tokio::test]
async fn a_storm_of_one_tenant_delays_neither_agents_nor_others() -> anyhow::Result<()> {
    let league = League::start()
        .hub_flag("--max-mutating-requests-inflight=40")
        .clusters(["east"])
        .await?;
    let admin = league.kubectl();
    let stormy = tenant(&admin, &league, "shop").await?;
    let quiet = tenant(&admin, &league, "quiet").await?;
    let since = available_since(&league).await?;

    let storm = Storm::start(&stormy);
    eventually("it is a storm", async || {
        Ok((storm.refused() >= 200 && storm.done() >= 200).then_some(()))
    })
    .await?;
    for at in 0..10 {
        // Exempt, as every admin is.
        post(&league.client().await?, WORKS, &work(at)).await?;
        // Another tenant finds a place, and is never told to come back.
        post(&quiet, "/api/v1/namespaces/quiet/configmaps", &map()).await?;
        let path = format!("{WORKS}/work-{at}");
        eventually("the work is applied", async || {
            let work = league.get(&path).await?;
            Ok((condition(&work, "Applied") == "True").then_some(()))
        })
        .await?;
    }
    let (done, refused) = storm.end().await?;
    println!("{done} writes of the storm, {refused} of it refused");
    ensure!(
        refused >= 200 && done >= 200,
        "{done} done, {refused} refused"
    );

    // Each that was answered is there, once, and nothing else.
    let maps = league.get("/api/v1/namespaces/shop/configmaps").await?;
    let count = maps["items"].as_array().map_or(0, Vec::len) as u64;
    ensure!(count == done, "{count} are there, {done} were acknowledged");
    // No lease was lost, and none was in danger.
    ensure!(available_since(&league).await? == since);
    let cluster = league.get(CLUSTER).await?;
    ensure!(
        cluster["spec"]["taints"]
            .as_array()
            .is_none_or(Vec::is_empty)
    );
    league.finish();
    Ok(())
}

/// Since when the cluster has been available without interruption.
async fn available_since(league: &League) -> anyhow::Result<String> {
    let cluster = league.get(CLUSTER).await?;
    let conditions = cluster["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| {
        condition["type"] == "ManagedClusterConditionAvailable" && condition["status"] == "True"
    });
    let found = found.with_context(|| format!("not available: {}", cluster["status"]))?;
    Ok(found["lastTransitionTime"].to_string())
}

/// A namespace, and a client with the rights of whoever works in it.
async fn tenant(admin: &Kubectl, league: &League, name: &str) -> anyhow::Result<Client> {
    admin.run(&["create", "namespace", name]).await?;
    admin
        .run(&["create", "serviceaccount", "robot", "-n", name])
        .await?;
    let account = format!("--serviceaccount={name}:robot");
    admin
        .run(&[
            "create",
            "rolebinding",
            "robot",
            "--clusterrole=edit",
            &account,
            "-n",
            name,
        ])
        .await?;
    let token = admin
        .run(&["create", "token", "robot", "-n", name, "--duration=20m"])
        .await?;
    let path = league.dir().join(format!("{name}.kubeconfig"));
    league.hub.kubeconfig_with(token.trim(), &path)?;
    client(&path).await
}

fn map() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "storm-"}, "data": {"k": "v".repeat(500)}})
}

fn work(at: usize) -> Value {
    let name = format!("work-{at}");
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}});
    json!({"apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork", "metadata": {"name": name},
           "spec": {"workload": {"manifests": [manifest]}}})
}

async fn post(client: &Client, path: &str, object: &Value) -> Result<(), kube::Error> {
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(object).expect("JSON"))
        .expect("a request");
    client.request::<Value>(request).await.map(drop)
}

/// Clients that write as fast as they are let, and come back when they are told to.
struct Storm {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    clients: tokio::task::JoinSet<anyhow::Result<()>>,
}

impl Storm {
    fn start(client: &Client) -> Self {
        let mut storm = Self {
            stop: Arc::default(),
            done: Arc::default(),
            refused: Arc::default(),
            clients: tokio::task::JoinSet::new(),
        };
        for _ in 0..STORM {
            let (stop, done, refused) = (
                storm.stop.clone(),
                storm.done.clone(),
                storm.refused.clone(),
            );
            let client = client.clone();
            storm.clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    match post(&client, "/api/v1/namespaces/shop/configmaps", &map()).await {
                        Ok(()) => drop(done.fetch_add(1, Ordering::Relaxed)),
                        Err(kube::Error::Api(status)) if status.code == 429 => {
                            refused.fetch_add(1, Ordering::Relaxed);
                            // What `Retry-After` says.
                            tokio::time::sleep(Duration::from_secs(1)).await;
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(())
            });
        }
        storm
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many were done and refused; an answer of any other sort is an error.
    async fn end(mut self) -> anyhow::Result<(u64, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended??;
        }
        Ok((self.done(), self.refused()))
    }
}
