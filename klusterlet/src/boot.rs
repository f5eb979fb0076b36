//! Builds everything, connects it, and takes it down again.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    backoff::Backoff,
    clock,
    cluster::{Cluster, Error, known},
    config::Config,
    crds,
    desired::{Holding, Inbox, Keeper, KeeperParts, Loaded, Store},
    health::{self, Ready},
    hub::{Lease, Link, LinkParts},
    identity::{Enroller, IdentityStore, Renewer, SharedIdentity, Stored},
    metrics::Metrics,
    namespaces,
    outbox::Outbox,
    policy::Policies,
    report,
    tasks::{Policy, Tasks},
    telemetry::Chain,
    work::{DeletionGuard, Engine, Parts},
};

/// How long tasks may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The settings are wrong; starting again does not help.
    #[error("configuration: {0:#}")]
    Config(anyhow::Error),
    /// Something broke; starting again may help.
    #[error("{0}")]
    Runtime(String),
}

/// What the member gave at start.
struct Found {
    cluster_uid: String,
    loaded: Loaded,
    deletions: Vec<(i64, usize)>,
}

/// Runs an agent until `stop`.
///
/// A hub or a member that is away is waited for, for ever.
///
/// # Errors
/// Fails on settings that cannot work, and when an essential part broke.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Failure> {
    let Config {
        kubeconfig,
        hub_address,
        cluster_name,
        agent_id,
        token,
        namespace,
        health_listen,
        resync_period,
        raw_json,
        allowance,
        claiming,
        executing,
    } = config;
    let tasks = Tasks::new(stop.child_token());
    let stop = tasks.stop().clone();
    let (metrics, ready) = (Metrics::default(), Ready::default());
    if let Some(address) = health_listen {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|e| Failure::Config(anyhow::anyhow!("cannot listen on {address}: {e}")))?;
        let address = listener
            .local_addr()
            .map_err(|e| Failure::Runtime(e.to_string()))?;
        info!(%address, purpose = "health", "listening");
        tasks.spawn(
            "health",
            Policy::Essential,
            health::serve(listener, metrics.clone(), ready.clone(), stop.clone()),
        );
    }
    let cluster = Cluster::open(kubeconfig.as_deref())
        .await
        .map_err(Failure::Config)?;
    let store = Store::new(cluster.clone(), namespace.clone());
    let Some(found) = stop
        .run_until_cancelled(Box::pin(prepare(&cluster, &namespace, &store)))
        .await
    else {
        return finish(tasks).await;
    };
    let Found {
        cluster_uid,
        loaded:
            Loaded {
                memory,
                stored: stored_memory,
                works,
            },
        deletions,
    } = found;
    info!(works = works.len(), seen = ?memory.seen, "loaded the desired state");

    let identity_store = IdentityStore::new(cluster.clone(), namespace.clone());
    let (fared_sender, fared) = watch::channel(namespaces::Fared::new());
    let report = report::observe(&cluster, &tasks, cluster_uid.clone(), claiming, fared);
    let enroller = Enroller {
        store: identity_store.clone(),
        token,
        address: hub_address.clone(),
        cluster_name,
        cluster_uid: cluster_uid.clone(),
        agent_id: agent_id.clone(),
    };

    // Without its hub the agent still keeps the cluster as declared (P8): works start before any connection. Their records
    // are named after the hub that enrolled us, so an identity must exist, if only an old one.
    let known = stop
        .run_until_cancelled(known_identity(&identity_store))
        .await
        .flatten();
    let stored = match known {
        Some(stored) => stored,
        None => match stop.run_until_cancelled(enroller.identity()).await {
            Some(stored) => stored,
            None => return finish(tasks).await,
        },
    };
    let (namespaces_sender, namespaces_wanted) = watch::channel(None);
    let policies = Policies::watch(&cluster, &tasks, &namespace);
    let keep = namespaces::keep(
        cluster.clone(),
        policies.clone(),
        stored.identity.hub_hash.clone(),
        namespaces_wanted,
        fared_sender,
        stop.clone(),
    );
    tasks.spawn("namespaces", Policy::Essential, keep);
    let outbox = Outbox::default();
    let guard = DeletionGuard::new(allowance);
    guard.restore(&deletions, (clock::unix(), Instant::now()));
    tasks.spawn(
        "deletions",
        Policy::Optional,
        remember(guard.clone(), store.clone(), stop.clone()),
    );
    let parts = Parts {
        cluster: cluster.clone(),
        outbox: outbox.clone(),
        hub_hash: stored.identity.hub_hash.clone(),
        agent_id,
        resync: resync_period,
        raw_json,
        executing,
        policies,
        guard: guard.clone(),
        metrics: metrics.clone(),
        tasks: tasks.clone(),
    };
    let (engine, removed) = Engine::new(parts);
    let (holding, inbox) = (Holding::default(), Inbox::default());
    let shared_memory = Arc::new(Mutex::new(memory));
    let keeper_parts = KeeperParts {
        store,
        holding: holding.clone(),
        memory: shared_memory.clone(),
        inbox: inbox.clone(),
        outbox: outbox.clone(),
        engine,
        removed,
        metrics: metrics.clone(),
    };
    tasks.spawn(
        "keeper",
        Policy::Essential,
        Keeper::new(keeper_parts, stored_memory, works).run(stop.clone()),
    );
    ready.set();

    let shared = SharedIdentity::new(stored)
        .map_err(|e| Failure::Runtime(format!("the stored identity is unusable: {e:#}")))?;
    let renewer = Renewer {
        store: identity_store,
        shared,
        share: rand::random_range(0.0..1.0),
    };
    let link = Link::new(LinkParts {
        address: hub_address,
        enroller,
        renewer: Arc::new(renewer),
        cluster_uid,
        holding,
        memory: shared_memory,
        inbox,
        outbox,
        report,
        namespaces: namespaces_sender,
        lease: Lease::default(),
        guard,
        metrics,
    });
    tasks.spawn("session", Policy::Essential, link.run(stop.clone()));
    stop.cancelled().await;
    finish(tasks).await
}

