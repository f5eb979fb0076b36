//! One tenant's storm is that tenant's: agents, admins and other tenants go on (P12). By count; nothing here measures time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use koinon_tests::{
    League,
    client::{client, get},
    eventually,
    league::condition,
};
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
    let stormy = tenant(&league, "shop").await?;
    let quiet = tenant(&league, "quiet").await?;
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

/// Objects that are listed again and again.
const OBJECTS: usize = 3_000;
/// Lists at a time: more than the tenant has places.
const LISTERS: usize = 24;
/// Tenants that work as they always do.
const USERS: usize = 6;

/// One tenant lists a lot, all the time, in more requests than it has places: everybody gets what is his, and agents'
/// reports go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_lists_of_one_tenant_delay_neither_agents_nor_others() -> anyhow::Result<()> {
    let league = League::start()
        .hub_flag("--max-requests-inflight=40")
        .clusters(["east"])
        .await?;
    let admin = league.client().await?;
    let stormy = tenant(&league, "shop").await?;
    let made = stream::iter(0..OBJECTS).map(|at| {
        let admin = admin.clone();
        async move { post(&admin, "/api/v1/namespaces/shop/configmaps", &item(at)).await }
    });
    made.buffer_unordered(32).try_collect::<()>().await?;
    let mut users = Vec::new();
    for at in 0..USERS {
        let name = format!("user-{at}");
        users.push((tenant(&league, &name).await?, name));
    }
    let since = available_since(&league).await?;

    let stop = Arc::new(AtomicBool::new(false));
    let (lists, rounds) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..LISTERS {
        running.spawn(list_on(stormy.clone(), stop.clone(), lists.clone()));
    }
    for (client, name) in users {
        running.spawn(work_on(client, name, stop.clone(), rounds.clone()));
    }
    for at in 0..4 {
        post(&admin, WORKS, &work(at)).await?;
        let path = format!("{WORKS}/work-{at}");
        eventually("the work is applied", async || {
            let work = league.get(&path).await?;
            Ok((condition(&work, "Applied") == "True").then_some(()))
        })
        .await?;
    }
    let enough = LISTERS as u64;
    eventually("everybody got on", async || {
        let rounds = rounds.load(Ordering::Relaxed);
        Ok((lists.load(Ordering::Relaxed) >= enough && rounds >= 4 * USERS as u64).then_some(()))
    })
    .await?;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    ensure!(available_since(&league).await? == since);
    league.finish();
    Ok(())
}

/// Lists everything, again and again; a list that is not whole is an error.
async fn list_on(
    client: Client,
    stop: Arc<AtomicBool>,
    lists: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let path = "/api/v1/namespaces/shop/configmaps?resourceVersion=0";
        match client
            .request_text(http::Request::get(path).body(Vec::new())?)
            .await
        {
            Ok(text) => {
                ensure!(
                    text.len() > OBJECTS * item(0).to_string().len(),
                    "{}",
                    text.len()
                );
                ensure!(text.contains(&format!("\"item-{}\"", OBJECTS - 1)));
                lists.fetch_add(1, Ordering::Relaxed);
            }
            Err(kube::Error::Api(status)) if status.code == 500 => anyhow::bail!("{status}"),
            // He has waited for his own lists for too long, or reads too slowly.
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
    Ok(())
}

/// Writes and reads what is his own; whatever is refused is an error.
async fn work_on(
    client: Client,
    namespace: String,
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps");
    let mut made = 0;
    while !stop.load(Ordering::Relaxed) {
        post(&client, &path, &map()).await?;
        made += 1;
        let list: Value = get(&client, &path).await?;
        let count = list["items"].as_array().map_or(0, Vec::len);
        ensure!(count == made, "{count} of {made} in {namespace}");
        rounds.fetch_add(1, Ordering::Relaxed);
        // As somebody who has other things to do.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// A namespace, and a client with the rights of whoever works in it.
async fn tenant(league: &League, name: &str) -> anyhow::Result<Client> {
    let admin = league.client().await?;
    let core = format!("/api/v1/namespaces/{name}");
    let robot = json!({"metadata": {"name": "robot"}});
    let binding = json!({
        "metadata": {"name": "robot"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": name}],
    });
    let bindings = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{name}/rolebindings");
    let namespace = json!({"metadata": {"name": name}});
    post(&admin, "/api/v1/namespaces", &namespace).await?;
    post(&admin, &format!("{core}/serviceaccounts"), &robot).await?;
    post(&admin, &bindings, &binding).await?;
    let path = format!("{core}/serviceaccounts/robot/token");
    let wanted = json!({"spec": {"expirationSeconds": 3600}});
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&wanted)?)?;
    let token: Value = admin.request(request).await?;
    let token = token["status"]["token"].as_str().context("no token")?;
    let path = league.dir().join(format!("{name}.kubeconfig"));
    league.hub.kubeconfig_with(token, &path)?;
    client(&path).await
}

/// One of the many.
fn item(at: usize) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("item-{at}")}, "data": {"k": "v".repeat(1000)}})
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
