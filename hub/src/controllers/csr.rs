//! What was decided about a certificate request is carried out, and requests that are over are removed.
//!
//! An approval accepts the cluster that asked, if nobody has decided about it yet: whoever was denied as a cluster is not let in by an
//! approval of a request, and an approval does not outlast a later denial.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use koinon_api::{
    ManagedCluster,
    labels::{condition, label},
    meta::condition as find_condition,
};
use koinon_machinery::ApiError;
use koinon_store::Event;
use tokio::time::Instant;

use super::{
    Context, decode,
    keyed::{Again, Keyed, gone_is_fine},
    queue::Queue,
    resource, until,
};
use crate::{clock, registry::Preconditions};

/// How long a request that waits is kept: an agent that asks again afterwards is asked about again. One that was denied is kept for as
/// long as its cluster, or its key could ask anew.
const WAITS: Duration = Duration::from_secs(24 * 3600);
/// How long one that was approved is kept, as kube-controller-manager keeps it.
const APPROVED: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub(super) struct Requests {
    requests: BTreeMap<String, Request>,
    /// The requests of each cluster.
    of_cluster: BTreeMap<String, BTreeSet<String>>,
    clusters: BTreeMap<String, Cluster>,
}

/// A request, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    uid: String,
    cluster: String,
    /// The uid of the cluster that it belongs to.
    owner: String,
    approved: bool,
    /// When it is over; `None` when it goes with its cluster only.
    goes: Option<Timestamp>,
}

/// A cluster: which one, and whether nobody has decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cluster {
    uid: String,
    undecided: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Accept { cluster: String, uid: String },
    Remove { name: String, uid: String },
}

impl Keyed for Requests {
    type Key = String;
    type Plan = Plan;

    fn resources(&self) -> Vec<Arc<str>> {
        vec![resource::REQUESTS.into(), resource::CLUSTERS.into()]
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn observe(&mut self, event: &Event, queue: &mut Queue<String>) {
        let stored = event.latest();
        let name = stored.key.name.to_string();
        let after = event.after.as_deref();
        if &*stored.key.resource == resource::CLUSTERS {
            let cluster = after.and_then(decode::typed::<ManagedCluster>);
            match cluster.map(|cluster| Cluster::of(&cluster)) {
                Some(new) if self.clusters.get(&name) == Some(&new) => return,
                Some(new) => _ = self.clusters.insert(name.clone(), new),
                None => _ = self.clusters.remove(&name),
            }
            let requests = self.of_cluster.get(&name).into_iter().flatten();
            requests.for_each(|request| queue.add(request.clone()));
            return;
        }
        if let Some(old) = self.requests.remove(&name)
            && let Some(requests) = self.of_cluster.get_mut(&old.cluster)
        {
            requests.remove(&name);
            if requests.is_empty() {
                self.of_cluster.remove(&old.cluster);
            }
        }
        let Some(new) = after.and_then(decode::typed::<CertificateSigningRequest>) else {
            return;
        };
        let new = Request::of(&new);
        queue.add(name.clone());
        if let Some(goes) = new.goes {
            queue.add_at(name.clone(), Instant::now() + until(goes, clock::now()));
        }
        let of_cluster = self.of_cluster.entry(new.cluster.clone()).or_default();
        of_cluster.insert(name.clone());
        self.requests.insert(name, new);
    }

    fn mark_all(&self, queue: &mut Queue<String>) {
        self.requests
            .keys()
            .for_each(|name| queue.add(name.clone()));
    }

    fn decide(&mut self, name: &String, now: Timestamp) -> Option<Plan> {
        let request = self.requests.get(name)?;
        if request.goes.is_some_and(|goes| goes <= now) {
            return Some(Plan::Remove {
                name: name.clone(),
                uid: request.uid.clone(),
            });
        }
        let cluster = self.clusters.get(&request.cluster)?;
        let accepts = request.approved && cluster.undecided && cluster.uid == request.owner;
        accepts.then(|| Plan::Accept {
            cluster: request.cluster.clone(),
            uid: cluster.uid.clone(),
        })
    }

    fn carry_out<'a>(plan: Plan, context: &'a Context) -> BoxFuture<'a, Result<Again, ApiError>> {
        Box::pin(async move {
            let client = &context.client;
            match plan {
                Plan::Accept { cluster, uid } => {
                    let accept = |cluster: &mut ManagedCluster| {
                        let now = Cluster::of(cluster);
                        let changes = now.undecided && now.uid == uid;
                        cluster.spec.hub_accepts_client |= changes;
                        changes
                    };
                    gone_is_fine(client.modify::<ManagedCluster>("", &cluster, accept).await)?;
                }
                Plan::Remove { name, uid } => {
                    let preconditions = Preconditions {
                        uid: Some(uid),
                        resource_version: None,
                    };
                    gone_is_fine(
                        client
                            .delete::<CertificateSigningRequest>("", &name, preconditions)
                            .await,
                    )?;
                }
            }
            Ok(Again::OnChange)
        })
    }
}

