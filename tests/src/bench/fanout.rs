//! One replica set to many clusters: from the request until every agent holds the work, and until the set's status says
//! that it is applied everywhere. The agents are simulated, the streams, certificates and messages are real.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hyper::Method;
use serde_json::{Value, json};

use super::{
    Settings,
    fleet::Fleet,
    https::{Connection, Target},
    latency::shown,
    memory, objects,
    table::Table,
};
use crate::hub::Hub;

const SETS: &str =
    "/apis/work.open-cluster-management.io/v1alpha1/namespaces/bench/manifestworkreplicasets";
const WORKS: &str = "/apis/work.open-cluster-management.io/v1/manifestworks";
const CLUSTER: &str = "/apis/cluster.open-cluster-management.io";

/// As long as OCM takes, and then some.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) async fn run(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let dir = super::folder()?;
    let hub = Hub::start(&dir.path().join("hub")).await?;
    let pid = hub.pid().context("no hub")?;
    let target = Target::read(&hub.kubeconfig(), hub.api_address())?;
    let mut api = target.connect().await?;
    let agents = settings.agents;
    let empty = memory::resident(pid)?;

    let begin = Instant::now();
    let fleet = Fleet::start(agents, hub.agent_address(), &hub.kubeconfig(), &mut api).await?;
    until("all agents are attached", async || {
        ensure!(fleet.running() == agents, "an agent ended");
        Ok(fleet.connected() >= agents)
    })
    .await?;
    table.row(
        &format!("{agents} agents enrolled and attached"),
        &shown(begin.elapsed()),
        "",
        "",
    );

    place(&mut api).await?;
    let decisions = format!("{CLUSTER}/v1beta1/namespaces/bench/placementdecisions");
    until("the placement chose all", async || {
        let list = api.json(Method::GET, &decisions, &Value::Null).await?;
        let slices = list["items"].as_array().into_iter().flatten();
        let chosen: usize = slices
            .filter_map(|slice| slice["status"]["decisions"].as_array())
            .map(Vec::len)
            .sum();
        Ok(chosen == agents)
    })
    .await?;
    let full = memory::resident(pid)?;
    let each = full.saturating_sub(empty) / u64::try_from(agents.max(1))?;
    table.row(
        "hub memory per attached agent",
        &format!(
            "{} ({} with {agents}, {} empty)",
            memory::shown(each),
            memory::shown(full),
            memory::shown(empty)
        ),
        "",
        "640 MiB for 10,000: 64 KiB",
    );

    for (step, verb) in [("create", Method::POST), ("update", Method::PUT)] {
        let before = fleet.pulled();
        let mut set = objects::replica_set(step);
        let mut path = SETS.to_owned();
        if verb == Method::PUT {
            path.push_str("/fan");
            let old = api.json(Method::GET, &path, &Value::Null).await?;
            set["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        }
        let begin = Instant::now();
        api.json(verb, &path, &set).await?;
        until("every agent has the work", async || {
            Ok(fleet.pulled() - before >= agents)
        })
        .await?;
        let pulled = begin.elapsed();
        until("the set is applied everywhere", async || {
            is_applied(&mut api, agents).await
        })
        .await?;
        table.row(
            &format!("replica set to {agents} clusters, {step}"),
            &format!(
                "{} pulled by all, {} Applied in its status",
                shown(pulled),
                shown(begin.elapsed())
            ),
            "OCM: ~200 s",
            "< 2 s",
        );
    }
    table.row(
        "hub with the works",
        &memory::shown(memory::resident(pid)?),
        "",
        "",
    );
    Ok(())
}

/// A namespace, a binding of all clusters, and a placement that chooses them all.
async fn place(api: &mut Connection) -> anyhow::Result<()> {
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "bench" } });
    api.json(Method::POST, "/api/v1/namespaces", &namespace)
        .await?;
    let binding = json!({
        "apiVersion": "cluster.open-cluster-management.io/v1beta2", "kind": "ManagedClusterSetBinding",
        "metadata": { "name": "global" }, "spec": { "clusterSet": "global" },
    });
    let bindings = format!("{CLUSTER}/v1beta2/namespaces/bench/managedclustersetbindings");
    api.json(Method::POST, &bindings, &binding).await?;
    let placement = json!({
        "apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "Placement",
        "metadata": { "name": "all" },
        "spec": { "tolerations": [{ "operator": "Exists" }] },
    });
    api.json(
        Method::POST,
        &format!("{CLUSTER}/v1beta1/namespaces/bench/placements"),
        &placement,
    )
    .await?;
    Ok(())
}

/// Whether the set says that its current template is applied everywhere, and is right.
async fn is_applied(api: &mut Connection, agents: usize) -> anyhow::Result<bool> {
    let set = api
        .json(Method::GET, &format!("{SETS}/fan"), &Value::Null)
        .await?;
    if set["status"]["summary"]["applied"].as_u64() != Some(u64::try_from(agents)?) {
        return Ok(false);
    }
    // Right after an update the count may still be that of the template before.
    let works = api.json(Method::GET, WORKS, &Value::Null).await?;
    let works = works["items"].as_array().context("not a list")?;
    let current = works.iter().filter(|work| {
        let conditions = work["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|condition| {
            condition["type"] == "Applied"
                && condition["status"] == "True"
                && condition["observedGeneration"] == work["metadata"]["generation"]
        })
    });
    Ok(current.count() == agents)
}

/// Waits by looking often: what is timed must not be rounded up.
async fn until(
    what: &str,
    mut holds: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let begin = Instant::now();
    while !holds().await? {
        ensure!(
            begin.elapsed() < PATIENCE,
            "{what}: not within {}",
            shown(PATIENCE)
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
