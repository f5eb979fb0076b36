//! A real member cluster and the agent's engine in this process.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, ensure};
use koinon_klusterlet::{
    cluster::{
        Cluster,
        known::{APPLIED_WORKS, CONFIG_MAPS},
    },
    crds,
    desired::{Held, Holding, Origin},
    metrics::Metrics,
    outbox::Outbox,
    unmanaged::Unmanaged,
    work::{DeletionGuard, Engine, Executing, Removed},
};
use koinon_tests::{Gate, Member, eventually, member::Apis};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::settings::{Account, Settings, engine, narrow};

/// The hub that the agent is of at first.
pub(crate) const HUB: &str = "aaaa";

/// What is told of what nobody knows.
pub(crate) type Told = Option<koinon_proto::v1::Unmanaged>;

/// Namespace of the agent.
pub(crate) const AGENT: &str = "open-cluster-management-agent";

/// Dropped, everything ends.
pub(crate) struct Bench {
    member: Member,
    /// Not through the gate.
    cluster: Cluster,
    /// The engine's own way to the cluster.
    gated: Cluster,
    pub(crate) gate: Gate,
    settings: Settings,
    guard: Mutex<DeletionGuard>,
    hub: Mutex<String>,
    pub(crate) unmanaged: Unmanaged,
    engine: Mutex<Engine>,
    outbox: Mutex<Outbox>,
    metrics: Metrics,
    held: Mutex<BTreeMap<String, Held>>,
    statuses: Mutex<BTreeMap<String, Value>>,
    removals: tokio::sync::Mutex<(mpsc::UnboundedReceiver<Removed>, Vec<String>)>,
    /// Stops the engine that runs now.
    stop: Mutex<CancellationToken>,
    _dir: tempfile::TempDir,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.lock().cancel();
    }
}

impl Bench {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn executing(executing: Executing) -> anyhow::Result<Self> {
        let settings = Settings {
            executing,
            ..Settings::default()
        };
        Self::with(settings).await
    }

    pub(crate) async fn with(settings: Settings) -> anyhow::Result<Self> {
        koinon_tests::client::install_provider();
        // Shown when the test fails.
        let _ = tracing_subscriber::fmt()
            .with_test_writer()
            .with_env_filter("warn,koinon_klusterlet=debug")
            .try_init();
        let dir = tempfile::tempdir()?;
        let member = match settings.apis {
            Apis::Stable => Member::start("east", dir.path()).await?,
            Apis::Whole => Member::reference("east", dir.path()).await?,
        };
        let kubeconfig: PathBuf = member.kubeconfig();
        let cluster = Cluster::open(Some(&kubeconfig)).await?;
        let client = match settings.account {
            Account::Admin => member.client().await?,
            Account::Narrow => narrow(&member).await?,
        };
        let gate = Gate::before(client).await?;
        let gated = Cluster::open(Some(&gate.kubeconfig(dir.path())?)).await?;
        crds::install(&cluster).await?;
        let stop = CancellationToken::new();
        let (outbox, metrics) = (Outbox::default(), Metrics::default());
        let unmanaged = Unmanaged::default();
        let ends = (&outbox, &metrics, &unmanaged);
        let guard = DeletionGuard::new(settings.allowance);
        let (engine, removed) = engine(&gated, HUB, ends, &stop, (settings, &guard));
        Ok(Self {
            hub: Mutex::new(HUB.to_owned()),
            unmanaged,
            member,
            cluster,
            gated,
            gate,
            settings,
            guard: Mutex::new(guard),
            engine: Mutex::new(engine),
            outbox: Mutex::new(outbox),
            metrics,
            held: Mutex::default(),
            statuses: Mutex::default(),
            removals: tokio::sync::Mutex::new((removed, Vec::new())),
            stop: Mutex::new(stop),
            _dir: dir,
        })
    }

