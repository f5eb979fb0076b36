//! Decision objects: how groups are spread over them, and what of it is to be written.

use std::collections::{BTreeMap, BTreeSet};

use koinon_api::{labels::label, placement::DecisionGroupStatus};
use koinon_machinery::placement::{Group, Shard, shards};

use super::{
    decide::{Action, Plan, Shown},
    index::{Decision, Index, Name},
};

impl Index {
    /// Brings the decision objects to `groups`; returns what the placement's status says of them.
    pub(super) fn lay_out(
        &self,
        plan: &mut Plan,
        groups: &[Group],
        shown: &Shown,
    ) -> Vec<DecisionGroupStatus> {
        let mut status: Vec<DecisionGroupStatus> = groups
            .iter()
            .enumerate()
            .map(|(index, group)| DecisionGroupStatus {
                decision_group_index: count(index),
                decision_group_name: group.name.clone(),
                decisions: Vec::new(),
                clusters_count: count(group.clusters.len()),
            })
            .collect();
        let chosen: BTreeSet<&str> = groups
            .iter()
            .flat_map(|group| &group.clusters)
            .map(String::as_str)
            .collect();
        let mut wanted = BTreeSet::new();
        let mut narrow = Vec::new();
        for shard in shards(groups) {
            let name = object_name(plan, &shard);
            status[shard.group].decisions.push(name.clone());
            wanted.insert(name.clone());
            narrow.extend(self.lay_out_one(plan, name, shard, &chosen, shown));
        }
        plan.actions.extend(narrow);
        let redundant: Vec<Action> = self
            .of_placement
            .get(&plan.placement)
            .into_iter()
            .flatten()
            .filter(|name| !wanted.contains(*name))
            .filter_map(|name| {
                let decision = self
                    .decisions
                    .get(&(plan.placement.0.clone(), name.clone()))?;
                Some(Action::Remove {
                    name: name.clone(),
                    uid: decision.uid.clone(),
                })
            })
            .collect();
        for action in redundant {
            if let Action::Remove { name, .. } = &action {
                let event = event(plan, "DecisionDelete", name, "deleted");
                plan.actions.extend([action, event]);
            }
        }
        status
    }

    /// Whether the objects are as they should be but for scores and for the order that those make: the same objects of
    /// the same sizes, and the same clusters under each group's name.
    pub(super) fn only_scores_differ(&self, plan: &Plan, groups: &[Group]) -> bool {
        let shards = shards(groups);
        let existing = self.of_placement.get(&plan.placement);
        let (mut are, mut should) = (BTreeSet::new(), BTreeSet::new());
        let alike = shards.iter().all(|shard| {
            let key = (plan.placement.0.clone(), object_name(plan, shard));
            let Some(decision) = self.decisions.get(&key) else {
                return false;
            };
            let group = shard.group_name.as_str();
            are.extend(decision.clusters().map(|cluster| (group, cluster)));
            should.extend(shard.clusters.iter().map(|one| (group, one.as_str())));
            decision.clusters().count() == shard.clusters.len()
                && decision.owner.as_ref() == Some(&plan.uid)
                && labels(plan, shard).iter().all(|own| decision.has(own))
        });
        alike && are == should && existing.map_or(0, BTreeSet::len) == shards.len()
    }

