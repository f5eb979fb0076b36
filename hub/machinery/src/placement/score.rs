//! Prioritizers: each gives a cluster −100..100, or nothing where it has no data.

use jiff::Timestamp;

use super::{Amount, Cluster, Facts, Policy, evaluate::Earliest, pack::in_all};

pub(super) const MAX_SCORE: i64 = 100;

/// A prioritizer and what its score is multiplied with.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighted {
    pub prioritizer: Prioritizer,
    pub weight: i64,
}

/// What a score measures.
#[derive(Clone, Debug, PartialEq)]
pub enum Prioritizer {
    /// Fewer decisions of other placements are better.
    Balance,
    /// Staying where the placement is, is better.
    Steady,
    /// More that can be allocated is better, relative to the other candidates.
    Allocatable(Resource),
    /// A number that an add-on computed for the cluster.
    AddOn { resource: String, score: String },
    /// Fuller or emptier is better, by the policy's packing.
    Packing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Cpu,
    Memory,
}

/// A score published in an `AddOnPlacementScore`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddOnScore {
    pub value: i64,
    pub valid_until: Option<Timestamp>,
}

impl Prioritizer {
    /// The name in OCM's reports.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Balance => "Balance".to_owned(),
            Self::Steady => "Steady".to_owned(),
            Self::Allocatable(Resource::Cpu) => "ResourceAllocatableCPU".to_owned(),
            Self::Allocatable(Resource::Memory) => "ResourceAllocatableMemory".to_owned(),
            Self::AddOn { resource, score } => format!("AddOn/{resource}/{score}"),
            Self::Packing => "Packing".to_owned(),
        }
    }
}

/// Scores of one prioritizer in the order of `clusters`, and the clusters whose add-on score had expired.
pub(super) struct Scores {
    pub(super) values: Vec<Option<i64>>,
    pub(super) expired: Vec<usize>,
}

pub(super) fn score(
    policy: &Policy,
    prioritizer: &Prioritizer,
    clusters: &[&Cluster],
    facts: &impl Facts,
    now: Timestamp,
    expiry: &mut Earliest,
) -> Scores {
    let mut expired = Vec::new();
    let values = match prioritizer {
        Prioritizer::Balance => {
            let max = f64::from(facts.max_load());
            clusters
                .iter()
                .map(|cluster| Some(balance(facts.load(cluster), max)))
                .collect()
        }
        Prioritizer::Steady => clusters
            .iter()
            .map(|cluster| Some(if facts.held(cluster) { MAX_SCORE } else { 0 }))
            .collect(),
        Prioritizer::Allocatable(resource) => allocatable(*resource, clusters),
        Prioritizer::AddOn { resource, score } => clusters
            .iter()
            .enumerate()
            .map(|(index, cluster)| {
                let found = facts.add_on_score(cluster, resource, score)?;
                match found.valid_until {
                    Some(until) if until <= now => {
                        expired.push(index);
                        return Some(0);
                    }
                    Some(until) => expiry.add(until),
                    None => {}
                }
                Some(found.value)
            })
            .collect(),
        Prioritizer::Packing => clusters
            .iter()
            .map(|cluster| {
                let packing = policy.packing.as_ref()?;
                packing.score(
                    |name| cluster.amount(name),
                    in_all(&facts.reserved(cluster)),
                )
            })
            .collect(),
    };
    Scores { values, expired }
}

/// Truncated before it is doubled, as OCM does: scores are even.
#[expect(clippy::cast_possible_truncation, reason = "−50..50")]
pub(super) fn balance(load: u32, max: f64) -> i64 {
    if load == 0 {
        MAX_SCORE
    } else {
        2 * (100.0 * (0.5 - f64::from(load) / max)) as i64
    }
}

/// The least and the most of a resource among the candidates that report it, and how many have just that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    min: f64,
    max: f64,
    at_min: u32,
    at_max: u32,
}

impl Span {
    pub(super) const NOTHING: Self = Self {
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        at_min: 0,
        at_max: 0,
    };

    pub(super) fn of(amounts: impl Iterator<Item = f64>) -> Self {
        let widen = |mut span: Self, amount: f64| {
            if amount < span.min {
                (span.min, span.at_min) = (amount, 0);
            }
            if amount > span.max {
                (span.max, span.at_max) = (amount, 0);
            }
            span.at_min += u32::from(amount <= span.min);
            span.at_max += u32::from(amount >= span.max);
            span
        };
        amounts.fold(Self::NOTHING, widen)
    }

    /// The same from amounts of which the first are the least, and the first are the most.
    pub(super) fn between(
        mut rising: impl Iterator<Item = f64>,
        mut falling: impl Iterator<Item = f64>,
    ) -> Self {
        let (Some(min), Some(max)) = (rising.next(), falling.next()) else {
            return Self::NOTHING;
        };
        let count = |same: usize| u32::try_from(same + 1).unwrap_or(u32::MAX);
        Self {
            min,
            max,
            at_min: count(rising.take_while(|amount| *amount <= min).count()),
            at_max: count(falling.take_while(|amount| *amount >= max).count()),
        }
    }

    /// Takes a candidate out, as far as it was one, and puts another in, if it is one; says whether the span may be
    /// another then. What is counted at the ends is never more than there is.
    pub(super) fn may_move(&mut self, out: Option<f64>, into: Option<f64>) -> bool {
        let (least, most) = (
            out.is_some_and(|amount| amount <= self.min),
            out.is_some_and(|amount| amount >= self.max),
        );
        self.at_min = self.at_min.saturating_sub(u32::from(least));
        self.at_max = self.at_max.saturating_sub(u32::from(most));
        let beyond = into.is_some_and(|amount| amount < self.min || amount > self.max);
        beyond || least && self.at_min == 0 || most && self.at_max == 0
    }

    #[expect(clippy::cast_possible_truncation, reason = "−100..100")]
    pub(super) fn score(&self, amount: f64) -> i64 {
        let span = self.max - self.min;
        if span == 0.0 {
            MAX_SCORE
        } else {
            (((amount - self.min) / span - 0.5) * 2.0 * 100.0) as i64
        }
    }
}

fn allocatable(resource: Resource, clusters: &[&Cluster]) -> Vec<Option<i64>> {
    let amount = |cluster: &&Cluster| {
        let reported = match resource {
            Resource::Cpu => cluster.cpu,
            Resource::Memory => cluster.memory,
        };
        reported.map(Amount::units)
    };
    let span = Span::of(clusters.iter().filter_map(amount));
    clusters
        .iter()
        .map(|cluster| amount(cluster).map(|amount| span.score(amount)))
        .collect()
}
