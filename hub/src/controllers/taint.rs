//! Taints of clusters that are not available.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use koinon_api::{
    ManagedCluster,
    cluster::{Taint, TaintEffect},
    labels::{condition, taint},
    meta::condition as find_condition,
};
use koinon_machinery::ApiError;
use koinon_store::Event;

use super::{
    Context, decode,
    keyed::{Again, Keyed, gone_is_fine},
    queue::Queue,
    resource,
};

#[derive(Debug, Default)]
pub(super) struct Taints {
    /// Clusters whose taints do not fit their availability.
    wrong: BTreeSet<String>,
    all: BTreeMap<String, bool>,
}

impl Keyed for Taints {
    type Key = String;
    type Plan = String;

    fn resources(&self) -> Vec<Arc<str>> {
        vec![resource::CLUSTERS.into()]
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn observe(&mut self, event: &Event, queue: &mut Queue<String>) {
        let name = event.latest().key.name.to_string();
        let cluster = event
            .after
            .as_deref()
            .and_then(decode::typed::<ManagedCluster>);
        self.wrong.remove(&name);
        let Some(mut cluster) = cluster else {
            self.all.remove(&name);
            return;
        };
        self.all.insert(name.clone(), true);
        if retaint(&mut cluster) {
            self.wrong.insert(name.clone());
            queue.add(name);
        }
    }

    fn mark_all(&self, queue: &mut Queue<String>) {
        self.wrong.iter().for_each(|name| queue.add(name.clone()));
    }

    fn decide(&mut self, key: &String, _: Timestamp) -> Option<String> {
        self.wrong.contains(key).then(|| key.clone())
    }

    fn carry_out<'a>(
        cluster: String,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Again, ApiError>> {
        Box::pin(async move {
            gone_is_fine(
                context
                    .client
                    .modify::<ManagedCluster>("", &cluster, retaint)
                    .await,
            )?;
            Ok(Again::OnChange)
        })
    }
}

/// Brings the two taints that the hub owns in line with the availability; says whether that changed anything.
///
/// A taint of the same key with a value or another effect is somebody else's and stays.
fn retaint(cluster: &mut ManagedCluster) -> bool {
    if cluster.metadata.deletion_timestamp.is_some() {
        return false;
    }
    let conditions = cluster
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let available =
        find_condition(conditions, condition::CLUSTER_AVAILABLE).map(|found| found.status.as_str());
    let wanted = match available {
        Some("True") => None,
        Some("False") => Some(taint::UNAVAILABLE),
        _ => Some(taint::UNREACHABLE),
    };
    let ours = |one: &Taint, key: &str| {
        one.key == key && one.value.is_empty() && one.effect == TaintEffect::NoSelect
    };
    let taints = &mut cluster.spec.taints;
    let before = taints.len();
    taints.retain(|one| {
        [taint::UNAVAILABLE, taint::UNREACHABLE]
            .iter()
            .all(|key| Some(*key) == wanted || !ours(one, key))
    });
    let mut changed = taints.len() != before;
    if let Some(key) = wanted
        && !taints.iter().any(|one| ours(one, key))
    {
        // The registry notes the time.
        taints.push(Taint {
            key: key.to_owned(),
            value: String::new(),
            effect: TaintEffect::NoSelect,
            time_added: None,
        });
        changed = true;
    }
    changed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cluster(available: Option<&str>, taints: serde_json::Value) -> ManagedCluster {
        let conditions: Vec<_> = available
            .iter()
            .map(|status| json!({ "type": "ManagedClusterConditionAvailable", "status": status, "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" }))
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster", "metadata": { "name": "east" },
            "spec": { "taints": taints }, "status": { "conditions": conditions },
        }))
        .unwrap()
    }

    fn keys(cluster: &ManagedCluster) -> Vec<&str> {
        cluster
            .spec
            .taints
            .iter()
            .map(|taint| taint.key.as_str())
            .collect()
    }

    #[test]
    fn taints_follow_the_availability() {
        let both = json!([{ "key": taint::UNREACHABLE, "effect": "NoSelect" }, { "key": taint::UNAVAILABLE, "effect": "NoSelect" }]);
        for (available, expected) in [
            (None, vec![taint::UNREACHABLE]),
            (Some("Unknown"), vec![taint::UNREACHABLE]),
            (Some("False"), vec![taint::UNAVAILABLE]),
            (Some("True"), vec![]),
        ] {
            for taints in [json!([]), both.clone()] {
                let mut cluster = cluster(available, taints);
                assert!(retaint(&mut cluster) || keys(&cluster) == expected);
                assert_eq!(keys(&cluster), expected, "{available:?}");
                assert!(!retaint(&mut cluster), "nothing is left to do");
            }
        }
    }

    #[test]
    fn other_taints_stay() {
        let taints = json!([
            { "key": "mine", "effect": "NoSelect" },
            { "key": taint::UNREACHABLE, "value": "mine", "effect": "NoSelect" },
            { "key": taint::UNAVAILABLE, "effect": "NoSelectIfNew" },
        ]);
        let mut cluster = cluster(Some("True"), taints);
        assert!(!retaint(&mut cluster));
        assert_eq!(cluster.spec.taints.len(), 3);
    }

    #[test]
    fn a_cluster_on_its_way_out_is_left_alone() {
        let mut cluster = cluster(None, json!([]));
        cluster.metadata.deletion_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH),
        );
        assert!(!retaint(&mut cluster));
    }
}
