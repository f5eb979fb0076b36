//! What accepting, denying and deleting a cluster means.
//!
//! ```text
//!   accepted ─► namespace, finalizer, HubAcceptedManagedCluster=True
//!   denied   ─► HubAcceptedManagedCluster=False; namespace and works are kept, as in OCM
//!   deleted  ─► works go, lowest cleanup priority first ─► identity and heartbeat go ─► finalizers go
//! ```
//!
//! The identity goes last: until then the agent can still connect and remove what it applied.

mod detach;

use std::{collections::BTreeMap, sync::Arc};

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use koinon_api::{
    ManagedCluster,
    labels::{condition, finalizer, label, reason::hub_accepted as reason},
    meta::{Truth, condition as find_condition, new_condition, set_condition},
};
use koinon_machinery::{ApiError, Reason};
use koinon_store::{Event, Stored};

use super::{
    Context, decode,
    keyed::{Again, Keyed, gone_is_fine},
    queue::Queue,
    resource,
};
use crate::clock;

/// A cluster, as far as registration goes.
#[derive(Clone, Debug, PartialEq)]
struct Cluster {
    uid: String,
    accepted: bool,
    deleting: bool,
    finalizers: Vec<String>,
    shown: Option<Shown>,
}

/// What its condition `HubAcceptedManagedCluster` shows.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    truth: bool,
    reason: String,
}

/// The cluster's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Missing,
    Unlabelled,
    Terminating,
    Ready,
}

#[derive(Debug, Default)]
pub(super) struct Registration {
    clusters: BTreeMap<String, Cluster>,
    namespaces: BTreeMap<String, Home>,
}

/// What is to be done for one cluster.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    cluster: String,
    uid: String,
    actions: Vec<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    CreateNamespace,
    LabelNamespace,
    Hold {
        accepted: bool,
    },
    Show {
        truth: Truth,
        reason: &'static str,
        message: &'static str,
    },
    Detach,
}

impl Keyed for Registration {
    type Key = String;
    type Plan = Plan;

    fn resources(&self) -> Vec<Arc<str>> {
        [resource::NAMESPACES, resource::CLUSTERS, resource::WORKS]
            .map(Arc::from)
            .into()
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn observe(&mut self, event: &Event, queue: &mut Queue<String>) {
        let stored = event.latest();
        let after = event.after.as_deref();
        match &*stored.key.resource {
            resource::CLUSTERS => {
                let name = stored.key.name.to_string();
                let new = after
                    .and_then(decode::typed::<ManagedCluster>)
                    .map(|cluster| Cluster::of(&cluster));
                if new.as_ref() == self.clusters.get(&name) {
                    return;
                }
                match new {
                    Some(new) => self.clusters.insert(name.clone(), new),
                    None => self.clusters.remove(&name),
                };
                queue.add(name);
            }
            resource::NAMESPACES => {
                let name = stored.key.name.to_string();
                match after {
                    Some(namespace) => self.namespaces.insert(name.clone(), Home::of(namespace)),
                    None => self.namespaces.remove(&name),
                };
                if self.clusters.contains_key(&name) {
                    queue.add(name);
                }
            }
            // Works matter to clusters on their way out only.
            _ => {
                let name = &*stored.key.namespace;
                if self
                    .clusters
                    .get(name)
                    .is_some_and(|cluster| cluster.deleting)
                {
                    queue.add(name.to_owned());
                }
            }
        }
    }

    fn mark_all(&self, queue: &mut Queue<String>) {
        self.clusters
            .keys()
            .for_each(|name| queue.add(name.clone()));
    }

    fn decide(&mut self, key: &String, _: Timestamp) -> Option<Plan> {
        let cluster = self.clusters.get(key)?;
        let home = self.namespaces.get(key).copied().unwrap_or(Home::Missing);
        let actions = decide(cluster, home);
        (!actions.is_empty()).then(|| Plan {
            cluster: key.clone(),
            uid: cluster.uid.clone(),
            actions,
        })
    }

    fn carry_out<'a>(plan: Plan, context: &'a Context) -> BoxFuture<'a, Result<Again, ApiError>> {
        Box::pin(async move {
            for action in &plan.actions {
                act(&plan, *action, context).await?;
            }
            Ok(Again::OnChange)
        })
    }
}

impl Cluster {
    fn of(cluster: &ManagedCluster) -> Self {
        let conditions = cluster
            .status
            .as_ref()
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default();
        Self {
            uid: decode::uid(&cluster.metadata).to_owned(),
            accepted: cluster.spec.hub_accepts_client,
            deleting: cluster.metadata.deletion_timestamp.is_some(),
            finalizers: cluster.metadata.finalizers.clone().unwrap_or_default(),
            shown: find_condition(conditions, condition::HUB_ACCEPTED).map(|found| Shown {
                truth: found.status == Truth::True.as_str(),
                reason: found.reason.clone(),
            }),
        }
    }

