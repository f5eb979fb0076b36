//! Placements: chooses clusters and keeps `PlacementDecision`s to the choice.
//!
//! A change marks only the placements that it can affect; the decisions of a run are taken one after the other, so
//! that each sees the load of those before it, and are written side by side.

mod conditions;
mod decide;
mod index;
mod layout;

use std::{iter, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::BoxFuture, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use koinon_api::{
    Placement, PlacementDecision,
    labels::annotation,
    meta::set_condition,
    placement::{ClusterDecision, PlacementDecisionStatus},
};
use koinon_machinery::ApiError;
use koinon_store::{Event, Key, Store};
use kube::Resource as _;
use tokio::time::Instant;

use self::{
    decide::{Action, Plan},
    index::{Index, Name},
};
use super::{
    CONCURRENT_WRITES, Context,
    driver::{Failure, Outcome, Reconciler},
    events::{About, Note},
    keyed::gone_is_fine,
    resource, until,
};
use crate::{clock, registry::Preconditions};

/// How many decisions are taken before they are written: bounds the memory of a run over everything.
const CHUNK: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Placements {
    index: Index,
}

impl Reconciler for Placements {
    fn resources(&self) -> Vec<Arc<str>> {
        // Clusters and sets come before what refers to them: each placement is marked once at the start.
        [
            resource::CLUSTERS,
            resource::SETS,
            resource::BINDINGS,
            resource::SCORES,
            resource::DECISIONS,
            resource::PLACEMENTS,
        ]
        .map(Arc::from)
        .into()
    }

    fn period(&self) -> Duration {
        Duration::from_secs(600)
    }

    fn reset(&mut self) {
        self.index = Index::default();
    }

    fn observe(&mut self, event: &Event) {
        self.index.observe(event);
    }

    fn sweep(&mut self) {
        self.index.mark_all();
    }

    fn due(&self, now: Instant) -> bool {
        self.index.queue.due(now)
    }

    fn wake_at(&self) -> Option<Instant> {
        self.index.queue.next()
    }

    fn backlog(&self) -> usize {
        self.index.queue.len()
    }

    fn reconcile<'a>(
        &'a mut self,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Outcome, Failure>> {
        Box::pin(async move {
            let keys = self.index.queue.take(Instant::now());
            let mut outcome = Outcome {
                keys: keys.len(),
                ..Outcome::default()
            };
            for chunk in keys.chunks(CHUNK) {
                self.chunk(chunk, context, &mut outcome).await;
            }
            Ok(outcome)
        })
    }
}

impl Placements {
    async fn chunk(&mut self, keys: &[Name], context: &Context, outcome: &mut Outcome) {
        let mut plans = Vec::new();
        for key in keys {
            let now = clock::now();
            let Some(plan) = self.index.decide(key, now) else {
                self.index.queue.succeeded(key);
                continue;
            };
            if let Some(at) = plan.recheck_at {
                self.index
                    .queue
                    .add_at(key.clone(), Instant::now() + until(at, now));
            }
            if plan.actions.is_empty() {
                self.index.queue.succeeded(key);
                continue;
            }
            self.index.assume(&plan);
            plans.push(plan);
        }
        let written = stream::iter(plans)
            .map(|plan| async move {
                let done = carry_out(&plan, context).await;
                (plan, done)
            })
            .buffer_unordered(CONCURRENT_WRITES)
            .collect::<Vec<_>>()
            .await;
        for (plan, done) in written {
            match done {
                Ok(()) => self.index.queue.succeeded(&plan.placement),
                Err(error) => {
                    outcome.fail(format!(
                        "placement {}/{}: {error}",
                        plan.placement.0, plan.placement.1
                    ));
                    self.recall(&plan, context.client.store());
                    self.index.queue.failed(plan.placement, Instant::now());
                }
            }
        }
    }

    /// Takes back what was assumed of a plan that failed.
    fn recall(&mut self, plan: &Plan, store: &Store) {
        let namespace = &plan.placement.0;
        let mut observe = |resource: &str, name: &str| {
            let key = Key::new(resource, namespace.as_str(), name);
            match store.get(&key) {
                Some(stored) => {
                    let revision = stored.revision;
                    self.index.observe(&Event {
                        revision,
                        before: None,
                        after: Some(stored),
                    });
                }
                None if resource == resource::DECISIONS => {
                    self.index
                        .set_decision((namespace.clone(), name.to_owned()), None);
                }
                None => {}
            }
        };
        for action in &plan.actions {
            match action {
                Action::Create { name, .. } | Action::Adopt { name, .. } => {
                    observe(resource::DECISIONS, name)
                }
                Action::Decide { name, .. } | Action::Remove { name, .. } => {
                    observe(resource::DECISIONS, name)
                }
                Action::Status(_) => observe(resource::PLACEMENTS, &plan.placement.1),
                Action::Stamp { .. } | Action::Event { .. } => {}
            }
        }
    }
}

