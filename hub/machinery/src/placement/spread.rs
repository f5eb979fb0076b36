//! Spread constraints: the choice among ranked clusters when they must, or should, be spread over domains.
//!
//! Clusters are chosen one after the other, best first. With a constraint that must hold, a cluster may be chosen only
//! while its domain would have at most `maxSkew` more than the domain with the fewest; domains are those of feasible
//! clusters. With one that should hold, clusters that keep to it go before those that do not, constraints earlier in
//! the list before later ones.

use std::{cmp::Ordering, collections::BTreeMap, fmt};

use super::{Cluster, Policy};

/// One `spreadConstraint`, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    pub topology: Topology,
    pub max_skew: usize,
    pub unsatisfiable: Unsatisfiable,
}

/// Where the domain of a cluster is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    Label(String),
    Claim(String),
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(key) => write!(f, "label {key}"),
            Self::Claim(name) => write!(f, "claim {name}"),
        }
    }
}

/// What happens when the skew cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsatisfiable {
    /// Fewer clusters than wanted are chosen.
    DoNotSchedule,
    ScheduleAnyway,
}

impl Spread {
    /// The domain of a cluster; `None` when it does not say.
    #[must_use]
    pub fn domain<'a>(&self, cluster: &'a Cluster) -> Option<&'a str> {
        self.topology.of(cluster)
    }

    pub(super) fn must(&self) -> bool {
        self.unsatisfiable == Unsatisfiable::DoNotSchedule
    }
}

impl Policy {
    /// The constraint that must hold and cannot on a cluster, for that is in none of its domains.
    pub(super) fn nowhere(&self, cluster: &Cluster) -> Option<&Spread> {
        let mut must = self.spread.iter().filter(|spread| spread.must());
        must.find(|spread| spread.domain(cluster).is_none())
    }
}

/// What one constraint keeps count of.
struct Domains {
    /// Domain of each ranked cluster.
    of: Vec<Option<usize>>,
    chosen: Vec<usize>,
    /// How many domains have the fewest.
    fewest: usize,
    max_skew: usize,
    must: bool,
}

impl Domains {
    fn new<D: Ord>(spread: &Spread, domains: impl Iterator<Item = Option<D>>) -> Self {
        let mut numbers: BTreeMap<D, usize> = BTreeMap::new();
        let of = domains.map(|domain| {
            let next = numbers.len();
            domain.map(|domain| *numbers.entry(domain).or_insert(next))
        });
        let of = of.collect();
        Self {
            of,
            chosen: vec![0; numbers.len()],
            fewest: numbers.len(),
            max_skew: spread.max_skew,
            must: spread.must(),
        }
    }

    /// By how much choosing from `domain` now would exceed the skew; a cluster without a domain exceeds any.
    fn excess(&self, domain: Option<usize>, least: usize) -> usize {
        match domain {
            Some(domain) => (self.chosen[domain] + 1).saturating_sub(least + self.max_skew),
            None => usize::MAX,
        }
    }

    fn least(&self) -> usize {
        self.chosen.iter().copied().min().unwrap_or(0)
    }
}

/// Chooses up to `wanted` of the clusters, which are given best first; returns their positions in the order of choice.
/// `domain` says in which domain the cluster at a position is.
pub(super) fn choose<D: Ord>(
    spreads: &[Spread],
    ranked: usize,
    wanted: usize,
    domain: impl Fn(&Spread, usize) -> Option<D>,
) -> Vec<usize> {
    let mut domains: Vec<Domains> = spreads
        .iter()
        .map(|spread| Domains::new(spread, (0..ranked).map(|at| domain(spread, at))))
        .collect();
    // Clusters of the same domains are interchangeable but for their rank: only the first of each kind is looked at.
    let mut kinds: BTreeMap<Vec<Option<usize>>, Vec<usize>> = BTreeMap::new();
    for position in (0..ranked).rev() {
        let kind = domains.iter().map(|domains| domains.of[position]).collect();
        kinds.entry(kind).or_default().push(position);
    }
    let mut kinds: Vec<(Vec<Option<usize>>, Vec<usize>)> = kinds.into_iter().collect();
    // Kinds by their best cluster: the first that breaks nothing is the one to choose from.
    let mut first: BTreeMap<usize, usize> = BTreeMap::new();
    for (index, (_, positions)) in kinds.iter().enumerate() {
        first.extend(positions.last().map(|position| (*position, index)));
    }
    let mut chosen = Vec::with_capacity(wanted.min(ranked));
    let mut least: Vec<usize> = domains.iter().map(Domains::least).collect();
    while chosen.len() < wanted {
        let mut best: Option<(usize, usize)> = None;
        for (&position, &index) in &first {
            let (kind, _) = &kinds[index];
            if forbidden(&domains, kind, &least) {
                continue;
            }
            let better = best.is_none_or(|(best_position, best_index)| {
                let order = compare(&domains, kind, &kinds[best_index].0, &least);
                order.then(position.cmp(&best_position)).is_lt()
            });
            if better {
                best = Some((position, index));
            }
            if keeps(&domains, kind, &least) {
                break;
            }
        }
        let Some((position, index)) = best else {
            break;
        };
        let (kind, positions) = &mut kinds[index];
        positions.pop();
        first.remove(&position);
        first.extend(positions.last().map(|next| (*next, index)));
        for ((domains, domain), least) in domains.iter_mut().zip(kind.iter()).zip(&mut least) {
            if let Some(domain) = domain {
                domains.chosen[*domain] += 1;
                if domains.chosen[*domain] == *least + 1 {
                    domains.fewest -= 1;
                }
                if domains.fewest == 0 {
                    *least = domains.least();
                    let fewest = domains.chosen.iter().filter(|chosen| **chosen == *least);
                    domains.fewest = fewest.count();
                }
            }
        }
        chosen.push(position);
    }
    chosen
}

/// Whether choosing one more of a kind breaks no constraint at all.
fn keeps(domains: &[Domains], kind: &[Option<usize>], least: &[usize]) -> bool {
    let mut all = domains.iter().zip(kind).zip(least);
    all.all(|((domains, domain), least)| domains.excess(*domain, *least) == 0)
}

/// Whether choosing one more of a kind breaks a constraint that must hold.
fn forbidden(domains: &[Domains], kind: &[Option<usize>], least: &[usize]) -> bool {
    let mut all = domains.iter().zip(kind).zip(least);
    all.any(|((domains, domain), least)| domains.must && domains.excess(*domain, *least) > 0)
}

/// Which of two kinds keeps better to the constraints, the first ones first.
fn compare(
    domains: &[Domains],
    one: &[Option<usize>],
    other: &[Option<usize>],
    least: &[usize],
) -> Ordering {
    let each = domains.iter().zip(one.iter().zip(other)).zip(least);
    each.map(|((domains, (one, other)), least)| {
        let excess = |domain: &Option<usize>| domains.excess(*domain, *least);
        excess(one).cmp(&excess(other))
    })
    .find(|order| order.is_ne())
    .unwrap_or(Ordering::Equal)
}