    /// Ends the engine as a crash would, and starts another one that is told what was desired before it.
    pub(crate) async fn restart(&self) {
        let stop = CancellationToken::new();
        std::mem::replace(&mut *self.stop.lock(), stop.clone()).cancel();
        let outbox = Outbox::default();
        self.gate.revive();
        let ends = (&outbox, &self.metrics, &self.unmanaged);
        let hub = self.hub.lock().clone();
        let guard = DeletionGuard::new(self.settings.allowance);
        let how = (self.settings, &guard);
        let (engine, removed) = engine(&self.gated, &hub, ends, &stop, how);
        *self.guard.lock() = guard;
        self.removals.lock().await.0 = removed;
        *self.outbox.lock() = outbox;
        self.statuses.lock().clear();
        for held in self.held.lock().values() {
            let mut held = held.clone();
            held.origin = Origin::Member;
            engine.desire(Arc::new(held));
        }
        *self.engine.lock() = engine;
    }

    /// The agent is of another hub from now on, holds only these works, and looks after what is left of the others.
    pub(crate) async fn move_to(&self, hub: &str, works: &[&str]) {
        self.move_to_evicting(hub, works, None).await;
    }

    /// The same; what nobody knows is evicted after `grace`.
    pub(crate) async fn move_to_evicting(
        &self,
        hub: &str,
        works: &[&str],
        grace: Option<Duration>,
    ) {
        hub.clone_into(&mut self.hub.lock());
        self.held
            .lock()
            .retain(|name, _| works.contains(&name.as_str()));
        self.restart().await;
        let leftovers = self.engine.lock().leftovers(Holding::default(), grace);
        let stop = self.stop.lock().clone();
        tokio::spawn(leftovers.run(stop));
    }

    /// Waits until what nobody knows is told so.
    pub(crate) async fn until_unmanaged(
        &self,
        what: &str,
        holds: impl Fn(&Told) -> bool,
    ) -> anyhow::Result<Told> {
        eventually(what, async || {
            let (told, unknown) = self.unmanaged.report();
            ensure!(!unknown && holds(&told), "{told:?}");
            Ok(Some(told))
        })
        .await
    }

    pub(crate) fn desire(&self, name: &str, generation: i64, spec: Value) -> anyhow::Result<()> {
        let body = serde_json::to_vec(&json!({ "spec": spec }))?;
        let held = Held::new(name, &format!("uid-of-{name}"), generation, &body)?;
        self.hand_over(held);
        Ok(())
    }

    /// Tells of a new work that is being stored, as the keeper does.
    pub(crate) fn announce(&self, name: &str, spec: &Value) -> anyhow::Result<()> {
        let body = serde_json::to_vec(&json!({ "spec": spec }))?;
        let held = Held::new(name, &format!("uid-of-{name}"), 1, &body)?;
        self.engine.lock().announce(Arc::new(held));
        Ok(())
    }

    /// Sets an annotation of a work that its agent follows.
    pub(crate) fn direct(&self, name: &str, key: &str, value: &str) -> anyhow::Result<()> {
        let mut held = self.held(name)?;
        held.directives.insert(key.to_owned(), value.to_owned());
        self.hand_over(held);
        Ok(())
    }

    fn held(&self, name: &str) -> anyhow::Result<Held> {
        self.held
            .lock()
            .get(name)
            .cloned()
            .context("not desired yet")
    }

    fn hand_over(&self, held: Held) {
        self.held.lock().insert(held.name.clone(), held.clone());
        self.engine.lock().desire(Arc::new(held));
    }

    /// Makes the actor look at everything again, as the slow resync does.
    pub(crate) fn look_again(&self, name: &str) -> anyhow::Result<()> {
        self.hand_over(self.held(name)?);
        Ok(())
    }

    /// Deletes a work of which the agent has not heard since it became so.
    pub(crate) fn delete_as(&self, name: &str, generation: i64, spec: Value) -> anyhow::Result<()> {
        let body = serde_json::to_vec(&json!({ "spec": spec }))?;
        let mut held = Held::new(name, &format!("uid-of-{name}"), generation, &body)?;
        held.tombstone = true;
        self.hand_over(held);
        Ok(())
    }

