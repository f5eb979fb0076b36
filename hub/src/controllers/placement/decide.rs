//! From the index to what is to be written for one placement.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter, slice,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use koinon_api::{
    labels::{condition, reason::placement as reason},
    meta::{Truth, clip, condition as find_condition, new_condition, set_condition},
    placement::{DecisionGroupStatus, PlacementStatus},
};
use koinon_machinery::placement::{
    Ahead, Choice, Decided, Group, Misconfigured, NoClusters, Order, Policy,
};
use koinon_store::Revision;

use super::{
    index::{Entry, Index, Name},
    layout::count,
};

/// Characters of the message of an event.
const MAX_EVENT_MESSAGE: usize = 1000;

/// Why clusters are in a decision, as users read it.
pub(super) mod because {
    pub(in super::super) const EVERY: &str = "every cluster that qualifies is selected";
    pub(in super::super) const BEST: &str = "among the best ranked";
    pub(in super::super) const KEPT: &str = "kept while the placement is misconfigured";
}

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

/// A step. Those of one decision object are written at once, with the revision that it was decided from.
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
    /// A score that does not count any more because it has expired.
    expired: Option<String>,
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
    /// Looks at placements ahead of their turns, on up to so many threads.
    pub(super) fn ahead(&mut self, names: &[Name], now: Timestamp, threads: usize) -> Ahead {
        self.engine.ahead(names, now, &self.conditions, threads)
    }

    /// Decides one placement; `None` when there is nothing to be done for it.
    pub(super) fn decide_with(
        &mut self,
        name: &Name,
        now: Timestamp,
        ahead: &mut Ahead,
    ) -> Option<Plan> {
        let entry = self.placements.get(name)?.clone();
        if entry.untouched {
            return None;
        }
        let decided = self
            .engine
            .decide_with(name, now, &self.conditions, ahead)?;
        let mut plan = Plan {
            placement: name.clone(),
            uid: entry.uid.clone(),
            actions: Vec::new(),
            recheck_at: None,
            revision: self.revision,
        };
        let outcome = match (decided, entry.policy.as_ref()) {
            (Decided::Same, _) => return None,
            (Decided::NoClusters(none), policy) => {
                self.empty(&mut plan, &none, policy.as_ref().err(), now)
            }
            (Decided::Chosen(choice), Ok(policy)) => {
                self.schedule(&mut plan, &entry, policy, *choice, now)
            }
            (Decided::Misconfigured { error, remaining }, _) => {
                self.keep(&mut plan, &entry, &error, &remaining, now)
            }
            // The engine has the policy of the entry.
            (Decided::Chosen(_), Err(_)) => return None,
        };
        self.warn(&mut plan, &entry, &outcome);
        let mut status = entry.status.clone();
        if outcome.apply(&mut status) {
            plan.actions.push(Action::Status(status));
        }
        Some(plan)
    }

    #[cfg(test)]
    pub(super) fn decide(&mut self, name: &Name, now: Timestamp) -> Option<Plan> {
        self.decide_with(name, now, &mut Ahead::default())
    }

    /// Says in events what turned bad: a condition is only seen by those who look.
    fn warn(&mut self, plan: &mut Plan, entry: &Entry, outcome: &Outcome) {
        let shown = &entry.status.conditions;
        for new in outcome.satisfied.iter().chain([&outcome.misconfigured]) {
            let bad = match new.type_.as_str() {
                condition::PLACEMENT_MISCONFIGURED => Truth::True,
                _ => Truth::False,
            };
            let same = |old: &Condition| {
                (&old.status, &old.reason, &old.message) == (&new.status, &new.reason, &new.message)
            };
            if new.status == bad.as_str() && !find_condition(shown, &new.type_).is_some_and(same) {
                plan.actions.push(Action::Event {
                    warning: true,
                    reason: warning_of(&new.reason),
                    message: clip(new.message.clone(), MAX_EVENT_MESSAGE),
                });
            }
        }
        match &outcome.expired {
            Some(message) if self.told_expired.get(&plan.placement) != Some(message) => {
                self.told_expired
                    .insert(plan.placement.clone(), message.clone());
                plan.actions.push(Action::Event {
                    warning: true,
                    reason: "ScoreExpired",
                    message: message.clone(),
                });
            }
            Some(_) => {}
            None => drop(self.told_expired.remove(&plan.placement)),
        }
    }

    /// There is nothing to choose from.
    fn empty(
        &self,
        plan: &mut Plan,
        none: &NoClusters,
        error: Option<&Misconfigured>,
        now: Timestamp,
    ) -> Outcome {
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
            misconfigured: misconfigured(error, now),
            groups: self.lay_out(plan, slice::from_ref(&Group::default()), &Shown::default()),
            scored_at: None,
            expired: None,
        }
    }

    /// The ordinary case.
    fn schedule(
        &self,
        plan: &mut Plan,
        entry: &Entry,
        policy: &Policy,
        choice: Choice,
        now: Timestamp,
    ) -> Outcome {
        let Choice {
            groups,
            selected,
            unscheduled,
            changed,
            scores,
            ranking,
            recheck_at,
            expired,
        } = choice;
        plan.recheck_at = recheck_at;
        let shown = Shown {
            event: ranking,
            scores,
            reason: match policy.clusters {
                None => because::EVERY,
                Some(_) => because::BEST,
            },
        };
        let (layout, scored_at) = if policy.order == Order::Score && !changed {
            self.lay_out_scores(plan, entry, policy, &groups, &shown, now)
        } else {
            let scored_at = (policy.order == Order::Score).then_some(now);
            (self.lay_out(plan, &groups, &shown), scored_at)
        };
        let expired = expired.map(|(prioritizer, cluster)| {
            format!("score {prioritizer} of cluster {cluster} has expired and counts 0")
        });
        let (truth, reason, message) = match (selected, unscheduled) {
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
            selected,
            satisfied: Some(new_condition(
                condition::PLACEMENT_SATISFIED,
                truth,
                reason,
                message,
                now,
            )),
            misconfigured: misconfigured(None, now),
            scored_at,
            expired,
        }
    }

    /// The same clusters, with scores that may have changed: those alone are written no more often than the rate limit.
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
            Some(next) if now < next && self.only_scores_differ(plan, groups) => {
                plan.actions.truncate(before);
                plan.recheck_at = Some(plan.recheck_at.map_or(next, |at| at.min(next)));
                (entry.status.decision_groups.clone(), None)
            }
            _ => (layout, Some(now)),
        }
    }

    /// A spec that cannot be evaluated keeps its decisions, as far as those clusters may still be chosen.
    fn keep(
        &self,
        plan: &mut Plan,
        entry: &Entry,
        error: &Misconfigured,
        remaining: &BTreeSet<String>,
        now: Timestamp,
    ) -> Outcome {
        let mut kept_in = BTreeMap::new();
        for name in self.of_placement.get(&plan.placement).into_iter().flatten() {
            let key = (plan.placement.0.clone(), name.clone());
            let Some(decision) = self.decisions.get(&key) else {
                continue;
            };
            let scores = decision.scores.iter().map(Some).chain(iter::repeat(None));
            let (clusters, scores): (Vec<&str>, Vec<Option<&i64>>) = decision
                .clusters()
                .zip(scores)
                .filter(|(cluster, _)| remaining.contains(*cluster))
                .unzip();
            kept_in.insert(name.as_str(), clusters.len());
            if clusters.len() < decision.clusters().count() {
                plan.actions.push(Action::Decide {
                    name: name.clone(),
                    clusters: clusters.into_iter().map(str::to_owned).collect(),
                    scores: scores.into_iter().flatten().copied().collect(),
                    reason: because::KEPT,
                });
            }
        }
        // An object that somebody deleted cannot be made anew: what it held is written nowhere else.
        let mut groups = entry.status.decision_groups.clone();
        for group in &mut groups {
            let kept = |name: &String| kept_in.get(name.as_str()).copied();
            group.decisions.retain(|name| kept(name).is_some());
            group.clusters_count = count(group.decisions.iter().filter_map(kept).sum());
        }
        let selected = kept_in.values().sum();
        let before = usize::try_from(entry.status.number_of_selected_clusters).unwrap_or(0);
        let satisfied = if selected == 0 {
            let message = "No ManagedCluster matches any of the cluster predicate";
            Some((reason::NO_CLUSTER_MATCHED, message.to_owned()))
        } else {
            let lost = before.saturating_sub(selected);
            let message = format!("{lost} cluster decisions unscheduled");
            (lost > 0).then_some((reason::NOT_ALL_SCHEDULED, message))
        };
        let satisfied = satisfied.map(|(reason, message)| {
            let kind = condition::PLACEMENT_SATISFIED;
            new_condition(kind, Truth::False, reason, message, now)
        });
        Outcome {
            groups,
            selected,
            satisfied,
            misconfigured: misconfigured(Some(error), now),
            scored_at: None,
            expired: None,
        }
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

/// The reason of the event about a condition.
fn warning_of(condition: &str) -> &'static str {
    let known = [
        reason::NO_BINDINGS,
        reason::NO_INTERSECTION,
        reason::ALL_SETS_EMPTY,
        reason::NO_CLUSTER_MATCHED,
        reason::NOT_ALL_SCHEDULED,
    ];
    let found = known.into_iter().find(|known| *known == condition);
    found.unwrap_or(reason::MISCONFIGURED)
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
