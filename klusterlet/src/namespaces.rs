//! Namespaces that the hub's cluster sets want in this cluster: they are made and marked, never deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use koinon_api::policy::PolicyVerb;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    cluster::{Cluster, known::NAMESPACES},
    policy::{Judge, Policies},
};

/// How often what is there is compared with what is wanted, and how soon a failure is tried again.
const PERIOD: Duration = Duration::from_secs(300);
const RETRY: Duration = Duration::from_secs(15);
/// OCM's prefix of the mark; the hub's hash follows, cut to what a label's name may have.
const MARK: &str = "clusterset.open-cluster-management.io/";
const LONGEST_NAME: usize = 63;

/// What the hub wants; `None` until it has spoken.
pub type Wanted = Option<BTreeSet<String>>;

/// How each namespace that is wanted fared: `None` is well, else why not.
pub type Fared = BTreeMap<String, Option<String>>;

/// Keeps the namespaces as wanted until `stop`.
pub async fn keep(
    cluster: Cluster,
    policies: Policies,
    hub_hash: String,
    mut wanted: watch::Receiver<Wanted>,
    fared: watch::Sender<Fared>,
    stop: CancellationToken,
) {
    let mark = mark(&hub_hash);
    loop {
        let now = wanted.borrow_and_update().clone();
        let mut pause = PERIOD;
        if let Some(now) = now {
            let settle = async { settle(&cluster, &policies.known().await, &mark, &now).await };
            let Some(outcome) = stop.run_until_cancelled(settle).await else {
                return;
            };
            if outcome.values().any(Option::is_some) {
                pause = RETRY;
            }
            fared.send_if_modified(|before| {
                let changed = *before != outcome;
                *before = outcome;
                changed
            });
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = wanted.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The label by which this hub's namespaces are known.
fn mark(hub_hash: &str) -> String {
    let hash: String = hub_hash.chars().take(LONGEST_NAME).collect();
    format!("{MARK}{hash}")
}

/// Marks what is wanted, and takes the mark off what is not any more.
async fn settle(cluster: &Cluster, judge: &Judge, mark: &str, wanted: &BTreeSet<String>) -> Fared {
    let marked = cluster.list(&NAMESPACES, "", &format!("{mark}=true")).await;
    let name = |object: &Value| {
        object
            .pointer("/metadata/name")?
            .as_str()
            .map(str::to_owned)
    };
    let marked = marked.map(|all| all.iter().filter_map(name).collect::<BTreeSet<String>>());
    let mut fared = Fared::new();
    for name in wanted {
        // At rest nothing is written (P13).
        let there = marked.as_ref().is_ok_and(|marked| marked.contains(name));
        let failure = if there {
            None
        } else {
            label(cluster, judge, mark, name, "true").await.err()
        };
        fared.insert(name.clone(), failure);
    }
    match marked {
        Ok(marked) => {
            for name in marked.difference(wanted) {
                if let Err(error) = label(cluster, judge, mark, name, "false").await {
                    debug!(%name, %error, "a namespace that is not managed any more keeps its mark for now");
                }
            }
        }
        // Nobody can have marked one without the right to look at it later.
        Err(error) => debug!(%error, "managed namespaces cannot be listed"),
    }
    fared
}

/// Makes or marks a namespace; what the cluster does not allow works it does not allow sets either.
async fn label(
    cluster: &Cluster,
    judge: &Judge,
    mark: &str,
    name: &str,
    value: &str,
) -> Result<(), String> {
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {mark: value}},
    });
    judge
        .allows(&NAMESPACES, &object, Some(PolicyVerb::Update))
        .map_err(|refusal| refusal.to_string())?;
    let done = cluster.apply_own(&NAMESPACES, "", name, &object).await;
    done.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_a_label() {
        let mark = mark(&"0123456789abcdef".repeat(4));
        let (prefix, name) = mark.split_once('/').unwrap();
        assert_eq!(prefix, "clusterset.open-cluster-management.io");
        assert_eq!(name.len(), 63);
    }
}
