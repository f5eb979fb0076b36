//! One evaluation: filters, scores, choice.

use std::cmp::Reverse;

use jiff::Timestamp;

use super::{
    AddOnScore, Amounts, Cluster, Lacking, Misconfigured, Policy, Refusal, Weighted,
    expression::{Budget, Outcome},
    filter::{Held, Tolerance, tolerance},
    pack::in_all,
    score::score,
    spread,
};
use crate::cel::{EvaluationError, Program};

/// What an evaluation needs beyond the clusters themselves.
pub trait Facts {
    /// Whether the decisions of this placement name `cluster` now.
    fn held(&self, cluster: &Cluster) -> bool;
    /// Decisions of *other* placements that name `cluster`.
    fn load(&self, cluster: &Cluster) -> u32;
    /// The highest load of any cluster, candidate or not.
    fn max_load(&self) -> u32;
    fn add_on_score(&self, cluster: &Cluster, resource: &str, score: &str) -> Option<AddOnScore>;
    /// Whether an expression holds on a cluster: [`super::expression::test`], or what is remembered of it.
    fn condition(&self, cluster: &Cluster, expression: &Program) -> Outcome;
    /// What other packing placements have reserved on a cluster; asked only for placements that pack.
    fn reserved(&self, cluster: &Cluster) -> Amounts;
}

impl<F: Facts> Facts for &F {
    fn held(&self, cluster: &Cluster) -> bool {
        (**self).held(cluster)
    }

    fn load(&self, cluster: &Cluster) -> u32 {
        (**self).load(cluster)
    }

    fn max_load(&self) -> u32 {
        (**self).max_load()
    }

    fn add_on_score(&self, cluster: &Cluster, resource: &str, score: &str) -> Option<AddOnScore> {
        (**self).add_on_score(cluster, resource, score)
    }

    fn condition(&self, cluster: &Cluster, expression: &Program) -> Outcome {
        (**self).condition(cluster, expression)
    }

    fn reserved(&self, cluster: &Cluster) -> Amounts {
        (**self).reserved(cluster)
    }
}

/// The input of an evaluation.
#[derive(Debug)]
pub struct Snapshot<'a, F> {
    /// The members of the bound cluster sets, each once; their order does not matter.
    pub candidates: Vec<&'a Cluster>,
    pub facts: F,
    pub now: Timestamp,
}

/// What became of one candidate.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// No predicate matches; if expressions had no value here, the first reason.
    NoPredicateMatches {
        error: Option<Box<EvaluationError>>,
    },
    /// The taint at this index of the cluster is not tolerated.
    TaintNotTolerated {
        taint: usize,
        why: Refusal,
    },
    /// The cluster has not enough free for what the workload requests.
    DoesNotFit(Box<Lacking>),
    /// Feasible, but better ones were enough; ranks count from 0.
    NotNeeded {
        rank: usize,
    },
    /// Feasible, and some that rank behind it are selected: they keep better to the spread constraints.
    PassedOver {
        rank: usize,
    },
    /// Feasible, but a spread constraint does not allow one like it, or one more.
    Spread {
        rank: usize,
    },
    Selected {
        rank: usize,
    },
}

/// A feasible candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// Index into [`Evaluation::candidates`].
    pub candidate: usize,
    pub score: i64,
    /// `PreferNoSelect` taints that are not tolerated: those with fewer rank before all with more.
    pub avoided: usize,
}

/// One prioritizer's scores for the feasible candidates, in candidate order.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    pub weighted: Weighted,
    /// `(candidate, score)`; `None` where the prioritizer has no data, which counts as 0.
    pub scores: Vec<(usize, Option<i64>)>,
    /// Candidates whose add-on score had expired.
    pub expired: Vec<usize>,
}