async fn finish(tasks: Tasks) -> Result<(), Failure> {
    info!("stopping");
    tasks
        .finish(GRACE)
        .await
        .map_or(Ok(()), |why| Err(Failure::Runtime(why)))
}

/// Reads and prepares the member; waits for it as long as it takes.
async fn prepare(cluster: &Cluster, namespace: &str, store: &Store) -> Found {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
    loop {
        match try_prepare(cluster, namespace, store).await {
            Ok(found) => return found,
            Err(error) => {
                let wait = backoff.next_delay();
                warn!(error = %Chain(&error), retry_in = ?wait, "the member cluster is not ready for the agent");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

async fn try_prepare(cluster: &Cluster, namespace: &str, store: &Store) -> Result<Found, Error> {
    let system = cluster.get(&known::NAMESPACES, "", "kube-system").await?;
    let uid = system
        .as_ref()
        .and_then(|n| n.pointer("/metadata/uid"))
        .and_then(Value::as_str);
    let cluster_uid = uid
        .ok_or_else(|| Error::Unreachable("there is no namespace kube-system yet".to_owned()))?
        .to_owned();
    match cluster.get(&known::NAMESPACES, "", namespace).await {
        Ok(Some(_)) => {}
        Ok(None) => {
            let object =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            match cluster.create(&known::NAMESPACES, "", &object).await {
                Err(error) if !error.is_already_exists() => return Err(error),
                _ => info!(namespace, "created the agent's namespace"),
            }
        }
        // An agent with narrow rights lives in a namespace that it may not look at.
        Err(Error::Refused { code: 403, .. }) => {}
        Err(error) => return Err(error),
    }
    crds::install(cluster).await?;
    let loaded = store.load().await?;
    let deletions = store.deletions().await?;
    Ok(Found {
        cluster_uid,
        loaded,
        deletions,
    })
}

/// Stores what deletions were let pass, each time that one is.
async fn remember(guard: DeletionGuard, store: Store, stop: CancellationToken) {
    let mut passes = guard.passes();
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    while let Some(Ok(())) = stop.run_until_cancelled(passes.changed()).await {
        passes.mark_unchanged();
        while let Err(error) = store
            .save_deletions(&guard.passed((clock::unix(), Instant::now())))
            .await
        {
            warn!(error = %Chain(&error), "the deletions that were let pass could not be stored");
            let pause = tokio::time::sleep(backoff.next_delay());
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
        backoff.reset();
    }
}

/// Returns the identity that was issued earlier, also when its certificate is over by now.
async fn known_identity(store: &IdentityStore) -> Option<Stored> {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
    loop {
        match store.load().await {
            Ok(stored) => return stored.filter(Stored::is_issued),
            Err(error) => {
                warn!(error = %Chain(&error), "the identity cannot be read");
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}
