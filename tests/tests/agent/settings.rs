//! How the agent under test is started.

use std::time::Duration;

use koinon_klusterlet::{
    cluster::Cluster,
    feedback::RawJson,
    metrics::Metrics,
    outbox::Outbox,
    policy::Policies,
    tasks::Tasks,
    unmanaged::Unmanaged,
    work::{Allowance, Books, DeletionGuard, Engine, Executing, Parts, Removed},
};
use koinon_tests::{Member, eventually, member::Apis};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::bench::{AGENT, Bench};

/// What the agent may do in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account {
    Admin,
    /// What `deploy/klusterlet/rbac.yaml` gives it for itself, and all in the namespace `default`.
    Narrow,
}

/// How the agent is started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) executing: Executing,
    pub(crate) allowance: Allowance,
    pub(crate) account: Account,
    /// What the API server serves.
    pub(crate) apis: Apis,
    /// When the agent records what it applied.
    pub(crate) books: Books,
    /// How long what a spec drops stays.
    pub(crate) forbearance: Duration,
}

/// At once: a test waits for it again and again.
const SOON: Books = Books {
    later: Duration::from_millis(50),
    again: Duration::from_millis(50),
    quiet: Duration::ZERO,
    patience: Duration::ZERO,
};

/// Later than any test goes on.
pub(crate) const NEVER: Books = Books {
    later: Duration::from_secs(3600),
    ..SOON
};

impl Default for Settings {
    fn default() -> Self {
        Self {
            executing: Executing::default(),
            allowance: Allowance {
                percent: 100,
                objects: 0,
            },
            account: Account::Admin,
            apis: Apis::Stable,
            books: SOON,
            forbearance: Duration::ZERO,
        }
    }
}

/// Makes the agent's account, and returns a client with its credentials.
pub(super) async fn narrow(member: &Member) -> anyhow::Result<kube::Client> {
    let kubectl = member.kubectl();
    let rbac = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../deploy/klusterlet/rbac.yaml"
    );
    let rbac = std::fs::read_to_string(rbac)?;
    let own = rbac
        .split("\n---\n")
        .filter(|one| !one.contains("koinon:klusterlet:works"));
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": AGENT}});
    kubectl.apply(&namespace.to_string()).await?;
    kubectl
        .apply(&own.collect::<Vec<_>>().join("\n---\n"))
        .await?;
    kubectl.apply(&works().to_string()).await?;
    // TokenRequest: what `kubectl create token` sends, also for a kubectl that is too old for it.
    let path = format!("/api/v1/namespaces/{AGENT}/serviceaccounts/klusterlet/token");
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}});
    let made = kubectl
        .run_with_input(&["create", "--raw", &path, "-f", "-"], &request.to_string())
        .await?;
    let made: Value = serde_json::from_str(&made)?;
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(member.kubeconfig())?)?;
    config["users"][0]["user"] = json!({"token": made["status"]["token"]});
    let options = kube::config::KubeConfigOptions::default();
    let config = serde_json::from_value(config)?;
    let config = kube::Config::from_custom_kubeconfig(config, &options).await?;
    Ok(kube::Client::try_from(config)?)
}

/// Takes away what the account with narrow rights may do in the namespace `default`.
pub(super) async fn forbid_works(bench: &Bench) -> anyhow::Result<()> {
    bench.kubectl(&["delete", "rolebinding", "works"]).await?;
    eventually("the agent may not look", async || {
        Ok((!bench.may_look().await?).then_some(()))
    })
    .await
}

/// Gives it back.
pub(super) async fn allow_works(bench: &Bench) -> anyhow::Result<()> {
    bench.create(&works()).await?;
    eventually("the agent may look", async || {
        Ok(bench.may_look().await?.then_some(()))
    })
    .await
}

fn works() -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "works", "namespace": "default"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "klusterlet", "namespace": AGENT}]})
}

/// Starts the agent's engine.
pub(super) fn engine(
    cluster: &Cluster,
    hub: &str,
    (outbox, metrics, unmanaged): (&Outbox, &Metrics, &Unmanaged),
    stop: &CancellationToken,
    (settings, guard): (Settings, &DeletionGuard),
) -> (Engine, mpsc::UnboundedReceiver<Removed>) {
    let tasks = Tasks::new(stop.clone());
    Engine::new(Parts {
        cluster: cluster.clone(),
        outbox: outbox.clone(),
        hub_hash: hub.to_owned(),
        agent_id: "test".to_owned(),
        resync: Duration::from_secs(3600),
        forbearance: settings.forbearance,
        books: settings.books,
        raw_json: RawJson::Refused,
        executing: settings.executing,
        policies: Policies::watch(cluster, &tasks, AGENT),
        guard: guard.clone(),
        unmanaged: unmanaged.clone(),
        metrics: metrics.clone(),
        tasks,
    })
}