/// What was decided, with all numbers that were used.
#[derive(Clone, Debug)]
pub struct Evaluation<'a> {
    /// By name.
    pub candidates: Vec<&'a Cluster>,
    /// One per candidate.
    pub verdicts: Vec<Verdict>,
    /// Best first: by taints to avoid, then by score, then by name.
    pub ranking: Vec<Ranked>,
    pub scored: Vec<Scored>,
    /// Positions in the ranking of those that are selected, in the order of their choice: the first of all, unless
    /// spread constraints say otherwise.
    pub picks: Vec<usize>,
    pub selected: usize,
    /// How many more the placement asked for.
    pub unscheduled: usize,
    /// When the answer may change although no input does: a toleration or a score of a feasible cluster expires.
    pub recheck_at: Option<Timestamp>,
    /// The moment for which it is true.
    pub now: Timestamp,
    /// The expressions cost more than a placement may spend: what was not looked at does not match here, and a decision
    /// is not made of it.
    pub overrun: Option<Misconfigured>,
}

impl<'a> Evaluation<'a> {
    /// The selected clusters, best first.
    pub fn selection(&self) -> impl Iterator<Item = &'a Cluster> + '_ {
        self.picks
            .iter()
            .map(|position| self.candidates[self.ranking[*position].candidate])
    }

    /// Add-on scores that had expired, as `(prioritizer, cluster)`.
    pub fn expired(&self) -> impl Iterator<Item = (&Weighted, &'a Cluster)> + '_ {
        self.scored.iter().flat_map(|scored| {
            scored
                .expired
                .iter()
                .map(|index| (&scored.weighted, self.candidates[*index]))
        })
    }
}

/// Keeps the earliest of the moments at which something expires.
#[derive(Default)]
pub(super) struct Earliest(Option<Timestamp>);

impl Earliest {
    pub(super) fn at(&self) -> Option<Timestamp> {
        self.0
    }

    pub(super) fn add(&mut self, at: Timestamp) {
        self.0 = Some(self.0.map_or(at, |earliest| earliest.min(at)));
    }
}

/// A candidate that passed the filters.
struct Feasible {
    candidate: usize,
    avoided: usize,
}

/// Evaluates `policy` on a snapshot.
pub fn evaluate<'a, F: Facts>(policy: &Policy, snapshot: Snapshot<'a, F>) -> Evaluation<'a> {
    let Snapshot {
        mut candidates,
        facts,
        now,
    } = snapshot;
    if !candidates.is_sorted_by(|a, b| a.name <= b.name) {
        candidates.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }
    let mut expiry = Earliest::default();
    let mut filter = Filter {
        policy,
        facts: &facts,
        now,
        budget: Budget::default(),
    };
    let mut verdicts = Vec::with_capacity(candidates.len());
    let mut feasible: Vec<Feasible> = Vec::new();
    for (candidate, cluster) in candidates.iter().enumerate() {
        match filter.pass(cluster, &mut expiry) {
            Ok(avoided) => {
                feasible.push(Feasible { candidate, avoided });
                verdicts.push(Verdict::NotNeeded { rank: 0 });
            }
            Err(verdict) => verdicts.push(verdict),
        }
    }

    let (mut ranking, scored) = rank(policy, &candidates, &feasible, &facts, now, &mut expiry);
    // Candidates are in name order and the sort is stable: ties go to the first name.
    ranking.sort_by_key(|ranked| (ranked.avoided, Reverse(ranked.score)));

    let wanted = policy.clusters.unwrap_or(ranking.len());
    let picks: Vec<usize> = if policy.spread.is_empty() {
        (0..wanted.min(ranking.len())).collect()
    } else {
        spread::choose(&policy.spread, ranking.len(), wanted, |spread, at| {
            spread.domain(candidates[ranking[at].candidate])
        })
    };
    let left_out = picks.len() < wanted;
    let last = picks.iter().max().copied().unwrap_or(0);
    for (rank, ranked) in ranking.iter().enumerate() {
        let nowhere = || policy.nowhere(candidates[ranked.candidate]).is_some();
        verdicts[ranked.candidate] = if left_out || nowhere() {
            Verdict::Spread { rank }
        } else if rank < last {
            Verdict::PassedOver { rank }
        } else {
            Verdict::NotNeeded { rank }
        };
    }
    for &rank in &picks {
        verdicts[ranking[rank].candidate] = Verdict::Selected { rank };
    }
    let selected = picks.len();
    Evaluation {
        candidates,
        verdicts,
        ranking,
        scored,
        picks,
        selected,
        // Without a number nobody is missed: all that may be chosen are.
        unscheduled: policy.clusters.map_or(0, |wanted| wanted - selected),
        recheck_at: expiry.0,
        now,
        overrun: filter.budget.overrun(),
    }
}

