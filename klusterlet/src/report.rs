//! What the cluster says about itself: version, capacity, claims, health. Sent when it changes.

mod claims;
mod health;
mod look;
mod nodes;

pub use claims::Claiming;

use std::time::Duration;

use koinon_proto::v1::{ApiHealth, ClusterReport, NamespaceState};
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    cluster::{Cluster, known},
    namespaces::Fared,
    tasks::{Policy, Tasks},
};

use self::{
    claims::Claims,
    health::{Health, Verdict},
    look::Look,
};

/// How often health and version are looked at, and how often while health is failing.
const PERIOD: Duration = Duration::from_secs(60);
const FAILING_PERIOD: Duration = Duration::from_secs(5);

/// Longest wait before a changed report is sent, so that a burst of node changes makes one.
const SETTLE: Duration = Duration::from_millis(200);

/// How long the first report waits for the first look at nodes and claims. A report without them says so, and the hub
/// leaves what it has; a cluster that is new has nothing there, and should not be chosen by what it lacks.
const FIRST_LOOK: Duration = Duration::from_secs(20);

/// What is watched.
struct Seen {
    nodes: watch::Receiver<Look<nodes::Resources>>,
    claims: watch::Receiver<Look<Claims>>,
    properties: watch::Receiver<Look<Claims>>,
    namespaces: watch::Receiver<Fared>,
}

/// What was seen at one moment.
struct Sight {
    nodes: Look<nodes::Resources>,
    claims: Look<Claims>,
    properties: Look<Claims>,
    namespaces: Fared,
}

impl Seen {
    fn look(&mut self) -> Sight {
        Sight {
            nodes: self.nodes.borrow_and_update().clone(),
            claims: self.claims.borrow_and_update().clone(),
            properties: self.properties.borrow_and_update().clone(),
            namespaces: self.namespaces.borrow_and_update().clone(),
        }
    }

    /// The senders live as long as the process.
    async fn changed(&mut self) {
        tokio::select! {
            _ = self.nodes.changed() => {}
            _ = self.claims.changed() => {}
            _ = self.properties.changed() => {}
            _ = self.namespaces.changed() => {}
        }
    }
}

impl Sight {
    fn is_pending(&self) -> bool {
        self.nodes.is_pending() || self.claims.is_pending() || self.properties.is_pending()
    }

    /// Claims are known when both kinds are, or are not served. Properties that the agent may not read count as not
    /// served: the rights of agents before the kind was read do not have it.
    fn claims_unknown(&self) -> bool {
        matches!(self.claims, Look::Pending | Look::Forbidden) || self.properties.is_pending()
    }
}

/// Starts observing the cluster; the receiver has `None` until the first look is complete.
pub fn observe(
    cluster: &Cluster,
    tasks: &Tasks,
    cluster_uid: String,
    claiming: Claiming,
    namespaces: watch::Receiver<Fared>,
) -> watch::Receiver<Option<ClusterReport>> {
    let (nodes_sender, nodes) = watch::channel(Look::Pending);
    let (claims_sender, claims) = watch::channel(Look::Pending);
    let (properties_sender, properties) = watch::channel(Look::Pending);
    let (report_sender, report) = watch::channel(None);
    let stop = tasks.stop().clone();
    tasks.spawn(
        "nodes",
        Policy::Essential,
        nodes::observe(
            cluster.watch_objects(&known::NODES),
            nodes_sender,
            stop.clone(),
        ),
    );
    for (task, resource, sender) in [
        ("claims", &known::CLAIMS, claims_sender),
        ("properties", &known::PROPERTIES, properties_sender),
    ] {
        let events = cluster.watch_objects(resource);
        let observe = claims::observe(&resource.kind, events, sender, stop.clone());
        tasks.spawn(task, Policy::Essential, observe);
    }
    let seen = Seen {
        nodes,
        claims,
        properties,
        namespaces,
    };
    let facts = Facts {
        cluster_uid,
        claiming,
        version: String::new(),
    };
    tasks.spawn(
        "report",
        Policy::Essential,
        run(cluster.clone(), facts, seen, report_sender, stop),
    );
    report
}