impl Cluster {
    fn of(cluster: &ManagedCluster) -> Self {
        let conditions = cluster.status.as_ref().map(|status| &status.conditions[..]);
        let shown = find_condition(conditions.unwrap_or_default(), condition::HUB_ACCEPTED);
        Self {
            uid: decode::uid(&cluster.metadata).to_owned(),
            undecided: !cluster.spec.hub_accepts_client
                && shown.is_none()
                && cluster.metadata.deletion_timestamp.is_none(),
        }
    }
}

impl Request {
    fn of(request: &CertificateSigningRequest) -> Self {
        let metadata = &request.metadata;
        let conditions = request
            .status
            .iter()
            .filter_map(|status| status.conditions.as_deref())
            .flatten();
        let (mut approved, mut denied, mut decided_at) = (false, false, None);
        for condition in conditions {
            match condition.type_.as_str() {
                "Approved" => approved = true,
                "Denied" => denied = true,
                _ => continue,
            }
            decided_at = condition.last_update_time.as_ref().map(|time| time.0);
        }
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
        let since = decided_at.or(created).unwrap_or(Timestamp::UNIX_EPOCH);
        let kept = if approved { APPROVED } else { WAITS };
        let labels = metadata.labels.as_ref();
        let cluster = labels.and_then(|labels| labels.get(label::CLUSTER_NAME));
        let owner = metadata.owner_references.iter().flatten().next();
        Self {
            uid: decode::uid(metadata).to_owned(),
            cluster: cluster.cloned().unwrap_or_default(),
            owner: owner.map(|owner| owner.uid.clone()).unwrap_or_default(),
            approved: approved && !denied,
            goes: (!denied).then(|| since.saturating_add(kept).unwrap_or(Timestamp::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::fixtures::{gone, put, stored},
        *,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn cluster(spec: Value, status: Value) -> Arc<koinon_store::Stored> {
        let body = json!({ "spec": spec });
        stored(resource::CLUSTERS, "", "east", json!({}), body, status)
    }

    fn request(owner: &str, conditions: Value) -> Arc<koinon_store::Stored> {
        let owner = json!({
            "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster", "name": "east", "uid": owner,
        });
        let metadata = json!({
            "labels": { label::CLUSTER_NAME: "east" }, "ownerReferences": [owner],
            "creationTimestamp": "1970-01-01T00:00:00Z",
        });
        let body = json!({ "spec": { "request": "", "signerName": "s" } });
        let status = json!({ "conditions": conditions });
        stored(resource::REQUESTS, "", "east-abcde", metadata, body, status)
    }

    fn decided(kind: &str) -> Value {
        json!([{ "type": kind, "status": "True", "lastUpdateTime": "1970-01-01T00:00:00Z" }])
    }

    /// What comes of a cluster and a request at a time.
    fn plan(cluster: &Arc<koinon_store::Stored>, conditions: Value, now: i64) -> Option<Plan> {
        let (mut requests, mut queue) = (Requests::default(), Queue::default());
        requests.observe(&put(cluster.clone()), &mut queue);
        let request = request(&cluster.uid.to_string(), conditions);
        requests.observe(&put(request), &mut queue);
        requests.decide(&"east-abcde".to_owned(), at(now))
    }

    #[test]
    fn an_approval_accepts_a_cluster_that_nobody_has_decided_about() {
        let fresh = cluster(json!({}), Value::Null);
        let accept = Plan::Accept {
            cluster: "east".to_owned(),
            uid: fresh.uid.to_string(),
        };
        assert_eq!(plan(&fresh, decided("Approved"), 1), Some(accept));
        assert_eq!(plan(&fresh, json!([]), 1), None);
        assert_eq!(plan(&fresh, decided("Denied"), 1), None);
        let accepted = cluster(json!({ "hubAcceptsClient": true }), Value::Null);
        assert_eq!(plan(&accepted, decided("Approved"), 1), None);
        let shown = json!({ "conditions": [{
            "type": condition::HUB_ACCEPTED, "status": "False", "reason": "HubClusterAdminDenied", "message": "",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }] });
        let denied = cluster(json!({}), shown);
        assert_eq!(
            plan(&denied, decided("Approved"), 1),
            None,
            "a denial stays"
        );

        let (mut requests, mut queue) = (Requests::default(), Queue::default());
        requests.observe(&put(fresh.clone()), &mut queue);
        requests.observe(&put(request("another", decided("Approved"))), &mut queue);
        let key = "east-abcde".to_owned();
        assert_eq!(requests.decide(&key, at(1)), None, "of a former cluster");
        requests.observe(&gone(fresh), &mut queue);
        assert_eq!(requests.decide(&key, at(1)), None);
    }

    #[test]
    fn requests_go_when_they_are_over() {
        let fresh = cluster(json!({}), Value::Null);
        let is_removed =
            |conditions, now| matches!(plan(&fresh, conditions, now), Some(Plan::Remove { .. }));
        for (conditions, kept) in [(json!([]), 86_400), (decided("Approved"), 3_600)] {
            assert!(!is_removed(conditions.clone(), kept - 1), "{conditions}");
            assert!(is_removed(conditions, kept));
        }
        let for_ever = Timestamp::MAX.as_second();
        assert!(
            !is_removed(decided("Denied"), for_ever),
            "it refuses its key"
        );
    }
}
