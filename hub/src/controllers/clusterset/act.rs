//! Writes what was decided about cluster sets, bindings and the namespaces that sets want.

use koinon_api::{
    ManagedCluster, ManagedClusterSet, ManagedClusterSetBinding,
    cluster::{ClusterSetManagedNamespace, ManagedClusterSetSpec},
    labels::well_known,
    meta::set_condition,
};
use koinon_machinery::{ApiError, Reason};

use super::{
    super::{
        Context, decode,
        events::{About, Note},
        keyed::gone_is_fine,
    },
    Plan, Wanted,
};

pub(super) async fn act(plan: Plan, context: &Context) -> Result<(), ApiError> {
    let client = &context.client;
    match plan {
        Plan::CreateSet(name, cluster_selector) => {
            let spec = ManagedClusterSetSpec {
                cluster_selector,
                ..ManagedClusterSetSpec::default()
            };
            tracing::info!(name, "creating a built-in cluster set");
            match client.create(&ManagedClusterSet::new(&name, spec)).await {
                Err(error) if error.reason == Reason::AlreadyExists => Ok(()),
                Err(error) => Err(error),
                Ok(set) => {
                    let uid = decode::uid(&set.metadata);
                    let what = format!("Set the ManagedClusterSet {name:?} to its default");
                    tell(&name, uid, Change::Created, what, context);
                    Ok(())
                }
            }
        }
        Plan::RollBack(name, selector) => {
            let roll_back = |set: &mut ManagedClusterSet| {
                let changed = set.spec.cluster_selector != selector;
                set.spec.cluster_selector = selector.clone();
                changed
            };
            tracing::info!(name, "rolling the selector of a built-in cluster set back");
            let done = client
                .modify::<ManagedClusterSet>("", &name, roll_back)
                .await;
            if let Ok(set) = &done {
                let uid = decode::uid(&set.metadata);
                let what = format!("Rolled the selector of the ManagedClusterSet {name:?} back");
                tell(&name, uid, Change::RolledBack, what, context);
            }
            gone_is_fine(done)
        }
        Plan::ShowSet(name, shown) => {
            let show = |set: &mut ManagedClusterSet| {
                set_condition(
                    &mut set.status.get_or_insert_default().conditions,
                    shown.clone(),
                )
            };
            gone_is_fine(
                client
                    .modify_status::<ManagedClusterSet>("", &name, show)
                    .await,
            )
        }
        Plan::ShowNamespaces(name, wanted) => {
            let show = |cluster: &mut ManagedCluster| {
                let status = cluster.status.get_or_insert_default();
                let before = std::mem::take(&mut status.managed_namespaces);
                // What is known of one that stays wanted stays known; OCM forgets it until the agent says it again.
                let keep = |(set, name): &Wanted| {
                    let mut known = before.iter();
                    let known = known.find(|one| one.cluster_set == *set && one.name == *name);
                    known
                        .cloned()
                        .unwrap_or_else(|| ClusterSetManagedNamespace {
                            name: name.clone(),
                            cluster_set: set.clone(),
                            ..ClusterSetManagedNamespace::default()
                        })
                };
                status.managed_namespaces = wanted.iter().map(keep).collect();
                status.managed_namespaces != before
            };
            gone_is_fine(
                client
                    .modify_status::<ManagedCluster>("", &name, show)
                    .await,
            )
        }
        Plan::ShowBinding {
            namespace,
            name,
            condition,
        } => {
            let show = |binding: &mut ManagedClusterSetBinding| {
                set_condition(
                    &mut binding.status.get_or_insert_default().conditions,
                    condition.clone(),
                )
            };
            gone_is_fine(
                client
                    .modify_status::<ManagedClusterSetBinding>(&namespace, &name, show)
                    .await,
            )
        }
    }
}

/// What was done to a built-in set.
#[derive(Clone, Copy)]
enum Change {
    Created,
    RolledBack,
}

/// OCM's events about its built-in sets.
fn tell(name: &str, uid: &str, change: Change, message: String, context: &Context) {
    let reason = match (name, change) {
        (well_known::GLOBAL_SET, Change::Created) => "GlobalManagedClusterSetCreated",
        (well_known::GLOBAL_SET, Change::RolledBack) => "GlobalManagedClusterSetSpecRollbacked",
        (_, Change::Created) => "DefaultManagedClusterSetCreated",
        (_, Change::RolledBack) => "DefaultManagedClusterSetSpecRollbacked",
    };
    context.events.record(Note {
        about: About::new::<ManagedClusterSet>("", name, uid),
        warning: false,
        reason,
        message,
    });
}
