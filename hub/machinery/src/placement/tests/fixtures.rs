//! Builders in the words of the field, and facts from plain maps.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::super::{
    AddOnScore, Amount, Amounts, Cluster, Effect, Evaluation, Facts, Load, Operator, Policy,
    Predicate, Prioritizer, Requirement, Selector, Snapshot, Taint, Toleration, Weighted, evaluate,
    expression::{self, Outcome},
};
use crate::cel::Program;

pub(super) fn cluster(name: &str) -> Cluster {
    Cluster {
        name: name.to_owned(),
        ..Cluster::default()
    }
}

/// Whole cores or bytes.
pub(super) fn units(amount: i64) -> Amount {
    Amount::thousandths(1000 * amount)
}

impl Cluster {
    pub(super) fn labelled(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(super) fn tainted(mut self, key: &str, value: &str, effect: Effect) -> Self {
        self.taints.push(Taint {
            key: key.to_owned(),
            value: value.to_owned(),
            effect,
            added: Some(Timestamp::UNIX_EPOCH),
        });
        self
    }

    pub(super) fn with_memory(mut self, memory: i64) -> Self {
        self.memory = Some(units(memory));
        self
    }

    pub(super) fn claiming(mut self, name: &str, value: &str) -> Self {
        self.claims.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn allocating(mut self, resource: &str, amount: i64) -> Self {
        self.allocatable.insert(resource.to_owned(), units(amount));
        self
    }

    pub(super) fn with_cpu(mut self, cpu: i64) -> Self {
        self.cpu = Some(units(cpu));
        self
    }
}

/// Facts of one placement.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) own: BTreeSet<String>,
    pub(super) load: Load,
    pub(super) scores: BTreeMap<(String, String, String), AddOnScore>,
    pub(super) reserved: BTreeMap<String, Amounts>,
}

impl World {
    pub(super) fn holding(clusters: &[&str]) -> Self {
        Self {
            own: clusters.iter().map(|name| (*name).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// Another placement's decisions.
    pub(super) fn others(mut self, clusters: &[&str]) -> Self {
        self.load.add(clusters.iter().copied());
        self
    }

    pub(super) fn score(
        mut self,
        cluster: &str,
        value: i64,
        valid_until: Option<Timestamp>,
    ) -> Self {
        let key = (cluster.to_owned(), "demo".to_owned(), "demo".to_owned());
        self.scores.insert(key, AddOnScore { value, valid_until });
        self
    }
}

impl Facts for World {
    fn held(&self, cluster: &Cluster) -> bool {
        self.own.contains(&cluster.name)
    }

    fn load(&self, cluster: &Cluster) -> u32 {
        self.load.count(&cluster.name)
    }

    fn max_load(&self) -> u32 {
        self.load.max()
    }

    fn add_on_score(&self, cluster: &Cluster, resource: &str, score: &str) -> Option<AddOnScore> {
        self.scores
            .get(&(cluster.name.clone(), resource.to_owned(), score.to_owned()))
            .copied()
    }

    fn condition(&self, cluster: &Cluster, expression: &Program) -> Outcome {
        let object = serde_json::json!({
            "metadata": { "name": cluster.name, "labels": cluster.labels },
            "status": {
                "clusterClaims": cluster.claims.iter().map(|(name, value)| serde_json::json!({ "name": name, "value": value })).collect::<Vec<_>>(),
            },
        });
        let scores = |resource: &str| {
            let of = self
                .scores
                .iter()
                .filter(|((of, name, _), _)| *of == cluster.name && name == resource);
            let all: Vec<_> = of
                .map(|((_, _, score), found)| (score.clone(), found.value))
                .collect();
            (!all.is_empty()).then_some(all)
        };
        expression::test(expression, &expression::subject(object), &scores)
    }

    fn reserved(&self, cluster: &Cluster) -> Amounts {
        self.reserved
            .get(&cluster.name)
            .cloned()
            .unwrap_or_default()
    }
}

pub(super) fn weighted(prioritizer: Prioritizer, weight: i64) -> Weighted {
    Weighted {
        prioritizer,
        weight,
    }
}

/// The default policy: Balance 1, Steady 1.
pub(super) fn wanting(clusters: usize) -> Policy {
    Policy {
        clusters: Some(clusters),
        prioritizers: vec![
            weighted(Prioritizer::Balance, 1),
            weighted(Prioritizer::Steady, 1),
        ],
        ..Policy::default()
    }
}

pub(super) fn scoring(prioritizer: Prioritizer) -> Policy {
    Policy {
        prioritizers: vec![weighted(prioritizer, 1)],
        ..Policy::default()
    }
}

pub(super) fn labelled(key: &str, values: &[&str]) -> Predicate {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    let requirement = Requirement {
        key: key.to_owned(),
        operator: Operator::In,
        values,
    };
    Predicate {
        labels: Selector::new(vec![requirement]),
        ..Predicate::default()
    }
}

/// A predicate of expressions only.
pub(super) fn expressed(sources: &[&str]) -> Predicate {
    Predicate {
        expressions: sources
            .iter()
            .map(|source| expression::compile(source).unwrap())
            .collect(),
        ..Predicate::default()
    }
}

pub(super) fn tolerating(key: &str, value: &str) -> Toleration {
    Toleration {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
        effect: None,
        seconds: None,
    }
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

pub(super) fn run<'a>(
    policy: &Policy,
    clusters: &'a [Cluster],
    world: &'a World,
    now: i64,
) -> Evaluation<'a> {
    evaluate(
        policy,
        Snapshot {
            candidates: clusters.iter().collect(),
            facts: world,
            now: at(now),
        },
    )
}

pub(super) fn chosen(evaluation: &Evaluation<'_>) -> Vec<String> {
    evaluation
        .selection()
        .map(|cluster| cluster.name.clone())
        .collect()
}
