//! From the index to what is to be written for one placement.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use koinon_api::{
    labels::{condition, reason::placement as reason},
    meta::{Truth, condition as find_condition, new_condition, set_condition},
    placement::{DecisionGroupStatus, PlacementStatus},
};
use koinon_machinery::placement::{
    AddOnScore, Cluster, Evaluation, Facts, GroupPolicy, Load, Misconfigured, Policy, Snapshot,
    evaluate, groups,
};

use super::{
    index::{Decision, Entry, Index, Name},
    layout::count,
};

/// OCM's bound on the scores in an event.
const MAX_EVENT_MESSAGE: usize = 1000;

/// What is to be done for one placement, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) placement: Name,
    pub(super) uid: String,
    pub(super) actions: Vec<Action>,
    /// When to decide again although nothing has changed.
    pub(super) recheck_at: Option<Timestamp>,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Create {
        name: String,
        labels: BTreeMap<String, String>,
    },
    /// Labels and owner of an object that exists.
    Adopt {
        name: String,
        labels: BTreeMap<String, String>,
    },
    Decide {
        name: String,
        clusters: Vec<String>,
    },
    Remove {
        name: String,
        uid: String,
    },
    Status(PlacementStatus),
    Event {
        warning: bool,
        reason: &'static str,
        message: String,
    },
}

/// Conditions and counts that a placement should show.
struct Outcome {
    groups: Vec<DecisionGroupStatus>,
    selected: usize,
    satisfied: Option<Condition>,
    misconfigured: Condition,
}

impl Index {
    /// Decides one placement; `None` when there is nothing to be done for it.
    pub(super) fn decide(&mut self, name: &Name, now: Timestamp) -> Option<Plan> {
        let entry = self.placements.get(name)?.clone();
        if entry.untouched {
            return None;
        }
        let bound = self.bound_sets(&name.0);
        let eligible: Vec<String> = match entry.cluster_sets.as_slice() {
            [] => bound.clone(),
            wanted => bound
                .iter()
                .filter(|set| wanted.contains(set))
                .cloned()
                .collect(),
        };
        let candidates = self.candidates(&eligible);
        let no_clusters = if bound.is_empty() {
            Some((
                reason::NO_BINDINGS,
                "No valid ManagedClusterSetBindings found in placement namespace".to_owned(),
            ))
        } else if eligible.is_empty() {
            let sets = entry.cluster_sets.join(",");
            Some((
                reason::NO_INTERSECTION,
                format!("None of ManagedClusterSets [{sets}] is bound to placement namespace"),
            ))
        } else if candidates.is_empty() {
            let sets = eligible.join(",");
            Some((
                reason::ALL_SETS_EMPTY,
                format!("All ManagedClusterSets [{sets}] have no member ManagedCluster"),
            ))
        } else {
            None
        };
        let mut plan = Plan {
            placement: name.clone(),
            uid: entry.uid.clone(),
            actions: Vec::new(),
            recheck_at: None,
        };
        let outcome = match (no_clusters, entry.policy.as_ref()) {
            (Some((reason, message)), policy) => {
                let groups = groups(&GroupPolicy::default(), []);
                let satisfied = new_condition(
                    condition::PLACEMENT_SATISFIED,
                    Truth::False,
                    reason,
                    message,
                    now,
                );

                Outcome {
                    selected: 0,
                    satisfied: Some(satisfied),
                    misconfigured: misconfigured(policy.as_ref().err(), now),
                    groups: self.lay_out(&mut plan, &groups, ""),
                }
            }
            (None, Ok(policy)) => {
                let clusters: Vec<&Cluster> = candidates.iter().map(AsRef::as_ref).collect();
                self.schedule(&mut plan, policy, clusters, now)
            }
            (None, Err(error)) => {
                let clusters: BTreeSet<&str> = candidates
                    .iter()
                    .map(|cluster| cluster.name.as_str())
                    .collect();
                self.keep(&mut plan, &entry, error, &clusters, now)
            }
        };
        let mut status = entry.status.clone();
        if outcome.apply(&mut status) {
            plan.actions.push(Action::Status(status));
        }
        Some(plan)
    }

