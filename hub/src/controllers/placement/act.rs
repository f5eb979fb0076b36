//! Carries out what was decided for one placement.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    iter,
};

use futures::{StreamExt as _, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use koinon_api::{
    Placement, PlacementDecision,
    labels::{annotation, condition, reason},
    meta::{Truth, clip, new_condition, set_condition},
    placement::{ClusterDecision, PlacementDecisionStatus, PlacementStatus},
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

/// Carries out the actions of a chain. What they make of a decision object is one write: nobody sees it half done, and
/// the revision that it says it was decided from is that of what it says.
async fn act_on_one(plan: &Plan, chain: Vec<&Action>, context: &Context) -> Result<(), ApiError> {
    let mut edit = Edit::default();
    for action in &chain {
        match action {
            Action::Create { name, labels } => {
                (edit.name, edit.new, edit.labels) = (name, true, Some(labels));
            }
            Action::Adopt { name, labels } => (edit.name, edit.labels) = (name, Some(labels)),
            Action::Decide {
                name,
                clusters,
                scores,
                reason,
            } => {
                edit.name = name;
                edit.status = Some(decided(clusters, scores, reason));
            }
            Action::Remove { name, uid } => remove(plan, name, uid, context).await?,
            Action::Status(new) => write_status(plan, new, context).await?,
            Action::Event { .. } => {}
        }
    }
    if !edit.name.is_empty() {
        edit.write(plan, context).await?;
    }
    for action in chain {
        if let Action::Event {
            warning,
            reason,
            message,
        } = action
        {
            let (namespace, placement) = (&plan.placement.0, &plan.placement.1);
            context.events.record(Note {
                about: About::new::<Placement>(namespace, placement, &plan.uid),
                warning: *warning,
                reason,
                message: message.clone(),
            });
        }
    }
    Ok(())
}

/// What is to be made of a decision object.
#[derive(Default)]
struct Edit<'a> {
    name: &'a str,
    new: bool,
    labels: Option<&'a BTreeMap<String, String>>,
    status: Option<PlacementDecisionStatus>,
}

impl Edit<'_> {
    async fn write(self, plan: &Plan, context: &Context) -> Result<(), ApiError> {
        let Self {
            name,
            new,
            labels,
            status,
        } = self;
        let (client, namespace) = (&context.client, plan.placement.0.as_str());
        if new {
            let metadata = ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                labels: labels.cloned(),
                annotations: Some([stamp(plan)].into()),
                owner_references: Some(vec![owner(plan)]),
                ..ObjectMeta::default()
            };
            let decision = PlacementDecision { metadata, status };
            return client.create_whole(&decision).await;
        }
        let edit = |decision: &mut PlacementDecision| {
            let decides = status.is_some() && decision.status != status;
            if decides {
                decision.status.clone_from(&status);
            }
            if let Some(labels) = labels {
                // Labels of others stay: GitOps tools select by them.
                let own = decision.metadata.labels.get_or_insert_default();
                own.extend(labels.clone());
                let owners = decision.metadata.owner_references.get_or_insert_default();
                owners.retain(|owner| owner.controller != Some(true));
                owners.push(owner(plan));
            }
            let changes = decides || labels.is_some();
            if changes {
                let annotations = decision.metadata.annotations.get_or_insert_default();
                annotations.extend([stamp(plan)]);
            }
            changes
        };
        client
            .modify_whole::<PlacementDecision>(namespace, name, edit)
            .await
    }
}

fn decided(clusters: &[String], scores: &[i64], reason: &str) -> PlacementDecisionStatus {
    let scores = scores.iter().copied().chain(iter::repeat(0));
    let decisions = clusters.iter().zip(scores);
    let decisions = decisions.map(|(cluster, score)| ClusterDecision {
        cluster_name: cluster.clone(),
        reason: reason.to_owned(),
        score,
    });
    PlacementDecisionStatus {
        decisions: decisions.collect(),
    }
}

async fn remove(plan: &Plan, name: &str, uid: &str, context: &Context) -> Result<(), ApiError> {
    let preconditions = Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    };
    let namespace = plan.placement.0.as_str();
    gone_is_fine(
        context
            .client
            .delete::<PlacementDecision>(namespace, name, preconditions)
            .await,
    )
}

async fn write_status(
    plan: &Plan,
    new: &PlacementStatus,
    context: &Context,
) -> Result<(), ApiError> {
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
    let (namespace, name) = (plan.placement.0.as_str(), plan.placement.1.as_str());
    let written = context
        .client
        .modify_status::<Placement>(namespace, name, update)
        .await;
    gone_is_fine(written)
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
            Action::Create { name, .. } | Action::Adopt { name, .. } => {
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
