//! A storm of writes against a hub that may die at any moment, and the account of it: what was acknowledged, and
//! what nobody can know.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use futures::{StreamExt, future::join_all};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    runtime::{watcher, watcher::Event},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    client::get,
    eventually::{PATIENCE, eventually},
    hub::Hub,
    member::Member,
};

/// Namespace in the member cluster where the works put their `ConfigMap`s.
pub const NAMESPACE: &str = "storm";
/// Every request ends after this; what it did is in doubt then.
const REQUEST: Duration = Duration::from_secs(10);

/// What may be true of a work: `None` is "it is gone", a number is the value it carries.
type Possible = Vec<Option<u64>>;

/// Writers that create, change and delete works of one cluster until told to stop.
#[derive(Debug)]
pub struct Storm {
    cluster: String,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    writers: Vec<JoinHandle<anyhow::Result<BTreeMap<String, Possible>>>>,
}

/// What the storm left behind.
#[derive(Debug)]
pub struct Account {
    cluster: String,
    works: BTreeMap<String, Possible>,
    /// Works whose deletion was asked for, answered or not.
    doomed: BTreeSet<String>,
}

fn works(cluster: &str) -> String {
    format!("/apis/work.open-cluster-management.io/v1/namespaces/{cluster}/manifestworks")
}

/// A work with one `ConfigMap` that carries `value`.
#[must_use]
pub fn work(cluster: &str, name: &str, value: u64) -> Value {
    json!({
        "apiVersion": "work.open-cluster-management.io/v1",
        "kind": "ManifestWork",
        "metadata": {"name": name, "namespace": cluster},
        "spec": {"workload": {"manifests": [{
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "data": {"value": value.to_string()},
        }]}},
    })
}

/// Creates the works' namespace in a member.
///
/// # Errors
/// When the member refuses.
pub async fn prepare(member: &Member) -> anyhow::Result<()> {
    member
        .kubectl()
        .run(&["create", "namespace", NAMESPACE])
        .await
        .map(drop)
}

impl Storm {
    /// Lets `writers` loose on the works of `cluster`. Names begin with `prefix`.
    ///
    /// # Errors
    /// When the hub has no usable kubeconfig.
    pub async fn unleash(
        hub: &Hub,
        cluster: &str,
        prefix: &str,
        writers: usize,
    ) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let mut storm = Self {
            cluster: cluster.to_owned(),
            stop,
            acknowledged,
            writers: Vec::new(),
        };
        for writer in 0..writers {
            let writer = Writer {
                client: hub.client().await?,
                cluster: cluster.to_owned(),
                prefix: format!("{prefix}{writer}"),
                stop: storm.stop.clone(),
                acknowledged: storm.acknowledged.clone(),
            };
            storm.writers.push(tokio::spawn(writer.run()));
        }
        Ok(storm)
    }

    /// Waits until so many more writes were acknowledged.
    ///
    /// # Errors
    /// When the hub does not take them.
    pub async fn blows(&self, writes: usize) -> anyhow::Result<()> {
        let goal = self.acknowledged.load(Ordering::Relaxed) + writes;
        eventually("the hub takes writes", async || {
            Ok((self.acknowledged.load(Ordering::Relaxed) >= goal).then_some(()))
        })
        .await
    }

    /// Ends the storm.
    ///
    /// # Errors
    /// When a writer met something that is neither an answer nor an outage.
    pub async fn calm(self) -> anyhow::Result<Account> {
        self.stop.store(true, Ordering::Relaxed);
        let mut works = BTreeMap::new();
        for writer in join_all(self.writers).await {
            works.extend(writer??);
        }
        // A creation in doubt begins with `None`, a deletion ends with it.
        let doomed = works
            .iter()
            .filter(|(_, possible)| possible.last() == Some(&None));
        let doomed = doomed.map(|(name, _)| name.clone()).collect();
        Ok(Account {
            cluster: self.cluster,
            works,
            doomed,
        })
    }
}

struct Writer {
    client: Client,
    cluster: String,
    prefix: String,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
}

impl Writer {
    async fn run(self) -> anyhow::Result<BTreeMap<String, Possible>> {
        let mut works = BTreeMap::new();
        let mut round = 0;
        while !self.stop.load(Ordering::Relaxed) {
            round += 1;
            let name = format!("{}-{round}", self.prefix);
            let possible = self.life(&name, round).await;
            if possible.len() > 1 {
                // Something went unanswered: the hub is away.
                timeout(PATIENCE, self.hub_answers())
                    .await
                    .context("the hub does not come back")?;
            }
            works.insert(name, possible);
        }
        Ok(works)
    }

    async fn hub_answers(&self) {
        while !self
            .answered(http::Request::get("/version"), &Value::Null)
            .await
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Creates a work, changes it twice, and deletes every third. Ends at the first request without an answer.
    async fn life(&self, name: &str, round: u64) -> Possible {
        let path = works(&self.cluster);
        let mut certain = None;
        for value in 1..=3 {
            let object = work(&self.cluster, name, value);
            let request = match certain {
                None => {
                    http::Request::post(path.clone()).header("content-type", "application/json")
                }
                Some(_) => http::Request::patch(format!("{path}/{name}"))
                    .header("content-type", "application/merge-patch+json"),
            };
            if !self.answered(request, &object).await {
                return vec![certain, Some(value)];
            }
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            certain = Some(value);
        }
        if round.is_multiple_of(3) {
            let request = http::Request::delete(format!("{path}/{name}"));
            if !self.answered(request, &Value::Null).await {
                return vec![certain, None];
            }
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            certain = None;
        }
        vec![certain]
    }

    async fn answered(&self, request: http::request::Builder, body: &Value) -> bool {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = request
            .body(body)
            .expect("the parts are constants and names");
        matches!(
            timeout(REQUEST, self.client.request::<Value>(request)).await,
            Ok(Ok(_))
        )
    }
}

impl Account {
    /// Adds what another storm on the same cluster left.
    pub fn add(&mut self, other: Self) {
        self.works.extend(other.works);
        self.doomed.extend(other.doomed);
    }

