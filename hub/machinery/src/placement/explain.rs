//! An evaluation in words and numbers (P14).

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use jiff::Timestamp;
use koinon_api::meta::clip;
use serde::{Deserialize, Serialize};

use super::{
    Amount, Cluster, Evaluation, Facts, Lacking, Policy, Prioritizer, Refusal, Resource, Verdict,
    evaluate::Ranked,
    expression::Budget,
    filter::{Held, Predicate, Tolerance, Unmet, tolerance},
    pack::in_all,
};
use crate::cel::EvaluationError;

/// OCM's names of the steps, and ours for those that OCM does not have.
pub mod step {
    pub const CLUSTER_SETS: &str = "ClusterSets";
    pub const PREDICATE: &str = "Predicate";
    pub const TAINT_TOLERATION: &str = "TaintToleration";
    pub const PACKING: &str = "Packing";
    pub const SPREAD: &str = "Spread";
}

/// Why each candidate was or was not chosen.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// By cluster name.
    pub clusters: Vec<ClusterExplanation>,
    /// When the answer may change although nothing that it looks at does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recheck_at: Option<Timestamp>,
}

/// The verdict on one candidate and the scores it was ranked by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterExplanation {
    pub cluster: String,
    pub selected: bool,
    pub reason: String,
    /// The decision group that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupExplanation>,
    /// The filters in their order. One that counts clusters against each other is not asked after a refusal.
    pub filters: Vec<FilterExplanation>,
    /// Position among the feasible candidates, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// Untolerated `PreferNoSelect` taints; such clusters rank behind all with fewer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub avoided: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<ScoreExplanation>,
}

/// A decision group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupExplanation {
    pub index: usize,
    /// Empty for clusters that no named group took.
    pub name: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// What one filter said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilterExplanation {
    pub name: Cow<'static, str>,
    pub passed: bool,
    /// Why it did not, or how long it does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl FilterExplanation {
    fn new(name: &'static str, refusal: Option<String>) -> Self {
        Self {
            name: name.into(),
            passed: refusal.is_none(),
            reason: refusal.unwrap_or_default(),
        }
    }
}

/// One prioritizer's part in a total.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScoreExplanation {
    pub prioritizer: String,
    /// What was measured: decisions of others, 1 for held, an amount, an add-on's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<f64>,
    /// −100..100; `None` where the prioritizer has no data for the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalized: Option<i64>,
    pub weight: i64,
    pub weighted: i64,
    /// The add-on score is past its `validUntil` and counts 0.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
}

