//! What would be if: the same engine on a changed world, and the difference.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::{Cluster, Decided, Name, Topology, World};

/// How often placements are decided one after the other until nothing moves: `Balance` settles in two or three.
const ROUNDS: usize = 16;

/// How a placement stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    pub state: State,
    /// Why it is not satisfied; empty when it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    pub clusters: BTreeSet<String>,
}

/// Whether a placement has what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum State {
    Satisfied,
    /// It has fewer clusters than it asks for, or none.
    Unsatisfied,
    /// It keeps what it has.
    Misconfigured,
    /// It is being deleted or disabled, and keeps what it has.
    Untouched,
}

/// What a change does to a placement, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Impact {
    /// It was satisfied, and is not any more.
    Breaks,
    /// It is wrong, and was no better than unsatisfied before.
    Misconfigured,
    /// It is not satisfied, and was not before, or was not there.
    Unsatisfied,
    /// It is disabled, and keeps what it has.
    LeftAlone,
    /// Every copy is somewhere else afterwards: satisfied in the end, with an interruption.
    MovesAll,
    /// Some clusters are replaced.
    Moves,
    /// Clusters leave and none comes instead; it asks for no number, or for fewer.
    Loses,
    /// Clusters are added.
    Gains,
    /// It is satisfied now with what it has.
    Recovers,
}

/// A placement before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub namespace: String,
    pub placement: String,
    #[serde(rename = "effect")]
    pub impact: Impact,
    pub before: Standing,
    pub after: Standing,
}

impl Difference {
    pub fn leaves(&self) -> impl Iterator<Item = &String> {
        self.before.clusters.difference(&self.after.clusters)
    }

    pub fn joins(&self) -> impl Iterator<Item = &String> {
        self.after.clusters.difference(&self.before.clusters)
    }

    /// Whether a review should stop at it: it takes something from a placement that was satisfied, brings one that is
    /// not, or a mistake.
    #[must_use]
    pub fn breaks(&self) -> bool {
        match self.impact {
            Impact::Breaks => true,
            Impact::Misconfigured => self.before.state != State::Misconfigured,
            Impact::Unsatisfied => self.before.state == State::Untouched,
            _ => false,
        }
    }
}

impl Impact {
    fn of(before: &Standing, after: &Standing) -> Self {
        let (left, right) = (&before.clusters, &after.clusters);
        match (before.state, after.state) {
            (State::Satisfied, State::Unsatisfied | State::Misconfigured) => Self::Breaks,
            (_, State::Misconfigured) => Self::Misconfigured,
            (_, State::Unsatisfied) => Self::Unsatisfied,
            (_, State::Untouched) => Self::LeftAlone,
            (_, State::Satisfied) if right.is_superset(left) => match left.len() < right.len() {
                true => Self::Gains,
                false => Self::Recovers,
            },
            (_, State::Satisfied) if right.is_subset(left) => Self::Loses,
            (_, State::Satisfied) if left.is_disjoint(right) => Self::MovesAll,
            (_, State::Satisfied) => Self::Moves,
        }
    }
}

/// What the loss of one value of a label or claim does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Loss {
    pub value: String,
    /// The clusters that are lost.
    pub clusters: Vec<String>,
    /// [`World::is_restless`] afterwards.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub restless: bool,
    /// The placements that the loss changes.
    pub placements: Vec<Difference>,
}

impl Topology {
    /// The value of a cluster.
    #[must_use]
    pub fn of<'a>(&self, cluster: &'a Cluster) -> Option<&'a str> {
        match self {
            Self::Label(key) => cluster.labels.get(key),
            Self::Claim(name) => cluster.claims.get(name),
        }
        .map(String::as_str)
    }
}

impl World {
    /// Lets every placement decide, so that what changes afterwards is due to the change alone.
    pub fn settled(mut self, now: Timestamp) -> Self {
        self.restless = !self.settle(now, ROUNDS);
        self
    }

    /// How each placement stands with the decisions that there are.
    #[must_use]
    pub fn standings(&self, now: Timestamp) -> BTreeMap<Name, Standing> {
        let decisions = self.decisions(now);
        decisions
            .map(|(name, decided)| (name.clone(), self.standing(name, decided)))
            .collect()
    }

    fn standing(&self, name: &Name, decided: Option<Decided>) -> Standing {
        let (state, message) = match decided {
            Some(Decided::Chosen(choice)) => match (choice.selected, choice.unscheduled) {
                (0, _) => (State::Unsatisfied, "no cluster qualifies".to_owned()),
                (_, 0) => (State::Satisfied, String::new()),
                (_, 1) => (State::Unsatisfied, "1 cluster missing".to_owned()),
                (_, missing) => (State::Unsatisfied, format!("{missing} clusters missing")),
            },
            Some(Decided::NoClusters(none)) => (State::Unsatisfied, none.to_string()),
            Some(Decided::Misconfigured { error, .. }) => (State::Misconfigured, error.to_string()),
            Some(Decided::Same) | None => {
                (State::Untouched, "its decisions are left alone".to_owned())
            }
        };
        Standing {
            state,
            message,
            clusters: self.held(name).map(str::to_owned).collect(),
        }
    }

    /// Whether placements still moved, each for the others, when it was settled: then what is said of them is one of
    /// several answers.
    #[must_use]
    pub fn is_restless(&self) -> bool {
        self.restless
    }

    /// The placements that differ between two settled worlds; one that is new has an empty standing before.
    #[must_use]
    pub fn differences(&self, after: &Self, now: Timestamp) -> Vec<Difference> {
        Self::differing(&self.standings(now), after, now)
    }

    fn differing(
        before: &BTreeMap<Name, Standing>,
        after: &Self,
        now: Timestamp,
    ) -> Vec<Difference> {
        let none = Standing {
            state: State::Untouched,
            message: "does not exist".to_owned(),
            clusters: BTreeSet::new(),
        };
        let after = after.standings(now).into_iter().map(|(name, after)| {
            let before = before.get(&name).unwrap_or(&none).clone();
            Difference {
                impact: Impact::of(&before, &after),
                before,
                after,
                namespace: name.0,
                placement: name.1,
            }
        });
        after.filter(|one| one.before != one.after).collect()
    }

    /// For each value that a cluster has: what its loss does to the placements of this settled world.
    #[must_use]
    pub fn losses(&self, by: &Topology, now: Timestamp) -> Vec<Loss> {
        let values: BTreeSet<String> = self
            .clusters()
            .filter_map(|one| by.of(one))
            .map(str::to_owned)
            .collect();
        let before = self.standings(now);
        values
            .into_iter()
            .map(|value| {
                let mut after = self.clone();
                let clusters = after.lose(|cluster| by.of(cluster) == Some(value.as_str()));
                let after = after.settled(now);
                Loss {
                    restless: after.restless,
                    placements: Self::differing(&before, &after, now),
                    value,
                    clusters,
                }
            })
            .collect()
    }

    /// Takes the clusters away for which `lost` is true; returns their names.
    pub fn lose(&mut self, lost: impl Fn(&Cluster) -> bool) -> Vec<String> {
        let names: Vec<String> = self
            .clusters()
            .filter(|one| lost(one))
            .map(|one| one.name.clone())
            .collect();
        names.iter().for_each(|name| self.remove_cluster(name));
        names
    }
}
