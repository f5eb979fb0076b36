//! Carries out what was decided for one placement.

use std::{
    collections::{HashMap, HashSet},
    iter,
};

use futures::{StreamExt as _, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use koinon_api::{
    Placement, PlacementDecision,
    labels::{annotation, condition, reason},
    meta::{Truth, clip, new_condition, set_condition},
    placement::{ClusterDecision, PlacementDecisionStatus},
};
use koinon_machinery::{ApiError, Reason};
use kube::Resource as _;

use super::{
    super::{
        Context,
        events::{About, Note},
        keyed::gone_is_fine,
    },
    decide::{Action, Plan},
};
use crate::{clock, registry::Preconditions};

/// Writes of one plan in flight: enough for a placement with thousands of groups, few enough to leave room for others.
const WRITES_OF_ONE: usize = 32;

/// Characters of what is told of a refusal.
const MOST_REFUSAL: usize = 1_000;

/// Carries a plan out, stage by stage. What is refused for good is said on the placement: its decisions then are not
/// what its conditions would say, and nobody looks into the hub's log.
pub(super) async fn carry_out(plan: &Plan, context: &Context) -> Result<(), ApiError> {
    for stage in stages(&plan.actions) {
        let chains: Vec<_> = stage
            .into_iter()
            .map(|chain| act_on_one(plan, chain, context))
            .collect();
        let results = stream::iter(chains)
            .buffer_unordered(WRITES_OF_ONE)
            .collect::<Vec<_>>()
            .await;
        if let Some(error) = results.into_iter().find_map(Result::err) {
            if for_good(&error) {
                say_refused(plan, &error, context).await?;
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Carries actions out one after the other.
async fn act_on_one(plan: &Plan, chain: Vec<&Action>, context: &Context) -> Result<(), ApiError> {
    for action in chain {
        act(plan, action, context).await?;
    }
    Ok(())
}

/// Orders the actions of a plan: those of one object one after the other, those of different objects side by side, and a
/// stage only when the one before is through. The last stages are those that take something away: objects lose what
/// others got, then surplus ones go, then the status says how it is.
pub(super) fn stages(actions: &[Action]) -> Vec<Vec<Vec<&Action>>> {
    let (mut chains, mut of) = (Vec::<Vec<&Action>>::new(), HashMap::<&str, usize>::new());
    let (mut narrow, mut remove, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    let mut decided = HashSet::new();
    let mut last = None;
    for action in actions {
        match action {
            Action::Create { name, .. } | Action::Adopt { name, .. } | Action::Stamp { name } => {
                let chain = *of.entry(name.as_str()).or_insert_with(|| {
                    chains.push(Vec::new());
                    chains.len() - 1
                });
                chains[chain].push(action);
                last = Some(chain);
            }
            Action::Decide { name, .. } if decided.insert(name.as_str()) => {
                let chain = *of.entry(name.as_str()).or_insert_with(|| {
                    chains.push(Vec::new());
                    chains.len() - 1
                });
                chains[chain].push(action);
                last = Some(chain);
            }
            // The second one of an object takes from it what now is in another.
            Action::Decide { .. } => {
                narrow.push(vec![action]);
                last = None;
            }
            Action::Remove { .. } => {
                remove.push(vec![action]);
                last = None;
            }
            Action::Status(_) => {
                rest.push(action);
                last = None;
            }
            // An event is about what was written just before it.
            Action::Event { .. } => match (last, remove.last_mut()) {
                (Some(chain), _) => chains[chain].push(action),
                (None, Some(removed)) if rest.is_empty() => removed.push(action),
                _ => rest.push(action),
            },
        }
    }
    [chains, narrow, remove, vec![rest]].into()
}

/// Whether trying again is no use as long as nothing changes.
fn for_good(error: &ApiError) -> bool {
    matches!(
        error.reason,
        Reason::Invalid | Reason::BadRequest | Reason::Forbidden | Reason::RequestEntityTooLarge
    )
}

/// Tells the user that decisions could not be written.
async fn say_refused(plan: &Plan, error: &ApiError, context: &Context) -> Result<(), ApiError> {
    let message = clip(
        format!("Decisions cannot be written: {error}"),
        MOST_REFUSAL,
    );
    let unsatisfied = new_condition(
        condition::PLACEMENT_SATISFIED,
        Truth::False,
        reason::placement::NOT_ALL_SCHEDULED,
        message.as_str(),
        clock::now(),
    );
    let mut news = false;
    let say = |placement: &mut Placement| {
        if placement.metadata.uid.as_ref() != Some(&plan.uid) {
            return false;
        }
        let conditions = &mut placement.status.get_or_insert_default().conditions;
        news = set_condition(conditions, unsatisfied.clone());
        news
    };
    let (namespace, name) = (plan.placement.0.as_str(), plan.placement.1.as_str());
    let said = context
        .client
        .modify_status::<Placement>(namespace, name, say)
        .await;
    gone_is_fine(said)?;
    if news {
        context.events.record(Note {
            about: About::new::<Placement>(namespace, name, &plan.uid),
            warning: true,
            reason: "DecisionsNotWritten",
            message,
        });
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
                // Labels of others stay: GitOps tools select by them.
                let own = decision.metadata.labels.get_or_insert_default();
                own.extend(labels.clone());
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
