//! Taking leave of a cluster: its works first, then its identity, then the object itself.

use koinon_api::{
    ManagedCluster, ManifestWork,
    labels::{annotation, condition, finalizer, reason::deleting as reason},
    meta::{Truth, new_condition, set_condition},
};
use koinon_machinery::ApiError;
use koinon_store::Stored;

use super::super::{Context, decode, keyed::gone_is_fine, resource};
use crate::{
    clock,
    registry::{Preconditions, unavailable},
};

/// A work in the way of the deletion.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Remaining {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) deleting: bool,
    pub(super) priority: u8,
}

impl Remaining {
    fn of(stored: &Stored) -> Self {
        let meta = decode::Meta::of(stored);
        let priority = meta
            .annotations
            .get(annotation::CLEANUP_PRIORITY)
            .and_then(|text| text.parse().ok());
        Self {
            name: stored.key.name.to_string(),
            uid: stored.uid.to_string(),
            deleting: meta.deleting(),
            priority: priority.filter(|priority| *priority <= 100).unwrap_or(0),
        }
    }
}

/// Which works to delete now: those of the lowest priority that is left, unless they are on their way out.
pub(super) fn next(works: &[Remaining]) -> Vec<&Remaining> {
    let lowest = works.iter().map(|work| work.priority).min();
    works
        .iter()
        .filter(|work| Some(work.priority) == lowest && !work.deleting)
        .collect()
}

/// One step: deletes works if there are any, ends the cluster if there are none.
pub(super) async fn detach(cluster: &str, uid: &str, context: &Context) -> Result<(), ApiError> {
    let client = &context.client;
    let store = client.store();
    let look = || -> Vec<Remaining> {
        let works = store.snapshot(resource::WORKS);
        let works = works.namespace(cluster);
        works.map(|stored| Remaining::of(stored)).collect()
    };
    let mut works = look();
    if works.is_empty() {
        // One that another replica took a moment ago may be applied already: without its agent it would run for ever.
        store.fresh().await.map_err(|error| unavailable(&error))?;
        works = look();
    }
    for work in next(&works) {
        let preconditions = Preconditions {
            uid: Some(work.uid.clone()),
            resource_version: None,
        };
        gone_is_fine(
            client
                .delete::<ManifestWork>(cluster, &work.name, preconditions)
                .await,
        )?;
    }
    if !works.is_empty() {
        let pending = works.iter().filter(|work| work.deleting).count();
        let message = format!(
            "The resource manifestworks is remaning, the remaining count is {}, the finalizer pending count is {pending}",
            works.len()
        );
        return show(
            cluster,
            uid,
            Truth::False,
            reason::RESOURCE_REMAINING,
            message,
            context,
        )
        .await;
    }
    let message = "No cleaned resource in cluster ns.".to_owned();
    show(
        cluster,
        uid,
        Truth::True,
        reason::NO_RESOURCE,
        message,
        context,
    )
    .await?;
    // Whatever keeps the name (another cluster that has it by now, another leader) keeps the write below from happening, too.
    store
        .identities()
        .release(
            resource::CLUSTERS,
            cluster,
            uid.parse().ok(),
            client.writer().epoch,
        )
        .await
        .map_err(|error| unavailable(&error))?;
    let release = |object: &mut ManagedCluster| {
        if object.metadata.uid.as_deref() != Some(uid) {
            return false;
        }
        let finalizers = object.metadata.finalizers.get_or_insert_default();
        let before = finalizers.len();
        finalizers.retain(|one| {
            one != finalizer::CLUSTER_RESOURCES && one != finalizer::CLUSTER_API_RESOURCES
        });
        finalizers.len() < before
    };
    gone_is_fine(client.modify::<ManagedCluster>("", cluster, release).await)
}

async fn show(
    cluster: &str,
    uid: &str,
    truth: Truth,
    reason: &str,
    message: String,
    context: &Context,
) -> Result<(), ApiError> {
    let shown = new_condition(condition::DELETING, truth, reason, message, clock::now());
    let show = |object: &mut ManagedCluster| {
        object.metadata.uid.as_deref() == Some(uid)
            && set_condition(
                &mut object.status.get_or_insert_default().conditions,
                shown.clone(),
            )
    };
    gone_is_fine(
        context
            .client
            .modify_status::<ManagedCluster>("", cluster, show)
            .await,
    )
}
