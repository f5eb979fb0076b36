//! From the index to what is to be written for one placement.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use koinon_api::{
    labels::{condition, reason::placement as reason},
    meta::{Truth, condition as find_condition, new_condition, set_condition},
    placement::{DecisionGroupStatus, PlacementStatus},
};
use koinon_machinery::{
    cel::Program,
    placement::{
        AddOnScore, Amounts, Cluster, Evaluation, Facts, Group, GroupPolicy, Load, Misconfigured,
        NoClusters, Order, Policy, Predicate, Snapshot, evaluate, expression, groups,
    },
};

use koinon_store::Revision;

use super::{
    index::{Decision, Entry, Index, Name},
    layout::count,
    pool::{Column, Pool},
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
    /// Of the snapshot that the plan was made from.
    pub(super) revision: Revision,
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
        /// One for each cluster, or none.
        scores: Vec<i64>,
        reason: &'static str,
    },
    /// Says on an object that existed from which revision it was decided; new ones are created with it.
    Stamp {
        name: String,
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
    /// When scores changed the decisions, if they do now.
    scored_at: Option<Timestamp>,
}

/// What decision objects show besides names.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// For the event `ScoreUpdate`; empty when who is chosen does not change.
    pub(super) event: String,
    /// By cluster, for decisions that are sorted by score.
    pub(super) scores: BTreeMap<String, i64>,
    /// Why clusters are chosen.
    pub(super) reason: &'static str,
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
            Some(NoClusters::NoBindings)
        } else if eligible.is_empty() {
            Some(NoClusters::NoIntersection(entry.cluster_sets.clone()))
        } else if candidates.is_empty() {
            Some(NoClusters::AllEmpty(eligible))
        } else {
            None
        };
        let mut plan = Plan {
            placement: name.clone(),
            uid: entry.uid.clone(),
            actions: Vec::new(),
            recheck_at: None,
            revision: self.revision,
        };
        let outcome = match (no_clusters, entry.policy.as_ref()) {
            (Some(none), policy) => {
                let groups = groups(&GroupPolicy::default(), Order::Name, []);
                let satisfied = new_condition(
                    condition::PLACEMENT_SATISFIED,
                    Truth::False,
                    none.reason(),
                    none.to_string(),
                    now,
                );

                Outcome {
                    selected: 0,
                    satisfied: Some(satisfied),
                    misconfigured: misconfigured(policy.as_ref().err(), now),
                    groups: self.lay_out(&mut plan, &groups, &Shown::default()),
                    scored_at: None,
                }
            }
            (None, Ok(policy)) => self.schedule(&mut plan, &entry, policy, &candidates, now),
            (None, Err(error)) => {
                let clusters: BTreeSet<&str> = candidates
                    .clusters()
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
        entry: &Entry,
        policy: &Policy,
        pool: &Pool,
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
        let reserved = match policy.packing {
            Some(_) => self.reserved_by_others(&plan.placement),
            None => BTreeMap::new(),
        };
        let facts = View {
            held: &held,
            load: &load,
            reserved: &reserved,
            columns: pool.columns(&policy.predicates),
            index: self,
        };
        let evaluation = evaluate(
            policy,
            Snapshot {
                candidates: pool.clusters().collect(),
                facts,
                now,
            },
        );
        let groups = groups(&policy.groups, policy.order, evaluation.selection());
        load.add(own.iter().map(String::as_str));
        self.load = load;

        plan.recheck_at = evaluation.recheck_at;
        let unchanged = held.len() == evaluation.selected
            && evaluation.selection().all(|one| held.contains(&one.name));
        let shown = Shown {
            event: if unchanged {
                String::new()
            } else {
                scores(&evaluation)
            },
            scores: match policy.order {
                Order::Score => totals(&evaluation),
                Order::Name => BTreeMap::new(),
            },
            reason: match policy.clusters {
                None => "every cluster that qualifies is selected",
                Some(_) => "among the best ranked",
            },
        };
        let (layout, scored_at) = if policy.order == Order::Score && unchanged {
            self.lay_out_scores(plan, entry, policy, &groups, &shown, now)
        } else {
            let scored_at = (policy.order == Order::Score).then_some(now);
            (self.lay_out(plan, &groups, &shown), scored_at)
        };
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
            scored_at,
        }
    }

    /// The same clusters, with scores that may have changed: they are written no more often than the rate limit.
    fn lay_out_scores(
        &self,
        plan: &mut Plan,
        entry: &Entry,
        policy: &Policy,
        groups: &[Group],
        shown: &Shown,
        now: Timestamp,
    ) -> (Vec<DecisionGroupStatus>, Option<Timestamp>) {
        let before = plan.actions.len();
        let layout = self.lay_out(plan, groups, shown);
        if plan.actions.len() == before {
            return (layout, None);
        }
        let last = entry.status.last_score_update_time.as_ref();
        let next = last.and_then(|last| last.0.checked_add(policy.score_rate_limit).ok());
        match next {
            Some(next) if now < next => {
                plan.actions.truncate(before);
                plan.recheck_at = Some(plan.recheck_at.map_or(next, |at| at.min(next)));
                (entry.status.decision_groups.clone(), None)
            }
            _ => (layout, Some(now)),
        }
    }

    /// What the decisions of other packing placements take of each cluster.
    fn reserved_by_others(&self, placement: &Name) -> BTreeMap<String, Amounts> {
        let mut reserved: BTreeMap<String, Amounts> = BTreeMap::new();
        for other in self.packing.iter().filter(|other| *other != placement) {
            let Some(packing) = self.placements.get(other).and_then(Entry::packing) else {
                continue;
            };
            for cluster in self.own(other).flat_map(Decision::clusters) {
                let of_cluster = reserved.entry(cluster.to_owned()).or_default();
                for (resource, amount) in &packing.requests {
                    *of_cluster.entry(resource.clone()).or_default() += amount;
                }
            }
        }
        reserved
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
                    scores: Vec::new(),
                    reason: "kept while the placement is misconfigured",
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
            scored_at: None,
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
        if let Some(at) = self.scored_at {
            status.last_score_update_time = Some(Time(at));
        }
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
    reserved: &'a BTreeMap<String, Amounts>,
    /// What the candidates' labels and claims say to each predicate.
    columns: Vec<Arc<Column>>,
    index: &'a Index,
}