    /// Brings one object to its shard. A cluster that is chosen before and after but moves to another object must
    /// not be in none of them in between: the objects first keep such clusters, and lose them by the write that is
    /// returned, which goes after all the others.
    fn lay_out_one(
        &self,
        plan: &mut Plan,
        name: String,
        shard: Shard,
        chosen: &BTreeSet<&str>,
        shown: &Shown,
    ) -> Option<Action> {
        let labels = labels(plan, &shard);
        let existing = self
            .decisions
            .get(&(plan.placement.0.clone(), name.clone()));
        match existing {
            None => {
                let event = event(plan, "DecisionCreate", &name, "created");
                plan.actions.extend([
                    Action::Create {
                        name: name.clone(),
                        labels,
                    },
                    event,
                ]);
            }
            Some(decision)
                if !labels.iter().all(|own| decision.has(own))
                    || decision.owner.as_ref() != Some(&plan.uid) =>
            {
                plan.actions.push(Action::Adopt {
                    name: name.clone(),
                    labels,
                });
            }
            Some(_) => {}
        }
        let scores = |clusters: &[String]| -> Vec<i64> {
            if shown.scores.is_empty() {
                return Vec::new();
            }
            let score = |cluster| shown.scores.get(cluster).copied().unwrap_or(0);
            let scores: Vec<i64> = clusters.iter().map(score).collect();
            if scores.iter().all(|score| *score == 0) {
                return Vec::new();
            }
            scores
        };
        if existing.is_some_and(|decision| {
            decision.clusters.as_ref() == Some(&shard.clusters)
                && decision.scores == scores(&shard.clusters)
                && (shard.clusters.is_empty() || decision.reason == shown.reason)
        }) {
            return None;
        }
        let moved = existing.into_iter().flat_map(Decision::clusters);
        let moved = moved
            .filter(|one| chosen.contains(one) && !shard.clusters.iter().any(|new| new == one));
        let kept: Vec<String> = shard
            .clusters
            .iter()
            .cloned()
            .chain(moved.map(str::to_owned))
            .collect();
        let reason = shown.reason;
        let narrow = (kept.len() > shard.clusters.len()).then(|| Action::Decide {
            name: name.clone(),
            scores: scores(&shard.clusters),
            clusters: shard.clusters,
            reason,
        });
        let event = event(plan, "DecisionUpdate", &name, "updated");
        plan.actions.extend([
            Action::Decide {
                name,
                scores: scores(&kept),
                clusters: kept,
                reason,
            },
            event,
        ]);
        if !shown.event.is_empty() {
            let message = shown.event.clone();
            plan.actions.push(Action::Event {
                warning: false,
                reason: "ScoreUpdate",
                message,
            });
        }
        narrow
    }

    /// Takes a plan as carried out: the placements decided next must see its decisions.
    pub(super) fn assume(&mut self, plan: &Plan) {
        for action in &plan.actions {
            let key = |name: &str| (plan.placement.0.clone(), name.to_owned());
            match action {
                Action::Create { name, labels } => {
                    let owner = Some(plan.uid.clone());
                    let new = Decision {
                        uid: String::new(),
                        owner,
                        labels: labels.clone(),
                        clusters: None,
                        scores: Vec::new(),
                        reason: "",
                    };
                    self.set_decision(key(name), Some(new));
                }
                Action::Adopt { name, labels } => self.change(key(name), |decision| {
                    decision.labels.extend(labels.clone());
                    decision.owner = Some(plan.uid.clone());
                }),
                Action::Decide {
                    name,
                    clusters,
                    scores,
                    reason,
                } => self.change(key(name), |decision| {
                    decision.clusters = Some(clusters.clone());
                    decision.scores.clone_from(scores);
                    decision.reason = reason;
                }),
                Action::Remove { name, .. } => drop(self.set_decision(key(name), None)),
                Action::Status(status) => {
                    if let Some(entry) = self.placements.get_mut(&plan.placement) {
                        entry.status.clone_from(status);
                    }
                }
                Action::Event { .. } => {}
            }
        }
    }

    fn change(&mut self, name: Name, change: impl FnOnce(&mut Decision)) {
        if let Some(mut decision) = self.decisions.get(&name).cloned() {
            change(&mut decision);
            self.set_decision(name, Some(decision));
        }
    }
}

fn object_name(plan: &Plan, shard: &Shard) -> String {
    format!("{}-decision-{}", plan.placement.1, shard.number)
}

/// The labels that an object must have.
fn labels(plan: &Plan, shard: &Shard) -> BTreeMap<String, String> {
    [
        (label::PLACEMENT.to_owned(), plan.placement.1.clone()),
        (
            label::DECISION_GROUP_NAME.to_owned(),
            shard.group_name.clone(),
        ),
        (
            label::DECISION_GROUP_INDEX.to_owned(),
            shard.group.to_string(),
        ),
    ]
    .into()
}

fn event(plan: &Plan, reason: &'static str, decision: &str, what: &str) -> Action {
    let (namespace, placement) = &plan.placement;
    let message = format!(
        "Decision {decision} is {what} with placement {placement} in namespace {namespace}"
    );
    Action::Event {
        warning: false,
        reason,
        message,
    }
}

pub(super) fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