/// What reports need besides what is watched.
struct Facts {
    cluster_uid: String,
    claiming: Claiming,
    version: String,
}

async fn run(
    cluster: Cluster,
    mut facts: Facts,
    mut seen: Seen,
    sender: watch::Sender<Option<ClusterReport>>,
    stop: CancellationToken,
) {
    let mut health = Health::default();
    let patience = Instant::now() + FIRST_LOOK;
    loop {
        let look = async {
            let (outcome, served) = tokio::join!(probe(&cluster), cluster.document("/version"));
            (
                outcome,
                served.ok().and_then(|v| {
                    v.get("gitVersion")
                        .and_then(Value::as_str)
                        .map(str::to_owned)
                }),
            )
        };
        let Some((outcome, served)) = stop.run_until_cancelled(look).await else {
            return;
        };
        let failing = outcome.is_err();
        let verdict = health.observe(outcome, Instant::now());
        facts.version = served.unwrap_or(facts.version);
        let again = Instant::now()
            + if failing {
                FAILING_PERIOD
            } else {
                PERIOD.mul_f64(rand::random_range(0.9..1.1))
            };
        loop {
            let sight = seen.look();
            // Nobody may take what was not looked at yet for what is not there (P3).
            let early = sight.is_pending() && sender.borrow().is_none();
            let early = early && Instant::now() < patience;
            if let (Some(verdict), false, false) = (&verdict, facts.version.is_empty(), early) {
                let report = build(verdict, &facts, &sight);
                let changed = sender.send_if_modified(|current| {
                    let changed = current.as_ref() != Some(&report);
                    if changed {
                        *current = Some(report);
                    }
                    changed
                });
                if changed {
                    debug!("the cluster's report changed");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(again) => break,
                () = sleep_until(patience), if early => {}
                () = seen.changed() => {}
            }
            tokio::time::sleep(SETTLE).await;
        }
    }
}

/// Asks the API server whether it lives; old or guarded ones only answer `/healthz`.
async fn probe(cluster: &Cluster) -> Result<(), String> {
    match cluster.text("/livez").await {
        Ok(_) => Ok(()),
        Err(crate::cluster::Error::Refused {
            code: 403 | 404, ..
        }) => cluster
            .text("/healthz")
            .await
            .map(|_| ())
            .map_err(|e| words(&e)),
        Err(error) => Err(words(&error)),
    }
}

fn words(error: &crate::cluster::Error) -> String {
    match error {
        crate::cluster::Error::Refused { code, message, .. } => {
            format!("The kube-apiserver is not ok, status code: {code}, {message}")
        }
        other => format!("The kube-apiserver is not ok, {other}"),
    }
}

fn build(verdict: &Verdict, facts: &Facts, sight: &Sight) -> ClusterReport {
    let (api_health, api_message) = match verdict {
        Verdict::Ok => (ApiHealth::Ok, String::new()),
        Verdict::Failing(message) => (ApiHealth::Failing, message.clone()),
    };
    let (custom, properties) = (sight.claims.known(), sight.properties.known());
    let Facts {
        cluster_uid,
        claiming,
        version,
    } = facts;
    let told = claims::select(claiming, cluster_uid, version, custom, properties);
    let resources = sight.nodes.known().cloned();
    ClusterReport {
        kubernetes_version: version.clone(),
        resources_unknown: resources.is_none(),
        capacity: resources.iter().flat_map(|r| r.capacity.clone()).collect(),
        allocatable: resources.into_iter().flat_map(|r| r.allocatable).collect(),
        claims_unknown: sight.claims_unknown(),
        claims: told.claims,
        claims_left_out: told.left_out,
        namespaces: sight.namespaces.iter().map(state).collect(),
        api_health: api_health.into(),
        api_message,
        // Said by the session.
        rollback_hold: None,
        deletion_hold: None,
        unmanaged: None,
        unmanaged_unknown: true,
    }
}

fn state((name, failure): (&String, &Option<String>)) -> NamespaceState {
    NamespaceState {
        name: name.clone(),
        failure: failure.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