    fn is_held_by(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|one| one == finalizer)
    }
}

impl Home {
    fn of(namespace: &Stored) -> Self {
        if decode::Meta::of(namespace).deleting() {
            return Self::Terminating;
        }
        match namespace.labels.get(label::CLUSTER_NAME) {
            Some(name) if **name == *namespace.key.name => Self::Ready,
            _ => Self::Unlabelled,
        }
    }
}

fn decide(cluster: &Cluster, home: Home) -> Vec<Action> {
    let held = cluster.is_held_by(finalizer::CLUSTER_RESOURCES);
    let held_as_accepted = cluster.is_held_by(finalizer::CLUSTER_API_RESOURCES);
    if cluster.deleting {
        return if held || held_as_accepted {
            vec![Action::Detach]
        } else {
            Vec::new()
        };
    }
    let mut actions = Vec::new();
    let show = |truth: Truth, reason: &'static str, message: &'static str| {
        let shown = cluster.shown.as_ref();
        let same = shown
            .is_some_and(|shown| shown.truth == (truth == Truth::True) && shown.reason == reason);
        (!same).then_some(Action::Show {
            truth,
            reason,
            message,
        })
    };
    let condition = match (cluster.accepted, home) {
        (true, Home::Terminating) => show(
            Truth::False,
            reason::ERROR,
            "the namespace of the cluster is terminating",
        ),
        (true, _) => show(
            Truth::True,
            reason::ACCEPTED,
            "Accepted by hub cluster admin",
        ),
        (false, _) if cluster.shown.as_ref().is_some_and(|shown| shown.truth) => {
            show(Truth::False, reason::DENIED, "Denied by hub cluster admin")
        }
        (false, _) => None,
    };
    if cluster.accepted {
        match home {
            Home::Missing => actions.push(Action::CreateNamespace),
            Home::Unlabelled => actions.push(Action::LabelNamespace),
            Home::Terminating | Home::Ready => {}
        }
    }
    if !held || (cluster.accepted && !held_as_accepted) {
        actions.push(Action::Hold {
            accepted: cluster.accepted,
        });
    }
    actions.extend(condition);
    actions
}

async fn act(plan: &Plan, action: Action, context: &Context) -> Result<(), ApiError> {
    let client = &context.client;
    let name = plan.cluster.as_str();
    let same = |cluster: &ManagedCluster| cluster.metadata.uid.as_ref() == Some(&plan.uid);
    match action {
        Action::CreateNamespace => {
            let labels = [(label::CLUSTER_NAME.to_owned(), name.to_owned())].into();
            let metadata = ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(labels),
                ..ObjectMeta::default()
            };
            match client
                .create(&Namespace {
                    metadata,
                    ..Namespace::default()
                })
                .await
            {
                Err(error) if error.reason == Reason::AlreadyExists => Ok(()),
                done => done.map(drop),
            }
        }
        Action::LabelNamespace => {
            let add = |namespace: &mut Namespace| {
                let labels = namespace.metadata.labels.get_or_insert_default();
                labels
                    .insert(label::CLUSTER_NAME.to_owned(), name.to_owned())
                    .as_deref()
                    != Some(name)
            };
            gone_is_fine(client.modify::<Namespace>("", name, add).await)
        }
        Action::Hold { accepted } => {
            let hold = |cluster: &mut ManagedCluster| {
                if !same(cluster) || cluster.metadata.deletion_timestamp.is_some() {
                    return false;
                }
                let finalizers = cluster.metadata.finalizers.get_or_insert_default();
                let before = finalizers.len();
                let wanted = [
                    Some(finalizer::CLUSTER_RESOURCES),
                    accepted.then_some(finalizer::CLUSTER_API_RESOURCES),
                ];
                for one in wanted.into_iter().flatten() {
                    if !finalizers.iter().any(|have| have == one) {
                        finalizers.push(one.to_owned());
                    }
                }
                finalizers.len() > before
            };
            gone_is_fine(client.modify::<ManagedCluster>("", name, hold).await)
        }
        Action::Show {
            truth,
            reason,
            message,
        } => {
            let now = clock::now();
            let show = |cluster: &mut ManagedCluster| {
                let shown = new_condition(condition::HUB_ACCEPTED, truth, reason, message, now);
                same(cluster)
                    && set_condition(
                        &mut cluster.status.get_or_insert_default().conditions,
                        shown,
                    )
            };
            gone_is_fine(client.modify_status::<ManagedCluster>("", name, show).await)
        }
        Action::Detach => detach::detach(name, &plan.uid, context).await,
    }
}

#[cfg(test)]
mod tests;