/// The filters, and what is left of the budget for expressions.
struct Filter<'p, F> {
    policy: &'p Policy,
    facts: &'p F,
    now: Timestamp,
    budget: Budget,
}

impl<F: Facts> Filter<'_, F> {
    /// How many taints speak against a cluster that passes; the verdict on one that does not.
    fn pass(&mut self, cluster: &Cluster, expiry: &mut Earliest) -> Result<usize, Verdict> {
        let facts = self.facts;
        let admitted = self.budget.admits(
            &self.policy.predicates,
            |_, predicate| predicate.selects(cluster),
            |expression| facts.condition(cluster, expression),
        );
        admitted.map_err(|error| Verdict::NoPredicateMatches {
            error: error.map(Box::new),
        })?;
        let held = if !cluster.taints.is_empty() && self.facts.held(cluster) {
            Held::Yes
        } else {
            Held::No
        };
        let avoided = match tolerance(&cluster.taints, &self.policy.tolerations, held, self.now) {
            Tolerance::Refused { taint, why } => {
                return Err(Verdict::TaintNotTolerated { taint, why });
            }
            Tolerance::Granted { until, avoided } => {
                until.into_iter().for_each(|until| expiry.add(until));
                avoided
            }
        };
        // What is there stays: nodes are cordoned for an upgrade, and workloads must not move for that.
        if let Some(packing) = &self.policy.packing
            && !self.facts.held(cluster)
            && let Some(lacking) = packing.lacking(
                |name| cluster.amount(name),
                in_all(&self.facts.reserved(cluster)),
            )
        {
            return Err(Verdict::DoesNotFit(Box::new(lacking)));
        }
        Ok(avoided)
    }
}

/// Sums the weighted scores of the feasible candidates; the result is in candidate order.
fn rank<F: Facts>(
    policy: &Policy,
    candidates: &[&Cluster],
    feasible: &[Feasible],
    facts: &F,
    now: Timestamp,
    expiry: &mut Earliest,
) -> (Vec<Ranked>, Vec<Scored>) {
    let clusters: Vec<&Cluster> = feasible
        .iter()
        .map(|feasible| candidates[feasible.candidate])
        .collect();
    let mut ranking: Vec<Ranked> = feasible
        .iter()
        .map(|feasible| Ranked {
            candidate: feasible.candidate,
            score: 0,
            avoided: feasible.avoided,
        })
        .collect();
    let mut scored = Vec::with_capacity(policy.prioritizers.len());
    for weighted in &policy.prioritizers {
        let scores = score(policy, &weighted.prioritizer, &clusters, facts, now, expiry);
        for (ranked, value) in ranking.iter_mut().zip(&scores.values) {
            ranked.score += weighted.weight * value.unwrap_or(0);
        }
        scored.push(Scored {
            weighted: weighted.clone(),
            scores: feasible
                .iter()
                .map(|feasible| feasible.candidate)
                .zip(scores.values)
                .collect(),
            expired: scores
                .expired
                .into_iter()
                .map(|index| feasible[index].candidate)
                .collect(),
        });
    }
    (ranking, scored)
}
