//! Replica sets: one work from a template in every cluster that their placements choose.

mod decide;
mod index;
mod name;
mod summary;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, future::BoxFuture, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use koinon_api::{
    ManifestWork, ManifestWorkReplicaSet,
    labels::{annotation, finalizer},
    work::ManifestWorkSpec,
};
use koinon_machinery::ApiError;
use koinon_store::Event;
use tokio::time::Instant;

use self::{
    decide::{Apply, Plan, Remove},
    index::{Index, Name},
    summary::Summary,
};
use super::{
    CONCURRENT_WRITES, Context,
    driver::{Failure, Outcome, Reconciler},
    keyed::gone_is_fine,
    queue::Pending,
    resource,
};
use crate::{clock, registry::Preconditions};

/// Replica sets worked on at the same time; each has its own writes in flight.
const CONCURRENT_SETS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct ReplicaSets {
    index: Index,
}

/// What a run needs of a set besides its plan.
struct Job {
    name: Name,
    uid: String,
    template: Arc<ManifestWorkSpec>,
    plan: Plan,
}

impl Reconciler for ReplicaSets {
    fn resources(&self) -> Vec<Arc<str>> {
        [
            resource::CLUSTERS,
            resource::PLACEMENTS,
            resource::DECISIONS,
            resource::WORKS,
            resource::WORKSETS,
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

    fn pending(&self) -> &dyn Pending {
        &self.index.queue
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
            let mut jobs = Vec::new();
            for name in keys {
                let Some(plan) = self.index.decide(&name) else {
                    self.index.queue.succeeded(&name);
                    continue;
                };
                let set = &self.index.sets[&name];
                let stale = plan
                    .summary
                    .as_ref()
                    .is_some_and(|summary| summary.apply(&mut set.status.clone(), clock::now()));
                if !stale && plan.is_quiet() {
                    self.index.queue.succeeded(&name);
                    continue;
                }
                jobs.push(Job {
                    name,
                    uid: set.uid.clone(),
                    template: Arc::clone(&set.template),
                    plan,
                });
            }
            let mut done = stream::iter(jobs)
                .map(|job| async move {
                    let result = carry_out(&job, context).await;
                    (job.name, result)
                })
                .buffer_unordered(CONCURRENT_SETS);
            while let Some((name, result)) = done.next().await {
                match result {
                    Ok(()) => self.index.queue.succeeded(&name),
                    Err(error) => {
                        outcome.fail(format!("replica set {}/{}: {error}", name.0, name.1));
                        self.index.queue.failed(name, Instant::now());
                    }
                }
            }
            Ok(outcome)
        })
    }
}

impl Plan {
    /// Whether there is nothing to write but, perhaps, the status.
    fn is_quiet(&self) -> bool {
        self.apply.is_empty()
            && self.remove.is_empty()
            && !self.add_finalizer
            && !self.remove_finalizer
    }
}

async fn carry_out(job: &Job, context: &Context) -> Result<(), ApiError> {
    let Job { name, plan, .. } = job;
    if plan.add_finalizer && !hold(job, context).await? {
        return Ok(());
    }
    // The items are owned: a closure over borrowed ones is not general enough for a boxed future.
    let applied = stream::iter(plan.apply.clone())
        .map(|work| async move {
            let result = apply(&work, &job.template, context).await;
            (work, result)
        })
        .buffer_unordered(CONCURRENT_WRITES)
        .collect::<Vec<_>>()
        .await;
    let mut summary = plan.summary.clone();
    let mut first_error = None;
    let mut failed = 0;
    for (work, result) in applied {
        let Err(error) = result else { continue };
        failed += 1;
        if let (false, Some(summary)) = (work.exists, summary.as_mut()) {
            summary.not_created(&work.placement);
        }
        first_error.get_or_insert_with(|| ApiError {
            message: format!("cluster {}: {}", work.cluster, error.message),
            ..error
        });
    }
    // A work that could not be made may be the successor of one that is to go (P10).
    let removable = if first_error.is_none() {
        plan.remove.clone()
    } else {
        Vec::new()
    };
    let removed = stream::iter(removable)
        .map(|work| async move { remove(&work, context).await })
        .buffer_unordered(CONCURRENT_WRITES)
        .collect::<Vec<_>>()
        .await;
    let not_removed = removed.into_iter().find_map(Result::err);
    if let (Some(summary), Some(error)) = (summary.as_mut(), &first_error) {
        summary.failed = Some((failed, error.message.clone()));
    }
    if let Some(summary) = summary {
        write_status(job, &summary, context).await?;
    }
    if let Some(error) = first_error.or(not_removed) {
        return Err(error);
    }
    if plan.remove_finalizer {
        let release = |set: &mut ManifestWorkReplicaSet| {
            let finalizers = set.metadata.finalizers.get_or_insert_default();
            let before = finalizers.len();
            finalizers.retain(|one| one != finalizer::REPLICA_SET);
            finalizers.len() < before
        };
        gone_is_fine(
            context
                .client
                .modify::<ManifestWorkReplicaSet>(&name.0, &name.1, release)
                .await
                .map(drop),
        )?;
    }
    Ok(())
}