impl Evaluation<'_> {
    /// Renders what [`super::evaluate`] recorded; `policy` and `facts` are those it was called with.
    #[must_use]
    pub fn explain(&self, policy: &Policy, facts: &impl Facts) -> Explanation {
        let clusters = self.candidates.iter().zip(&self.verdicts).enumerate();
        let mut groups = BTreeMap::new();
        for (index, group) in super::groups(&policy.groups, policy.order, self.selection())
            .into_iter()
            .enumerate()
        {
            let in_group = |cluster| (cluster, (index, group.name.clone()));
            groups.extend(group.clusters.into_iter().map(in_group));
        }
        Explanation {
            clusters: clusters
                .map(|(index, (cluster, verdict))| {
                    let mut one = self.explain_one(policy, facts, index, cluster, verdict);
                    let group = groups.remove(&cluster.name);
                    one.group = group.map(|(index, name)| GroupExplanation { index, name });
                    one
                })
                .collect(),
            recheck_at: self.recheck_at,
        }
    }

    fn explain_one(
        &self,
        policy: &Policy,
        facts: &impl Facts,
        index: usize,
        cluster: &Cluster,
        verdict: &Verdict,
    ) -> ClusterExplanation {
        let of = self.ranking.len();
        let (stopped_by, rank, reason) = match verdict {
            Verdict::NoPredicateMatches { error } => {
                let reason = unmet(policy, cluster, error.as_deref().cloned());
                (Some(step::PREDICATE), None, reason)
            }
            Verdict::TaintNotTolerated { taint, why } => {
                let reason = refusal(cluster, *taint, *why);
                (Some(step::TAINT_TOLERATION), None, reason)
            }
            Verdict::DoesNotFit(lacking) => (Some(step::PACKING), None, shortage(lacking)),
            Verdict::Spread { rank } => {
                let reason = match policy.nowhere(cluster) {
                    Some(spread) => format!("it has no {}, to be spread over", spread.topology),
                    None => "one more from its domain would exceed maxSkew".to_owned(),
                };
                (Some(step::SPREAD), Some(*rank), reason)
            }
            Verdict::Selected { rank } => {
                let reason = format!("ranked {} of {of}{}", rank + 1, self.behind(*rank));
                (None, Some(*rank), reason)
            }
            Verdict::PassedOver { rank } => {
                let ranked = format!("ranked {} of {of}, {} wanted", rank + 1, self.selected);
                let reason = format!("{ranked}; others keep better to the spread");
                (None, Some(*rank), reason)
            }
            Verdict::NotNeeded { rank } => {
                let ranked = format!("ranked {} of {of}, {} wanted", rank + 1, self.selected);
                (None, Some(*rank), format!("{ranked}{}", self.behind(*rank)))
            }
        };
        let ranked: Option<&Ranked> = rank.map(|rank| &self.ranking[rank]);
        ClusterExplanation {
            cluster: cluster.name.clone(),
            selected: matches!(verdict, Verdict::Selected { .. }),
            group: None,
            filters: self.filters(policy, facts, cluster, stopped_by, &reason),
            reason,
            rank: rank.map(|rank| rank + 1),
            avoided: ranked.map_or(0, |ranked| ranked.avoided),
            total: ranked.map(|ranked| ranked.score),
            scores: if rank.is_some() {
                self.scores_of(index, cluster, policy, facts)
            } else {
                Vec::new()
            },
        }
    }

    /// What puts a cluster behind others whatever its score, if something does.
    fn behind(&self, rank: usize) -> &'static str {
        match self.ranking[rank].avoided {
            0 => "",
            _ => "; PreferNoSelect taints put it behind all with fewer",
        }
    }

    /// One that is none of the candidates, for a reason: what else speaks against it is said, too.
    #[must_use]
    pub fn outsider(
        &self,
        policy: &Policy,
        facts: &impl Facts,
        cluster: &Cluster,
        why: String,
    ) -> ClusterExplanation {
        let admitted = Budget::default().admits(
            &policy.predicates,
            |_, predicate| predicate.selects(cluster),
            |expression| facts.condition(cluster, expression),
        );
        let unmet = admitted.err().map(|error| unmet(policy, cluster, error));
        let mut filters = vec![
            FilterExplanation::new(step::CLUSTER_SETS, Some(why.clone())),
            FilterExplanation::new(step::PREDICATE, unmet),
            self.tainted(policy, facts, cluster),
        ];
        if policy.packing.is_some() {
            let refusal = crowded(policy, facts, cluster);
            filters.push(FilterExplanation::new(step::PACKING, refusal));
        }
        ClusterExplanation {
            cluster: cluster.name.clone(),
            selected: false,
            reason: why,
            group: None,
            filters,
            rank: None,
            avoided: 0,
            total: None,
            scores: Vec::new(),
        }
    }

    /// The steps that the policy has: also those after the one that stopped the cluster, as far as they look at nothing
    /// but the cluster, so that not one obstacle after the other is found.
    fn filters(
        &self,
        policy: &Policy,
        facts: &impl Facts,
        cluster: &Cluster,
        stopped_by: Option<&str>,
        reason: &str,
    ) -> Vec<FilterExplanation> {
        let steps = [
            (step::PREDICATE, true),
            (step::TAINT_TOLERATION, true),
            (step::PACKING, policy.packing.is_some()),
            (step::SPREAD, !policy.spread.is_empty()),
        ];
        let mut filters = vec![FilterExplanation::new(step::CLUSTER_SETS, None)];
        let mut stopped = false;
        for (name, _) in steps.into_iter().filter(|(_, has)| *has) {
            let refusal = match name {
                _ if stopped_by == Some(name) => {
                    stopped = true;
                    Some(reason.to_owned())
                }
                step::TAINT_TOLERATION => {
                    filters.push(self.tainted(policy, facts, cluster));
                    continue;
                }
                step::PACKING if stopped => crowded(policy, facts, cluster),
                step::SPREAD if stopped => break,
                _ => None,
            };
            filters.push(FilterExplanation::new(name, refusal));
        }
        filters
    }

    /// What the taints of a cluster say: which one speaks against it, or until when all are tolerated.
    fn tainted(&self, policy: &Policy, facts: &impl Facts, cluster: &Cluster) -> FilterExplanation {
        let held = if facts.held(cluster) {
            Held::Yes
        } else {
            Held::No
        };
        match tolerance(&cluster.taints, &policy.tolerations, held, self.now) {
            Tolerance::Refused { taint, why } => {
                let refusal = refusal(cluster, taint, why);
                FilterExplanation::new(step::TAINT_TOLERATION, Some(refusal))
            }
            Tolerance::Granted { until, .. } => FilterExplanation {
                reason: until.map_or(String::new(), |until| format!("tolerated until {until}")),
                ..FilterExplanation::new(step::TAINT_TOLERATION, None)
            },
        }
    }

    fn scores_of(
        &self,
        candidate: usize,
        cluster: &Cluster,
        policy: &Policy,
        facts: &impl Facts,
    ) -> Vec<ScoreExplanation> {
        let of = |scored: &super::evaluate::Scored| {
            let at = scored
                .scores
                .binary_search_by_key(&candidate, |(index, _)| *index)
                .ok()?;
            let normalized = scored.scores[at].1;
            Some(ScoreExplanation {
                prioritizer: scored.weighted.prioritizer.name(),
                raw: measured(&scored.weighted.prioritizer, cluster, policy, facts),
                normalized,
                weight: scored.weighted.weight,
                weighted: scored.weighted.weight * normalized.unwrap_or(0),
                expired: scored.expired.contains(&candidate),
            })
        };
        self.scored.iter().filter_map(of).collect()
    }

    /// OCM's debug answer: what passed each filter, each prioritizer's scores, the totals.
    #[must_use]
    pub fn debug(&self) -> serde_json::Value {
        let passed = |filter: fn(&Verdict) -> bool| -> Vec<&str> {
            let all = self.candidates.iter().zip(&self.verdicts);
            all.filter(|(_, verdict)| filter(verdict))
                .map(|(cluster, _)| cluster.name.as_str())
                .collect()
        };
        let predicate = passed(|verdict| !matches!(verdict, Verdict::NoPredicateMatches { .. }));
        let taints = passed(|verdict| {
            !matches!(
                verdict,
                Verdict::NoPredicateMatches { .. } | Verdict::TaintNotTolerated { .. }
            )
        });
        let prioritized = self.scored.iter().map(|scored| {
            let scores: serde_json::Map<String, serde_json::Value> = scored
                .scores
                .iter()
                .filter_map(|(index, score)| {
                    Some((self.candidates[*index].name.clone(), (*score)?.into()))
                })
                .collect();
            serde_json::json!({
                "name": scored.weighted.prioritizer.name(), "weight": scored.weighted.weight, "scores": scores,
            })
        });
        let totals = self.ranking.iter().map(|ranked| {
            serde_json::json!({ "clusterName": self.candidates[ranked.candidate].name, "score": ranked.score })
        });
        serde_json::json!({
            "filteredPipelineResults": [
                { "name": "Predicate", "filteredClusters": predicate },
                { "name": "Predicate,TaintToleration", "filteredClusters": taints },
            ],
            "prioritizeResults": prioritized.collect::<Vec<_>>(),
            "aggregatedScores": totals.collect::<Vec<_>>(),
        })
    }
}

