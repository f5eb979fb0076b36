//! A world as one placement sees it.

use std::{
    cell::OnceCell,
    collections::{BTreeSet, HashMap},
};

use super::{Name, World};
use crate::{
    cel::Program,
    placement::{AddOnScore, Amounts, Cluster, Facts, expression::Outcome},
};

/// The facts of one placement's evaluation.
pub(super) struct View<'a> {
    world: &'a World,
    name: &'a Name,
    held: Option<&'a BTreeSet<String>>,
    /// Of the decisions of others.
    max_load: u32,
    /// What others reserve, by cluster; found when it is asked for first.
    reserved: OnceCell<HashMap<&'a str, Amounts>>,
}

impl<'a> View<'a> {
    pub(super) fn of(world: &'a World, name: &'a Name) -> Self {
        Self {
            world,
            name,
            held: world.held.get(name),
            max_load: world.load.max_without(world.held(name)),
            reserved: OnceCell::new(),
        }
    }

    fn reserved_by_others(&self) -> HashMap<&'a str, Amounts> {
        let mut reserved: HashMap<&str, Amounts> = HashMap::new();
        for (name, entry) in &self.world.placements {
            let (Some(packing), true) = (&entry.packing, name != self.name) else {
                continue;
            };
            for cluster in self.world.held(name) {
                let of_cluster = reserved.entry(cluster).or_default();
                for (resource, amount) in &packing.requests {
                    *of_cluster.entry(resource.clone()).or_default() += *amount;
                }
            }
        }
        reserved
    }
}

impl Facts for View<'_> {
    fn held(&self, cluster: &Cluster) -> bool {
        self.held.is_some_and(|held| held.contains(&cluster.name))
    }

    fn load(&self, cluster: &Cluster) -> u32 {
        let own = u32::from(self.held(cluster));
        self.world.load.count(&cluster.name).saturating_sub(own)
    }

    fn max_load(&self) -> u32 {
        self.max_load
    }

    fn add_on_score(&self, cluster: &Cluster, resource: &str, score: &str) -> Option<AddOnScore> {
        let scores = self
            .world
            .scores
            .get(&(cluster.name.clone(), resource.to_owned()))?;
        Some(AddOnScore {
            value: *scores.values.get(score)?,
            valid_until: scores.valid_until,
        })
    }

    fn condition(&self, cluster: &Cluster, expression: &Program) -> Outcome {
        let scores = |name: &str| {
            let key = (cluster.name.clone(), name.to_owned());
            let scores = self.world.scores.get(&key)?;
            Some(scores.values.clone().into_iter().collect())
        };
        self.world.test(&cluster.name, expression, &scores)
    }

    fn reserved(&self, cluster: &Cluster) -> Amounts {
        let reserved = self.reserved.get_or_init(|| self.reserved_by_others());
        let of_cluster = reserved.get(cluster.name.as_str());
        of_cluster.cloned().unwrap_or_default()
    }
}