    pub(crate) fn delete(&self, name: &str) -> anyhow::Result<()> {
        let mut held = self.held(name)?;
        held.tombstone = true;
        self.hand_over(held);
        Ok(())
    }

    /// Deletes a work at a revision of the hub.
    pub(crate) fn delete_at(&self, name: &str, revision: i64) -> anyhow::Result<()> {
        let mut held = self.held(name)?;
        (held.tombstone, held.revision) = (true, revision);
        self.hand_over(held);
        Ok(())
    }

    /// Approves what was deleted up to a revision of the hub.
    pub(crate) fn approve(&self, revision: i64) {
        self.guard.lock().approve(revision);
    }

    /// Takes in what was reported since.
    pub(crate) fn collect(&self) -> anyhow::Result<()> {
        let reports = self.outbox.lock().take_reports(1);
        for report in reports {
            self.statuses
                .lock()
                .insert(report.name, serde_json::from_slice(&report.status_json)?);
        }
        Ok(())
    }

    /// What was reported of a work last.
    pub(crate) fn known(&self, name: &str) -> Value {
        self.statuses.lock().get(name).cloned().unwrap_or_default()
    }

    /// Waits until the status of the work speaks of this generation.
    pub(crate) async fn status(&self, name: &str, generation: i64) -> anyhow::Result<Value> {
        self.until(&format!("work {name} is looked at"), name, |status| {
            let conditions = status["conditions"].as_array();
            conditions.is_some_and(|all| {
                all.iter()
                    .any(|c| c["type"] == "Applied" && c["observedGeneration"] == generation)
            })
        })
        .await
    }

    pub(crate) async fn until(
        &self,
        what: &str,
        name: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        eventually(what, async || {
            self.collect()?;
            let status = self.known(name);
            ensure!(holds(&status), "{status}");
            Ok(Some(status))
        })
        .await
    }

    /// Waits until nothing has been written for a while, neither to objects nor to records.
    pub(crate) async fn quiet(&self) {
        self.quiet_for(15).await;
    }

    /// Waits until what was applied is recorded, where nothing failed that would be tried again later.
    pub(crate) async fn settled(&self) {
        self.quiet_for(4).await;
    }

    async fn quiet_for(&self, looks: u32) {
        let mut last = (self.gate.total(), 0);
        while last.1 < looks {
            tokio::time::sleep(Duration::from_millis(100)).await;
            last = if last.0 == self.gate.total() {
                (last.0, last.1 + 1)
            } else {
                (self.gate.total(), 0)
            };
        }
    }

    /// Writes to applied objects so far.
    pub(crate) fn writes(&self) -> u64 {
        self.metrics.member_writes.inner().load(Ordering::Relaxed)
    }

    /// Works that are left to a later agent.
    pub(crate) fn overtaken(&self) -> i64 {
        self.metrics.overtaken_works.get()
    }

    pub(crate) async fn put(&self, object: &Value) -> anyhow::Result<()> {
        self.cluster.create(&CONFIG_MAPS, "default", object).await?;
        Ok(())
    }

    pub(crate) async fn config_map(&self, name: &str) -> anyhow::Result<Option<Value>> {
        Ok(self.cluster.get(&CONFIG_MAPS, "default", name).await?)
    }

    pub(crate) async fn data(&self, name: &str, expected: &Value) -> anyhow::Result<()> {
        eventually(&format!("{name} has its data"), async || {
            let live = self.config_map(name).await?.context("it is missing")?;
            ensure!(
                live["data"] == *expected && live["metadata"].get("deletionTimestamp").is_none(),
                "{live}"
            );
            Ok(Some(()))
        })
        .await
    }