/// What a cluster that is not held has too little of.
fn crowded(policy: &Policy, facts: &impl Facts, cluster: &Cluster) -> Option<String> {
    let packing = policy.packing.as_ref().filter(|_| !facts.held(cluster))?;
    let lacking = packing.lacking(
        |name| cluster.amount(name),
        in_all(&facts.reserved(cluster)),
    );
    lacking.map(|lacking| shortage(&lacking))
}

fn shortage(lacking: &Lacking) -> String {
    let shown = |one: Amount| amount(one.units());
    let free = lacking.free.map_or("nothing reported".to_owned(), shown);
    let requested = shown(lacking.requested);
    format!("{requested} {} requested, {free} free", lacking.resource)
}

fn measured(
    prioritizer: &Prioritizer,
    cluster: &Cluster,
    policy: &Policy,
    facts: &impl Facts,
) -> Option<f64> {
    match prioritizer {
        Prioritizer::Balance => Some(f64::from(facts.load(cluster))),
        Prioritizer::Steady => Some(f64::from(u8::from(facts.held(cluster)))),
        Prioritizer::Allocatable(Resource::Cpu) => cluster.cpu.map(Amount::units),
        Prioritizer::Allocatable(Resource::Memory) => cluster.memory.map(Amount::units),
        #[expect(clippy::cast_precision_loss, reason = "−100..100")]
        Prioritizer::AddOn { resource, score } => facts
            .add_on_score(cluster, resource, score)
            .map(|score| score.value as f64),
        Prioritizer::Packing => policy.packing.as_ref()?.share(
            |name| cluster.amount(name),
            in_all(&facts.reserved(cluster)),
        ),
    }
}

