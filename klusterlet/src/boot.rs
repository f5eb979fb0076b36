//! Builds everything, connects it, and takes it down again.

use std::{path::PathBuf, sync::Arc, time::Duration};

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
    fence::Fence,
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
    unmanaged::Unmanaged,
    work::{Books, DeletionGuard, Engine, Parts},
};

/// How long tasks may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// How long what a newer spec drops stays: `kubectl apply -f` of two works takes a part of that.
const FORBEARANCE: Duration = Duration::from_secs(2);

/// How often it is seen whether the kubeconfig has changed.
const LOOK: Duration = Duration::from_secs(5);

/// How long the Lease may take to be given up.
const RELEASE: Duration = Duration::from_secs(3);

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
        eviction_grace,
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
    // Nobody writes here but the one agent that holds the Lease, and the fence itself.
    let apart = Cluster::open(kubeconfig.as_deref())
        .await
        .map_err(Failure::Config)?;
    let fence = Fence::new(apart, namespace.clone());
    let ready_member = async {
        prepare(async || settle(&cluster, &namespace).await).await;
        fence.acquire().await;
    };
    if stop
        .run_until_cancelled(Box::pin(ready_member))
        .await
        .is_none()
    {
        return finish(tasks, &fence).await;
    }
    if let Some(path) = kubeconfig {
        tasks.spawn(
            "kubeconfig",
            Policy::Essential,
            until_changed(path, stop.clone()),
        );
    }
    tasks.spawn("fence", Policy::Essential, fence.clone().keep(stop.clone()));
    let cluster = cluster.behind(fence.clone());
    let store = Store::new(cluster.clone(), namespace.clone());
    let load = prepare(async || try_load(&cluster, &store).await);
    let Some(found) = stop.run_until_cancelled(Box::pin(load)).await else {
        return finish(tasks, &fence).await;
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
            None => return finish(tasks, &fence).await,
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
        Policy::Essential,
        remember(guard.clone(), store.clone(), stop.clone()),
    );
    let unmanaged = Unmanaged::default();
    let parts = Parts {
        cluster: cluster.clone(),
        outbox: outbox.clone(),
        hub_hash: stored.identity.hub_hash.clone(),
        agent_id: format!("{namespace}/{agent_id}"),
        resync: resync_period,
        forbearance: FORBEARANCE,
        books: Books::default(),
        raw_json,
        executing,
        policies,
        guard: guard.clone(),
        unmanaged: unmanaged.clone(),
        metrics: metrics.clone(),
        tasks: tasks.clone(),
    };
    let (engine, removed) = Engine::new(parts);
    let (holding, inbox) = (Holding::default(), Inbox::default());
    let leftovers = engine.leftovers(holding.clone(), eviction_grace);
    let shared_memory = Arc::new(Mutex::new(memory));
    let keeper_parts = KeeperParts {
        store,
        holding: holding.clone(),
        memory: shared_memory.clone(),
        inbox: inbox.clone(),
        outbox: outbox.clone(),
        engine,
        removed,
        unmanaged: unmanaged.clone(),
        metrics: metrics.clone(),
    };
    tasks.spawn(
        "keeper",
        Policy::Essential,
        Keeper::new(keeper_parts, stored_memory, works).run(stop.clone()),
    );
    tasks.spawn("leftovers", Policy::Optional, leftovers.run(stop.clone()));
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
        unmanaged,
        metrics,
    });
    tasks.spawn("session", Policy::Essential, link.run(stop.clone()));
    stop.cancelled().await;
    finish(tasks, &fence).await
}

async fn finish(tasks: Tasks, fence: &Fence) -> Result<(), Failure> {
    info!("stopping");
    let running = tasks.clone();
    let failure = tasks.finish(GRACE).await;
    if running.is_done() {
        // Within the grace: the next agent need not wait, but this one must end.
        let _ = tokio::time::timeout(RELEASE, fence.release()).await;
    }
    failure.map_or(Ok(()), |why| Err(Failure::Runtime(why)))
}

/// Does something with the member; waits for it as long as it takes.
async fn prepare<T>(attempt: impl AsyncFn() -> Result<T, Error>) -> T {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => {
                let wait = backoff.next_delay();
                warn!(error = %Chain(&error), retry_in = ?wait, "the member cluster is not ready for the agent");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// Makes sure that the agent has a namespace in the member.
async fn settle(cluster: &Cluster, namespace: &str) -> Result<(), Error> {
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
    Ok(())
}

/// Reads what the member remembers.
async fn try_load(cluster: &Cluster, store: &Store) -> Result<Found, Error> {
    let system = cluster.get(&known::NAMESPACES, "", "kube-system").await?;
    let uid = system
        .as_ref()
        .and_then(|n| n.pointer("/metadata/uid"))
        .and_then(Value::as_str);
    let cluster_uid = uid
        .ok_or_else(|| Error::Unreachable("there is no namespace kube-system yet".to_owned()))?
        .to_owned();
    crds::install(cluster).await?;
    let loaded = store.load().await?;
    let deletions = store.deletions().await?;
    Ok(Found {
        cluster_uid,
        loaded,
        deletions,
    })
}

/// Ends when the file has other contents, as OCM's agent does (`--terminate-on-files`): the agent is started again, and reads the
/// new ones. A file that is away, or empty, is being written.
async fn until_changed(path: PathBuf, stop: CancellationToken) {
    let mut known = tokio::fs::read(&path).await.unwrap_or_default();
    loop {
        if stop
            .run_until_cancelled(tokio::time::sleep(LOOK))
            .await
            .is_none()
        {
            return;
        }
        match tokio::fs::read(&path).await {
            Ok(now) if known.is_empty() => known = now,
            Ok(now) if !now.is_empty() && now != known => {
                warn!(path = %path.display(), "the kubeconfig has changed; ending, to be started with the new one");
                return;
            }
            _ => {}
        }
    }
}

/// Stores what deletions were let pass: before they begin, and all at once that came while the last were stored.
async fn remember(guard: DeletionGuard, store: Store, stop: CancellationToken) {
    let mut passes = guard.passes();
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    while let Some(Ok(())) = stop.run_until_cancelled(passes.changed()).await {
        let count = *passes.borrow_and_update();
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
        guard.stored(count);
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