    /// Says whether the agent's account may read config maps in the namespace `default`.
    pub(crate) async fn may_look(&self) -> anyhow::Result<bool> {
        match self.gated.get(&CONFIG_MAPS, "default", "none").await {
            Ok(_) => Ok(true),
            Err(koinon_klusterlet::cluster::Error::Refused { code: 403, .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads an object with kubectl.
    pub(crate) async fn read(&self, args: &[&str]) -> anyhow::Result<Value> {
        let args: Vec<&str> = ["get"]
            .into_iter()
            .chain(args.iter().copied())
            .chain(["--show-managed-fields"])
            .collect();
        self.member.kubectl().json(&args).await
    }

    /// Removes a work and forgets that it was ever desired.
    pub(crate) async fn forget(&self, name: &str) -> anyhow::Result<()> {
        if !self.is_removed(name).await {
            self.delete(name)?;
            self.removed(name).await?;
        }
        self.held.lock().remove(name);
        self.statuses.lock().remove(name);
        self.engine.lock().forget(name);
        Ok(())
    }

    pub(crate) async fn gone(&self, name: &str) -> anyhow::Result<()> {
        eventually(&format!("{name} is gone"), async || {
            Ok(self.config_map(name).await?.is_none().then_some(()))
        })
        .await
    }

    /// Waits until the record of a work names exactly these objects.
    pub(crate) async fn recorded(&self, work: &str, uids: &[&str]) -> anyhow::Result<()> {
        eventually(&format!("the record of {work}"), async || {
            let record = self
                .cluster
                .get(&APPLIED_WORKS, "", &format!("{}-{work}", self.hub.lock()))
                .await?
                .context("there is none")?;
            let found: Vec<_> = record["status"]["appliedResources"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|r| r["uid"].as_str())
                .collect();
            ensure!(found == uids, "{record}");
            Ok(Some(()))
        })
        .await
    }

    /// Versions of all config maps and records.
    pub(crate) async fn versions(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut versions = BTreeMap::new();
        for (resource, namespace) in [(&CONFIG_MAPS, "default"), (&APPLIED_WORKS, "")] {
            for object in self.cluster.list(resource, namespace, "").await? {
                let text = |field: &str| {
                    object["metadata"][field]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned()
                };
                versions.insert(
                    format!("{}/{}", resource.plural, text("name")),
                    text("resourceVersion"),
                );
            }
        }
        Ok(versions)
    }

    pub(crate) async fn is_removed(&self, name: &str) -> bool {
        let mut removals = self.removals.lock().await;
        while let Ok(removed) = removals.0.try_recv() {
            removals.1.push(removed.name);
        }
        removals.1.iter().any(|n| n == name)
    }

    pub(crate) async fn removed(&self, name: &str) -> anyhow::Result<()> {
        eventually(&format!("work {name} is removed"), async || {
            Ok(self.is_removed(name).await.then_some(()))
        })
        .await?;
        let record = self
            .cluster
            .get(&APPLIED_WORKS, "", &format!("{}-{name}", self.hub.lock()))
            .await?;
        ensure!(record.is_none(), "the record outlives the work: {record:?}");
        Ok(())
    }

    /// Creates any object with kubectl.
    pub(crate) async fn create(&self, object: &Value) -> anyhow::Result<()> {
        self.member.kubectl().apply(&object.to_string()).await?;
        Ok(())
    }

    pub(crate) async fn kubectl(&self, args: &[&str]) -> anyhow::Result<()> {
        self.member.kubectl().run(args).await?;
        Ok(())
    }
}

pub(crate) fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data})
}

pub(crate) fn condition(status: &Value, kind: &str) -> String {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions
        .filter(|c| c["type"] == kind)
        .filter_map(|c| c["status"].as_str())
        .collect()
}

pub(crate) fn applied(status: &Value) -> String {
    condition(status, "Applied")
}

pub(crate) fn available(status: &Value) -> String {
    condition(status, "Available")
}
