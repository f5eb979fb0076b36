//! All placements of a world decided, without a word of why: thousands of them over thousands of clusters take seconds,
//! where an explanation of each candidate would take minutes. Who is shown is explained by the evaluation.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Name, World};
use crate::{
    cel::Program,
    placement::{
        Conditions, Decided, Engine,
        expression::{Outcome, ScoreLookup},
    },
};

/// Expressions see the objects of the world.
struct Sight<'a>(&'a World);

impl Conditions for Sight<'_> {
    fn test(&self, cluster: &str, expression: &Program, scores: ScoreLookup<'_>) -> Outcome {
        self.0.test(cluster, expression, scores)
    }
}

impl World {
    /// Decides all placements, one after the other in the order of their names, each seeing the decisions of those
    /// before; again until nothing moves, at most `rounds` times. Says whether it came to rest.
    pub fn settle(&mut self, now: Timestamp, rounds: usize) -> bool {
        let mut engine = self.engine();
        let names: Vec<Name> = self.placements.keys().cloned().collect();
        for _ in 0..rounds {
            let mut moved = false;
            for name in &names {
                let decided = self.decide(&mut engine, name, now);
                let chosen = self.chosen(name, decided);
                moved |= self.take(&mut engine, name, chosen);
            }
            if !moved {
                return true;
            }
        }
        false
    }

    /// What each placement would be answered now, in the order of their names; `None` for those that are left alone.
    pub(in super::super) fn decisions(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (&Name, Option<Decided>)> {
        let mut engine = self.engine();
        let names = self.placements.keys();
        names.map(move |name| (name, self.decide(&mut engine, name, now)))
    }

    fn decide(&self, engine: &mut Engine, name: &Name, now: Timestamp) -> Option<Decided> {
        engine.mark(name);
        engine.decide(name, now, &Sight(self))
    }

    /// The clusters that a placement has once it is decided.
    fn chosen(&self, name: &Name, decided: Option<Decided>) -> BTreeSet<String> {
        match decided {
            Some(Decided::Chosen(choice)) => {
                let groups = choice.groups.into_iter();
                groups.flat_map(|group| group.clusters).collect()
            }
            Some(Decided::NoClusters(_)) => BTreeSet::new(),
            Some(Decided::Misconfigured { remaining, .. }) => remaining,
            // It keeps what is there, as far as it is there.
            Some(Decided::Same) | None => {
                let held = self.held(name);
                held.filter(|held| self.clusters.contains_key(*held))
                    .map(str::to_owned)
                    .collect()
            }
        }
    }

    /// Gives a placement its clusters, here and in the engine; says whether it had others before.
    fn take(&mut self, engine: &mut Engine, name: &Name, chosen: BTreeSet<String>) -> bool {
        let none = BTreeSet::new();
        let before = self.held.get(name).unwrap_or(&none);
        if *before == chosen {
            return false;
        }
        let more = chosen.difference(before).map(String::as_str);
        engine.hold(name, more, before.difference(&chosen).map(String::as_str));
        self.hold(name.clone(), chosen);
        true
    }

    pub(in super::super) fn hold(&mut self, name: Name, chosen: BTreeSet<String>) {
        let before = self.held.get(&name);
        self.load
            .remove(before.into_iter().flatten().map(String::as_str));
        self.load.add(chosen.iter().map(String::as_str));
        self.held.insert(name, chosen);
    }

    /// An engine that knows all that this world does.
    fn engine(&self) -> Engine {
        let mut engine = Engine::default();
        for member in self.clusters.values() {
            engine.put_cluster(&member.cluster);
        }
        for (name, membership) in &self.sets {
            engine.put_set(name, membership.clone());
        }
        for (namespace, set) in &self.bindings {
            engine.bind(namespace, set);
        }
        for ((cluster, object), scores) in &self.scores {
            let values = scores
                .values
                .iter()
                .map(|(name, value)| (name.clone(), *value));
            engine.put_scores(cluster, object, values, scores.valid_until);
        }
        for (name, entry) in &self.placements {
            let packing = entry.packing.as_ref();
            if entry.untouched {
                engine.suspend_placement(name, packing);
            } else {
                let sets = &entry.object.spec.cluster_sets;
                engine.put_placement(name, sets, &entry.policy, packing);
            }
        }
        for (name, held) in &self.held {
            engine.hold(name, held.iter().map(String::as_str), []);
        }
        let nobody = Name::default();
        engine.hold(&nobody, self.strays.iter().map(String::as_str), []);
        engine
    }
}