    /// The ordinary case: evaluates the policy.
    fn schedule(
        &mut self,
        plan: &mut Plan,
        policy: &Policy,
        candidates: Vec<&Cluster>,
        now: Timestamp,
    ) -> Outcome {
        let held: BTreeSet<String> = self.held(&plan.placement);
        let own: Vec<String> = self
            .own(&plan.placement)
            .flat_map(Decision::clusters)
            .map(str::to_owned)
            .collect();
        // Balance looks at the decisions of others only.
        let mut load = std::mem::take(&mut self.load);
        load.remove(own.iter().map(String::as_str));
        let facts = View {
            held: &held,
            load: &load,
            index: self,
        };
        let evaluation = evaluate(
            policy,
            Snapshot {
                candidates,
                facts,
                now,
            },
        );
        let groups = groups(&policy.groups, evaluation.selection());
        load.add(own.iter().map(String::as_str));
        self.load = load;

        plan.recheck_at = evaluation.recheck_at;
        let scores = if held.len() == evaluation.selected
            && evaluation.selection().all(|one| held.contains(&one.name))
        {
            String::new()
        } else {
            scores(&evaluation)
        };
        let layout = self.lay_out(plan, &groups, &scores);
        if let Some((weighted, cluster)) = evaluation.expired().next() {
            let message = format!(
                "score {} of cluster {} expired",
                weighted.prioritizer.name(),
                cluster.name
            );
            tracing::debug!(placement = %plan.placement.1, message);
        }
        let (truth, reason, message) = match (evaluation.selected, evaluation.unscheduled) {
            (0, _) => (
                Truth::False,
                reason::NO_CLUSTER_MATCHED,
                "No ManagedCluster matches any of the cluster predicate".to_owned(),
            ),
            (_, 0) => (
                Truth::True,
                reason::ALL_SCHEDULED,
                "All cluster decisions scheduled".to_owned(),
            ),
            (_, n) => (
                Truth::False,
                reason::NOT_ALL_SCHEDULED,
                format!("{n} cluster decisions unscheduled"),
            ),
        };
        Outcome {
            groups: layout,
            selected: evaluation.selected,
            satisfied: Some(new_condition(
                condition::PLACEMENT_SATISFIED,
                truth,
                reason,
                message,
                now,
            )),
            misconfigured: misconfigured(None, now),
        }
    }

    /// A spec that cannot be evaluated keeps its decisions, as far as those clusters may still be chosen.
    fn keep(
        &self,
        plan: &mut Plan,
        entry: &Entry,
        error: &Misconfigured,
        candidates: &BTreeSet<&str>,
        now: Timestamp,
    ) -> Outcome {
        let mut groups = entry.status.decision_groups.clone();
        let mut selected = 0;
        for name in self.of_placement.get(&plan.placement).into_iter().flatten() {
            let key = (plan.placement.0.clone(), name.clone());
            let Some(decision) = self.decisions.get(&key) else {
                continue;
            };
            let had = decision.clusters().count();
            let kept: Vec<String> = decision
                .clusters()
                .filter(|cluster| candidates.contains(cluster))
                .map(str::to_owned)
                .collect();
            selected += kept.len();
            if kept.len() < had {
                if let Some(group) = groups
                    .iter_mut()
                    .find(|group| group.decisions.contains(name))
                {
                    group.clusters_count -= count(had - kept.len());
                }
                plan.actions.push(Action::Decide {
                    name: name.clone(),
                    clusters: kept,
                });
            }
        }
        let known =
            find_condition(&entry.status.conditions, condition::PLACEMENT_SATISFIED).is_some();
        let satisfied = (selected == 0 || !known).then(|| {
            let message = "No ManagedCluster matches any of the cluster predicate";
            new_condition(
                condition::PLACEMENT_SATISFIED,
                Truth::False,
                reason::NO_CLUSTER_MATCHED,
                message,
                now,
            )
        });
        Outcome {
            groups,
            selected,
            satisfied,
            misconfigured: misconfigured(Some(error), now),
        }
    }

    fn own(&self, placement: &Name) -> impl Iterator<Item = &Decision> {
        let names = self.of_placement.get(placement).into_iter().flatten();
        names.filter_map(|name| self.decisions.get(&(placement.0.clone(), name.clone())))
    }

    fn held(&self, placement: &Name) -> BTreeSet<String> {
        self.own(placement)
            .flat_map(Decision::clusters)
            .map(str::to_owned)
            .collect()
    }
}

impl Outcome {
    /// Writes the outcome into `status`; says whether that changed it.
    fn apply(self, status: &mut PlacementStatus) -> bool {
        let before = status.clone();
        status.number_of_selected_clusters = count(self.selected);
        status.decision_groups = self.groups;
        for condition in self.satisfied.into_iter().chain([self.misconfigured]) {
            set_condition(&mut status.conditions, condition);
        }
        *status != before
    }
}

/// The facts of one placement's evaluation.
struct View<'a> {
    held: &'a BTreeSet<String>,
    load: &'a Load,
    index: &'a Index,
}

impl Facts for View<'_> {
    fn held(&self, cluster: &str) -> bool {
        self.held.contains(cluster)
    }

    fn load(&self, cluster: &str) -> u32 {
        self.load.count(cluster)
    }

    fn max_load(&self) -> u32 {
        self.load.max()
    }

    fn add_on_score(&self, cluster: &str, resource: &str, score: &str) -> Option<AddOnScore> {
        self.index.add_on_score(cluster, resource, score)
    }
}

fn misconfigured(error: Option<&Misconfigured>, now: Timestamp) -> Condition {
    let (truth, reason, message) = match error {
        Some(error) => (Truth::True, reason::MISCONFIGURED, error.to_string()),
        None => (
            Truth::False,
            reason::SUCCEED_CONFIGURED,
            "Placement configurations check pass".to_owned(),
        ),
    };
    new_condition(
        condition::PLACEMENT_MISCONFIGURED,
        truth,
        reason,
        message,
        now,
    )
}

fn scores(evaluation: &Evaluation<'_>) -> String {
    let mut text = String::new();
    for ranked in &evaluation.ranking {
        let one = format!(
            "{}:{} ",
            evaluation.candidates[ranked.candidate].name, ranked.score
        );
        if text.len() + one.len() > MAX_EVENT_MESSAGE {
            text.push_str("......");
            break;
        }
        text.push_str(&one);
    }
    text
}
