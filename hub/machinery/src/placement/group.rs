//! Decision groups, and their shards: one `PlacementDecision` each.

use super::{Cluster, filter::Predicate};

/// OCM's bound on the decisions in one object.
pub const MAX_DECISIONS_PER_OBJECT: usize = 100;

/// How selected clusters are grouped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupPolicy {
    pub size: GroupSize,
    /// Named groups in order: the first that matches takes the cluster.
    pub named: Vec<(String, Predicate)>,
}

/// Order of clusters in groups, which also says who comes into which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Name,
    /// As they were chosen: best first.
    Score,
}

/// Upper bound on the clusters of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum GroupSize {
    #[default]
    All,
    Clusters(i64),
    Percent(f64),
}

impl GroupSize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "bounded by total"
    )]
    fn limit(self, total: usize) -> usize {
        let limit = match self {
            Self::All => return total.max(1),
            Self::Clusters(clusters) => usize::try_from(clusters).unwrap_or(0),
            // Less than a part in a billion is the float's and not the user's: 7% of 100 are 7.
            Self::Percent(percent) => {
                (percent * total as f64 / 100.0 - 1e-9).ceil().max(0.0) as usize
            }
        };
        if limit == 0 || limit > total {
            total.max(1)
        } else {
            limit
        }
    }
}

/// A decision group: its index is its position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Empty for the clusters that no named group took.
    pub name: String,
    /// By name, or best first.
    pub clusters: Vec<String>,
}

/// The content of one `PlacementDecision`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Counts from 1 over all groups; part of the object's name.
    pub number: usize,
    pub group: usize,
    pub group_name: String,
    pub clusters: Vec<String>,
}

/// Splits the selected clusters into groups; there is always at least one, if an empty one.
#[must_use]
pub fn groups<'a>(
    policy: &GroupPolicy,
    order: Order,
    selected: impl IntoIterator<Item = &'a Cluster>,
) -> Vec<Group> {
    let mut all: Vec<&Cluster> = selected.into_iter().collect();
    if order == Order::Name {
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }
    let selects = |cluster: &&Cluster, at: usize| policy.named[at].1.selects(cluster);
    partition(policy, all, selects, |cluster| cluster.name.clone())
}

/// The same for clusters that are kept in any way, and are in their final order; `selects` says whether the named
/// group at an index would take one.
pub(super) fn partition<T>(
    policy: &GroupPolicy,
    mut rest: Vec<T>,
    selects: impl Fn(&T, usize) -> bool,
    name: impl Fn(&T) -> String,
) -> Vec<Group> {
    let limit = policy.size.limit(rest.len());
    let mut groups = Vec::new();
    let mut add = |group: &str, clusters: &[T]| {
        groups.extend(clusters.chunks(limit).map(|chunk| Group {
            name: group.to_owned(),
            clusters: chunk.iter().map(&name).collect(),
        }));
    };
    for (at, (group, _)) in policy.named.iter().enumerate() {
        let (matched, others) = rest.into_iter().partition(|one| selects(one, at));
        rest = others;
        let matched: Vec<T> = matched;
        add(group, &matched);
    }
    add("", &rest);
    if groups.is_empty() {
        groups.push(Group::default());
    }
    groups
}

/// Splits groups into objects of at most [`MAX_DECISIONS_PER_OBJECT`] decisions; an empty group has one, empty.
#[must_use]
pub fn shards(groups: &[Group]) -> Vec<Shard> {
    let mut shards = Vec::with_capacity(groups.len());
    for (index, group) in groups.iter().enumerate() {
        let mut push = |clusters: &[String]| {
            shards.push(Shard {
                number: shards.len() + 1,
                group: index,
                group_name: group.name.clone(),
                clusters: clusters.to_vec(),
            });
        };
        if group.clusters.is_empty() {
            push(&[]);
        }
        group
            .clusters
            .chunks(MAX_DECISIONS_PER_OBJECT)
            .for_each(&mut push);
    }
    shards
}