impl Facts for View<'_> {
    fn held(&self, cluster: &Cluster) -> bool {
        !self.held.is_empty() && self.held.contains(&cluster.name)
    }

    fn load(&self, cluster: &Cluster) -> u32 {
        self.load.count_of(cluster)
    }

    fn max_load(&self) -> u32 {
        self.load.max()
    }

    fn add_on_score(&self, cluster: &Cluster, resource: &str, score: &str) -> Option<AddOnScore> {
        self.index.add_on_score(&cluster.name, resource, score)
    }

    fn condition(&self, cluster: &Cluster, expression: &Program) -> expression::Outcome {
        let scores = |name: &str| self.index.scores_of(&cluster.name, name);
        self.index
            .conditions
            .test(&cluster.name, expression, &scores)
    }

    fn reserved(&self, cluster: &Cluster) -> Amounts {
        self.reserved
            .get(&cluster.name)
            .cloned()
            .unwrap_or_default()
    }

    fn selects(&self, position: usize, _: &Cluster, place: usize, _: &Predicate) -> bool {
        self.columns[place].has(position)
    }
}

fn totals(evaluation: &Evaluation<'_>) -> BTreeMap<String, i64> {
    let picked = evaluation
        .picks
        .iter()
        .map(|pick| &evaluation.ranking[*pick]);
    let name = |candidate: usize| evaluation.candidates[candidate].name.clone();
    picked
        .map(|ranked| (name(ranked.candidate), ranked.score))
        .collect()
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
