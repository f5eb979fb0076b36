//! An evaluation in words and numbers (P14).

use super::{
    Cluster, Evaluation, Policy, Refusal, Verdict,
    filter::{Predicate, Unmet},
};

/// Why each candidate was or was not chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// By cluster name.
    pub clusters: Vec<ClusterExplanation>,
}

/// The verdict on one candidate and the scores it was ranked by.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterExplanation {
    pub cluster: String,
    pub selected: bool,
    pub reason: String,
    /// Position among the feasible candidates, from 1.
    pub rank: Option<usize>,
    pub total: Option<i64>,
    pub scores: Vec<ScoreExplanation>,
}

/// One prioritizer's part in a total.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreExplanation {
    pub prioritizer: String,
    /// `None` where the prioritizer has no data for the cluster.
    pub raw: Option<i64>,
    pub weight: i64,
    pub weighted: i64,
}

impl Evaluation<'_> {
    /// Renders what [`super::evaluate`] recorded; `policy` is the one it was called with.
    #[must_use]
    pub fn explain(&self, policy: &Policy) -> Explanation {
        let clusters = self.candidates.iter().zip(&self.verdicts).enumerate();
        Explanation {
            clusters: clusters
                .map(|(index, (c, v))| self.explain_one(policy, index, c, *v))
                .collect(),
        }
    }

    fn explain_one(
        &self,
        policy: &Policy,
        index: usize,
        cluster: &Cluster,
        verdict: Verdict,
    ) -> ClusterExplanation {
        let mut explanation = ClusterExplanation {
            cluster: cluster.name.clone(),
            selected: false,
            reason: String::new(),
            rank: None,
            total: None,
            scores: Vec::new(),
        };
        match verdict {
            Verdict::NoPredicateMatches => {
                explanation.reason = mismatch(&policy.predicates, cluster)
            }
            Verdict::TaintNotTolerated { taint, why } => {
                explanation.reason = refusal(cluster, taint, why)
            }
            Verdict::Selected { rank } => {
                explanation.selected = true;
                explanation.reason = format!("ranked {} of {}", rank + 1, self.ranking.len());
                explanation.rank = Some(rank);
            }
            Verdict::NotNeeded { rank } => {
                explanation.reason = format!(
                    "ranked {} of {}, {} wanted",
                    rank + 1,
                    self.ranking.len(),
                    self.selected
                );
                explanation.rank = Some(rank);
            }
        }
        if let Some(rank) = explanation.rank.as_mut() {
            explanation.total = Some(self.ranking[*rank].score);
            *rank += 1;
            explanation.scores = self.scores_of(index);
        }
        explanation
    }

    fn scores_of(&self, candidate: usize) -> Vec<ScoreExplanation> {
        let of = |scored: &super::evaluate::Scored| {
            let at = scored
                .scores
                .binary_search_by_key(&candidate, |(index, _)| *index)
                .ok()?;
            let raw = scored.scores[at].1;
            Some(ScoreExplanation {
                prioritizer: scored.weighted.prioritizer.name(),
                raw,
                weight: scored.weighted.weight,
                weighted: scored.weighted.weight * raw.unwrap_or(0),
            })
        };
        self.scored.iter().filter_map(of).collect()
    }
}

fn mismatch(predicates: &[Predicate], cluster: &Cluster) -> String {
    let unmet = predicates
        .iter()
        .filter_map(|predicate| predicate.unmet(cluster));
    let each: Vec<String> = unmet
        .map(|unmet| match unmet {
            Unmet::Label(requirement) => format!("label {requirement}"),
            Unmet::Claim(requirement) => format!("claim {requirement}"),
        })
        .collect();
    format!("no predicate matches: {}", each.join("; "))
}

fn refusal(cluster: &Cluster, taint: usize, why: Refusal) -> String {
    let taint = &cluster.taints[taint];
    let named = format!("{}={}:{:?}", taint.key, taint.value, taint.effect);
    match why {
        Refusal::NotTolerated => format!("taint {named} is not tolerated"),
        Refusal::Expired => {
            format!("taint {named} is no longer tolerated: tolerationSeconds have passed")
        }
    }
}
