//! What the cluster says about itself: version, capacity, claims, health. Sent when it changes.

mod claims;
mod health;
mod nodes;

use std::{collections::BTreeMap, time::Duration};

use koinon_proto::v1::{ApiHealth, ClusterClaim, ClusterReport};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    cluster::{Cluster, known},
    tasks::{Policy, Tasks},
};

use health::{Health, Verdict};

/// How often health and version are looked at, and how often while health is failing.
const PERIOD: Duration = Duration::from_secs(60);
const FAILING_PERIOD: Duration = Duration::from_secs(5);

/// Longest wait before a changed report is sent, so that a burst of node changes makes one.
const SETTLE: Duration = Duration::from_millis(200);

/// Starts observing the cluster; the receiver has `None` until the first look is complete.
pub fn observe(
    cluster: &Cluster,
    tasks: &Tasks,
    cluster_uid: String,
) -> watch::Receiver<Option<ClusterReport>> {
    let (nodes_sender, nodes) = watch::channel(None);
    let (claims_sender, claims) = watch::channel(None);
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
    tasks.spawn(
        "claims",
        Policy::Essential,
        claims::observe(
            cluster.watch_objects(&known::CLAIMS),
            claims_sender,
            stop.clone(),
        ),
    );
    tasks.spawn(
        "report",
        Policy::Essential,
        run(
            cluster.clone(),
            cluster_uid,
            nodes,
            claims,
            report_sender,
            stop,
        ),
    );
    report
}

async fn run(
    cluster: Cluster,
    cluster_uid: String,
    mut nodes: watch::Receiver<Option<nodes::Resources>>,
    mut claims: watch::Receiver<Option<BTreeMap<String, String>>>,
    sender: watch::Sender<Option<ClusterReport>>,
    stop: CancellationToken,
) {
    let mut health = Health::default();
    let mut version = String::new();
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
        let verdict = health.observe(outcome, tokio::time::Instant::now());
        version = served.unwrap_or(version);
        let again = tokio::time::Instant::now()
            + if failing {
                FAILING_PERIOD
            } else {
                PERIOD.mul_f64(rand::random_range(0.9..1.1))
            };
        loop {
            let resources = nodes.borrow_and_update().clone();
            let custom = claims.borrow_and_update().clone();
            if let (Some(verdict), false) = (&verdict, version.is_empty()) {
                let report = build(
                    verdict,
                    &version,
                    &cluster_uid,
                    resources.as_ref(),
                    custom.as_ref(),
                );
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
                () = tokio::time::sleep_until(again) => break,
                // Both senders live as long as the process.
                _ = nodes.changed() => {}
                _ = claims.changed() => {}
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

fn build(
    verdict: &Verdict,
    version: &str,
    cluster_uid: &str,
    resources: Option<&nodes::Resources>,
    custom: Option<&BTreeMap<String, String>>,
) -> ClusterReport {
    let (api_health, api_message) = match verdict {
        Verdict::Ok => (ApiHealth::Ok, String::new()),
        Verdict::Failing(message) => (ApiHealth::Failing, message.clone()),
    };
    let empty = BTreeMap::new();
    let claims = claims::select(cluster_uid, version, custom.unwrap_or(&empty));
    ClusterReport {
        kubernetes_version: version.to_owned(),
        capacity: resources.map(|r| r.capacity.clone()).unwrap_or_default(),
        allocatable: resources.map(|r| r.allocatable.clone()).unwrap_or_default(),
        claims: claims
            .into_iter()
            .map(|(name, value)| ClusterClaim { name, value })
            .collect(),
        api_health: api_health.into(),
        api_message,
        rollback_hold: None,
        deletion_hold: None,
    }
}