async fn carry_out(plan: &Plan, context: &Context) -> Result<(), ApiError> {
    for action in &plan.actions {
        act(plan, action, context).await?;
    }
    Ok(())
}

async fn act(plan: &Plan, action: &Action, context: &Context) -> Result<(), ApiError> {
    let client = &context.client;
    let (namespace, placement) = (plan.placement.0.as_str(), plan.placement.1.as_str());
    match action {
        Action::Create { name, labels } => {
            let metadata = ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace.to_owned()),
                labels: Some(labels.clone()),
                annotations: Some([stamp(plan)].into()),
                owner_references: Some(vec![owner(plan)]),
                ..ObjectMeta::default()
            };
            client
                .create(&PlacementDecision {
                    metadata,
                    status: None,
                })
                .await?;
        }
        Action::Adopt { name, labels } => {
            let adopt = |decision: &mut PlacementDecision| {
                decision.metadata.labels = Some(labels.clone());
                let annotations = decision.metadata.annotations.get_or_insert_default();
                annotations.extend([stamp(plan)]);
                let owners = decision.metadata.owner_references.get_or_insert_default();
                owners.retain(|owner| owner.controller != Some(true));
                owners.push(owner(plan));
                true
            };
            client
                .modify::<PlacementDecision>(namespace, name, adopt)
                .await?;
        }
        Action::Decide {
            name,
            clusters,
            scores,
            reason,
        } => {
            let scores = scores.iter().copied().chain(iter::repeat(0));
            let decisions: Vec<ClusterDecision> = clusters
                .iter()
                .zip(scores)
                .map(|(cluster, score)| ClusterDecision {
                    cluster_name: cluster.clone(),
                    reason: (*reason).to_owned(),
                    score,
                })
                .collect();
            let status = Some(PlacementDecisionStatus { decisions });
            let decide = |decision: &mut PlacementDecision| {
                let changed = decision.status != status;
                decision.status.clone_from(&status);
                changed
            };
            client
                .modify_status::<PlacementDecision>(namespace, name, decide)
                .await?;
        }
        Action::Stamp { name } => {
            let (key, revision) = stamp(plan);
            let stamp = |decision: &mut PlacementDecision| {
                let annotations = decision.metadata.annotations.get_or_insert_default();
                annotations.insert(key.clone(), revision.clone()).as_ref() != Some(&revision)
            };
            let stamped = client
                .modify::<PlacementDecision>(namespace, name, stamp)
                .await;
            gone_is_fine(stamped.map(drop))?;
        }
        Action::Remove { name, uid } => {
            let preconditions = Preconditions {
                uid: Some(uid.clone()),
                resource_version: None,
            };
            gone_is_fine(
                client
                    .delete::<PlacementDecision>(namespace, name, preconditions)
                    .await,
            )?;
        }
        Action::Status(new) => {
            let update = |object: &mut Placement| {
                if object.metadata.uid.as_ref() != Some(&plan.uid) {
                    return false;
                }
                let status = object.status.get_or_insert_default();
                let before = status.clone();
                status.number_of_selected_clusters = new.number_of_selected_clusters;
                status.decision_groups.clone_from(&new.decision_groups);
                status
                    .last_score_update_time
                    .clone_from(&new.last_score_update_time);
                for condition in &new.conditions {
                    set_condition(&mut status.conditions, condition.clone());
                }
                *status != before
            };
            gone_is_fine(
                client
                    .modify_status::<Placement>(namespace, placement, update)
                    .await
                    .map(drop),
            )?;
        }
        Action::Event {
            warning,
            reason,
            message,
        } => {
            let about = About::new::<Placement>(namespace, placement, &plan.uid);
            context.events.record(Note {
                about,
                warning: *warning,
                reason,
                message: message.clone(),
            });
        }
    }
    Ok(())
}

/// The annotation that says from which revision a decision was made.
fn stamp(plan: &Plan) -> (String, String) {
    (annotation::SNAPSHOT.to_owned(), plan.revision.to_string())
}

fn owner(plan: &Plan) -> OwnerReference {
    OwnerReference {
        api_version: Placement::api_version(&()).into_owned(),
        kind: Placement::kind(&()).into_owned(),
        name: plan.placement.1.clone(),
        uid: plan.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

#[cfg(test)]
mod tests;