    /// P2: everything acknowledged is on the hub, nothing is there that nobody asked for.
    /// Then waits until the member has exactly what the hub says.
    ///
    /// # Errors
    /// When something acknowledged is lost, or the member does not come to agree.
    pub async fn settles(&self, hub: &Client, member: &Client) -> anyhow::Result<()> {
        let on_hub = self.on_hub(hub).await?;
        let mut lost = Vec::new();
        for (name, possible) in &self.works {
            let found = on_hub.get(name).copied();
            if !possible.contains(&found) {
                lost.push(format!(
                    "{name}: expected one of {possible:?}, found {found:?}"
                ));
            }
        }
        ensure!(
            lost.is_empty(),
            "the hub does not have what it acknowledged: {}",
            lost.join("; ")
        );
        let unasked: Vec<_> = on_hub
            .keys()
            .filter(|name| !self.works.contains_key(*name))
            .collect();
        ensure!(unasked.is_empty(), "nobody asked for {unasked:?}");

        eventually("deleted works are gone from the hub", async || {
            let list = get(hub, &works(&self.cluster)).await?;
            let items = list["items"].as_array().context("not a list")?;
            ensure!(
                items.len() == on_hub.len(),
                "{} works for {} that live",
                items.len(),
                on_hub.len()
            );
            Ok(Some(()))
        })
        .await?;
        eventually("the member has what the hub says", async || {
            let list = get(
                member,
                &format!("/api/v1/namespaces/{NAMESPACE}/configmaps"),
            )
            .await?;
            let items = list["items"].as_array().context("not a list")?;
            let in_member = items
                .iter()
                .map(|map| Ok((name(map)?, value(map)?)))
                .filter(|map| !matches!(map, Ok((name, _)) if name == "kube-root-ca.crt"))
                .collect::<anyhow::Result<BTreeMap<_, _>>>()?;
            let differ = on_hub
                .iter()
                .filter(|(name, value)| in_member.get(*name) != Some(*value))
                .count();
            let extra = in_member
                .keys()
                .filter(|name| !on_hub.contains_key(*name))
                .count();
            ensure!(
                differ + extra == 0,
                "{differ} of {} missing or old, {extra} too many",
                on_hub.len()
            );
            Ok(Some(()))
        })
        .await
    }

    /// The works that the hub has and nobody has deleted.
    async fn on_hub(&self, hub: &Client) -> anyhow::Result<BTreeMap<String, u64>> {
        let list = eventually("the hub lists its works", async || {
            get(hub, &works(&self.cluster)).await.map(Some)
        })
        .await?;
        let items = list["items"].as_array().context("not a list")?;
        items
            .iter()
            .filter(|work| !work["metadata"]["deletionTimestamp"].is_string())
            .map(|work| {
                Ok((
                    name(work)?,
                    value(&work["spec"]["workload"]["manifests"][0])?,
                ))
            })
            .collect()
    }

    /// P3: nothing was deleted in the member but what was to be deleted.
    ///
    /// # Errors
    /// With the names of those that were.
    pub fn permits(&self, deleted: &BTreeSet<String>) -> anyhow::Result<()> {
        let victims: Vec<_> = deleted.difference(&self.doomed).collect();
        ensure!(
            victims.is_empty(),
            "deleted without being told to: {victims:?}"
        );
        Ok(())
    }
}

fn name(object: &Value) -> anyhow::Result<String> {
    Ok(object["metadata"]["name"]
        .as_str()
        .context("an object without a name")?
        .to_owned())
}

fn value(map: &Value) -> anyhow::Result<u64> {
    // Kubernetes puts a map of its own into every namespace.
    Ok(map["data"]["value"]
        .as_str()
        .and_then(|value| value.parse().ok())
        .unwrap_or_default())
}

/// Notes every `ConfigMap` that is deleted in a member while it runs.
#[derive(Debug)]
pub struct Witness {
    deleted: Arc<Mutex<BTreeSet<String>>>,
    task: JoinHandle<()>,
}

impl Witness {
    /// Begins to look; returns once it sees.
    ///
    /// # Errors
    /// When the member does not answer.
    pub async fn of(member: &Member) -> anyhow::Result<Self> {
        let maps: Api<ConfigMap> = Api::namespaced(member.client().await?, NAMESPACE);
        let deleted = Arc::new(Mutex::new(BTreeSet::new()));
        let sees = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn({
            let (deleted, sees) = (deleted.clone(), sees.clone());
            async move {
                let mut events = watcher(maps, watcher::Config::default()).boxed();
                while let Some(event) = events.next().await {
                    match event {
                        Ok(Event::Delete(map)) => {
                            deleted.lock().insert(map.metadata.name.unwrap_or_default());
                        }
                        Ok(Event::InitDone) => sees.store(true, Ordering::Relaxed),
                        // The watch is begun anew by itself; the member stays up in these tests. Without the pause a
                        // runtime that shuts down, where every connection fails at once, would never get out of here.
                        Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                        Ok(_) => {}
                    }
                }
            }
        });
        eventually("the witness sees", async || {
            Ok(sees.load(Ordering::Relaxed).then_some(()))
        })
        .await?;
        Ok(Self { deleted, task })
    }

    /// What was deleted so far.
    #[must_use]
    pub fn deleted(&self) -> BTreeSet<String> {
        self.deleted.lock().clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}