/// Why no predicate matches, with the first expression that had no value there.
fn unmet(policy: &Policy, cluster: &Cluster, error: Option<EvaluationError>) -> String {
    let mut reason = mismatch(&policy.predicates, cluster);
    if let Some(error) = error {
        let error = clip(error.to_string(), MOST_REASON);
        reason.push_str(&format!("; an expression has no value here: {error}"));
    }
    reason
}

fn mismatch(predicates: &[Predicate], cluster: &Cluster) -> String {
    let mut reason = Bounded(String::from("no predicate matches: "));
    for (place, predicate) in predicates.iter().enumerate() {
        let separator = if place == 0 { "" } else { "; " };
        let said = match predicate.unmet(cluster) {
            Some(Unmet::Label(requirement)) => write!(reason, "{separator}label {requirement}"),
            Some(Unmet::Claim(requirement)) => write!(reason, "{separator}claim {requirement}"),
            None => expressions(&mut reason, separator, predicate),
        };
        if said.is_err() {
            let left = predicates.len() - place - 1;
            if left > 0 {
                reason.0.push_str(&format!(" and {left} more predicates"));
            }
            break;
        }
    }
    reason.0
}

fn expressions(reason: &mut Bounded, separator: &str, predicate: &Predicate) -> fmt::Result {
    write!(reason, "{separator}celExpressions ")?;
    for (place, expression) in predicate.expressions.iter().enumerate() {
        let and = if place == 0 { "" } else { " && " };
        write!(reason, "{and}{}", expression.source())?;
    }
    Ok(())
}

/// Bytes of a reason, about: there may be a thousand predicates, and all clusters are told.
const MOST_REASON: usize = 1_000;

/// A text that takes no more than that.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MOST_REASON.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        self.0.push('…');
        Err(fmt::Error)
    }
}

fn refusal(cluster: &Cluster, taint: usize, why: Refusal) -> String {
    let taint = &cluster.taints[taint];
    let value = match taint.value.as_str() {
        "" => String::new(),
        value => format!("={value}"),
    };
    let named = format!("{}{value}:{:?}", taint.key, taint.effect);
    match why {
        Refusal::NotTolerated => format!("taint {named} is not tolerated"),
        Refusal::Expired => {
            format!("taint {named} is no longer tolerated: tolerationSeconds have passed")
        }
    }
}

/// Amounts in the binary unit that keeps them short.
fn amount(amount: f64) -> String {
    for (unit, size) in [
        ("Ti", 1024f64.powi(4)),
        ("Gi", 1024f64.powi(3)),
        ("Mi", 1024f64.powi(2)),
    ] {
        if amount.abs() >= size {
            return format!("{:.1}{unit}", amount / size);
        }
    }
    format!("{amount}")
}
