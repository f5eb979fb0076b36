//! One evaluation: filters, scores, choice.

use std::cmp::Reverse;

use jiff::Timestamp;

use super::{
    AddOnScore, Cluster, Policy, Refusal, Weighted,
    filter::{Held, Tolerance, tolerance},
    score::score,
};

/// What an evaluation needs beyond the clusters themselves.
pub trait Facts {
    /// Whether the decisions of this placement name `cluster` now.
    fn held(&self, cluster: &str) -> bool;
    /// Decisions of *other* placements that name `cluster`.
    fn load(&self, cluster: &str) -> u32;
    /// The highest load of any cluster, candidate or not.
    fn max_load(&self) -> u32;
    fn add_on_score(&self, cluster: &str, resource: &str, score: &str) -> Option<AddOnScore>;
}

impl<F: Facts> Facts for &F {
    fn held(&self, cluster: &str) -> bool {
        (**self).held(cluster)
    }

    fn load(&self, cluster: &str) -> u32 {
        (**self).load(cluster)
    }

    fn max_load(&self) -> u32 {
        (**self).max_load()
    }

    fn add_on_score(&self, cluster: &str, resource: &str, score: &str) -> Option<AddOnScore> {
        (**self).add_on_score(cluster, resource, score)
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No predicate matches.
    NoPredicateMatches,
    /// The taint at this index of the cluster is not tolerated.
    TaintNotTolerated {
        taint: usize,
        why: Refusal,
    },
    /// Feasible, but better ones were enough; ranks count from 0.
    NotNeeded {
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
    /// Best first: by score, then by name.
    pub ranking: Vec<Ranked>,
    pub scored: Vec<Scored>,
    /// How many of the ranking are selected.
    pub selected: usize,
    /// How many more the placement asked for.
    pub unscheduled: usize,
    /// When the answer changes although no input does: a toleration of a selected cluster ends.
    pub recheck_at: Option<Timestamp>,
}

impl<'a> Evaluation<'a> {
    /// The selected clusters, best first.
    pub fn selection(&self) -> impl Iterator<Item = &'a Cluster> + '_ {
        self.ranking[..self.selected]
            .iter()
            .map(|ranked| self.candidates[ranked.candidate])
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

/// Evaluates `policy` on a snapshot.
pub fn evaluate<'a, F: Facts>(policy: &Policy, snapshot: Snapshot<'a, F>) -> Evaluation<'a> {
    let Snapshot {
        mut candidates,
        facts,
        now,
    } = snapshot;
    candidates.sort_unstable_by(|a, b| a.name.cmp(&b.name));

    let mut verdicts = Vec::with_capacity(candidates.len());
    let mut feasible: Vec<usize> = Vec::new();
    let mut tolerated_until: Vec<Option<Timestamp>> = vec![None; candidates.len()];
    for (index, cluster) in candidates.iter().enumerate() {
        let verdict = if policy.admits(cluster) {
            let held = if !cluster.taints.is_empty() && facts.held(&cluster.name) {
                Held::Yes
            } else {
                Held::No
            };
            match tolerance(cluster, &policy.tolerations, held, now) {
                Tolerance::Refused { taint, why } => Verdict::TaintNotTolerated { taint, why },
                tolerated => {
                    if let Tolerance::Until(until) = tolerated {
                        tolerated_until[index] = Some(until);
                    }
                    feasible.push(index);
                    Verdict::NotNeeded { rank: 0 }
                }
            }
        } else {
            Verdict::NoPredicateMatches
        };
        verdicts.push(verdict);
    }

    let (mut ranking, scored) = rank(policy, &candidates, &feasible, &facts, now);
    // Candidates are in name order and the sort is stable: ties go to the first name.
    ranking.sort_by_key(|ranked| Reverse(ranked.score));

    let wanted = policy.clusters.unwrap_or(ranking.len());
    let selected = wanted.min(ranking.len());
    let mut recheck_at: Option<Timestamp> = None;
    for (rank, ranked) in ranking.iter().enumerate() {
        verdicts[ranked.candidate] = if rank < selected {
            if let Some(until) = tolerated_until[ranked.candidate] {
                recheck_at = Some(recheck_at.map_or(until, |earliest| earliest.min(until)));
            }
            Verdict::Selected { rank }
        } else {
            Verdict::NotNeeded { rank }
        };
    }
    Evaluation {
        candidates,
        verdicts,
        ranking,
        scored,
        selected,
        unscheduled: wanted - selected,
        recheck_at,
    }
}

/// Sums the weighted scores of the feasible candidates; the result is in candidate order.
fn rank<F: Facts>(
    policy: &Policy,
    candidates: &[&Cluster],
    feasible: &[usize],
    facts: &F,
    now: Timestamp,
) -> (Vec<Ranked>, Vec<Scored>) {
    let clusters: Vec<&Cluster> = feasible.iter().map(|index| candidates[*index]).collect();
    let mut ranking: Vec<Ranked> = feasible
        .iter()
        .map(|&candidate| Ranked {
            candidate,
            score: 0,
        })
        .collect();
    let mut scored = Vec::with_capacity(policy.prioritizers.len());
    for weighted in &policy.prioritizers {
        let scores = score(&weighted.prioritizer, &clusters, facts, now);
        for (ranked, value) in ranking.iter_mut().zip(&scores.values) {
            ranked.score += weighted.weight * value.unwrap_or(0);
        }
        scored.push(Scored {
            weighted: weighted.clone(),
            scores: feasible.iter().copied().zip(scores.values).collect(),
            expired: scores
                .expired
                .into_iter()
                .map(|index| feasible[index])
                .collect(),
        });
    }
    (ranking, scored)
}