/// Puts the finalizer on; `false` if the set is on its way out meanwhile.
async fn hold(job: &Job, context: &Context) -> Result<bool, ApiError> {
    let mut held = false;
    let add = |set: &mut ManifestWorkReplicaSet| {
        held = set.metadata.deletion_timestamp.is_none()
            && set.metadata.uid.as_ref() == Some(&job.uid);
        let finalizers = set.metadata.finalizers.get_or_insert_default();
        let missing = !finalizers.iter().any(|one| one == finalizer::REPLICA_SET);
        if held && missing {
            finalizers.push(finalizer::REPLICA_SET.to_owned());
        }
        held && missing
    };
    gone_is_fine(
        context
            .client
            .modify::<ManifestWorkReplicaSet>(&job.name.0, &job.name.1, add)
            .await
            .map(drop),
    )?;
    Ok(held)
}

async fn apply(
    work: &Apply,
    template: &ManifestWorkSpec,
    context: &Context,
) -> Result<(), ApiError> {
    if work.exists {
        let bring = |object: &mut ManifestWork| {
            if object.metadata.deletion_timestamp.is_some() {
                return false;
            }
            object.metadata.labels = Some(work.labels.clone());
            if let Some(meaning) = &work.availability {
                let annotations = object.metadata.annotations.get_or_insert_default();
                annotations.insert(annotation::AVAILABILITY.to_owned(), meaning.clone());
            }
            object.spec.clone_from(template);
            true
        };
        return gone_is_fine(
            context
                .client
                .modify::<ManifestWork>(&work.cluster, &work.name, bring)
                .await
                .map(drop),
        );
    }
    let mut object = ManifestWork::new(&work.name, template.clone());
    object.metadata = ObjectMeta {
        namespace: Some(work.cluster.clone()),
        labels: Some(work.labels.clone()),
        annotations: work
            .availability
            .clone()
            .map(|meaning| [(annotation::AVAILABILITY.to_owned(), meaning)].into()),
        ..object.metadata
    };
    context.client.create(&object).await.map(drop)
}

async fn remove(work: &Remove, context: &Context) -> Result<(), ApiError> {
    let preconditions = Preconditions {
        uid: Some(work.uid.clone()),
        resource_version: None,
    };
    gone_is_fine(
        context
            .client
            .delete::<ManifestWork>(&work.cluster, &work.name, preconditions)
            .await,
    )
}

async fn write_status(job: &Job, summary: &Summary, context: &Context) -> Result<(), ApiError> {
    let now = clock::now();
    let update = |set: &mut ManifestWorkReplicaSet| {
        set.metadata.uid.as_ref() == Some(&job.uid)
            && summary.apply(set.status.get_or_insert_default(), now)
    };
    let (namespace, name) = &job.name;
    gone_is_fine(
        context
            .client
            .modify_status::<ManifestWorkReplicaSet>(namespace, name, update)
            .await
            .map(drop),
    )
}

#[cfg(test)]
mod tests;
