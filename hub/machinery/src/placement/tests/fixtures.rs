//! Builders in the words of the field, and facts from plain maps.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::super::{
    AddOnScore, Cluster, Effect, Evaluation, Facts, Load, Operator, Policy, Predicate, Prioritizer,
    Requirement, Selector, Snapshot, Taint, Toleration, Weighted, evaluate,
};

pub(super) fn cluster(name: &str) -> Cluster {
    Cluster {
        name: name.to_owned(),
        ..Cluster::default()
    }
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

    pub(super) fn with_memory(mut self, memory: f64) -> Self {
        self.memory = Some(memory);
        self
    }

    pub(super) fn with_cpu(mut self, cpu: f64) -> Self {
        self.cpu = Some(cpu);
        self
    }
}

/// Facts of one placement.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) own: BTreeSet<String>,
    pub(super) load: Load,
    pub(super) scores: BTreeMap<(String, String, String), AddOnScore>,
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
    fn held(&self, cluster: &str) -> bool {
        self.own.contains(cluster)
    }

    fn load(&self, cluster: &str) -> u32 {
        self.load.count(cluster)
    }

    fn max_load(&self) -> u32 {
        self.load.max()
    }

    fn add_on_score(&self, cluster: &str, resource: &str, score: &str) -> Option<AddOnScore> {
        self.scores
            .get(&(cluster.to_owned(), resource.to_owned(), score.to_owned()))
            .copied()
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
        claims: Selector::default(),
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
