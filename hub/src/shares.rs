//! A bounded number of things, each of them somebody's. Pure.
//!
//! Where there are too many, somebody loses one: whoever has most, and of theirs the oldest. So one who takes everything loses
//! it to the next who comes, and one who has little keeps it, whatever the others do.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
};

/// Names a thing; later ones are greater.
pub type Id = u64;

/// Things and whose they are.
#[derive(Debug)]
pub struct Shares<K, T> {
    most: usize,
    per_owner: usize,
    next: Id,
    things: BTreeMap<Id, (K, T)>,
    owners: HashMap<K, BTreeSet<Id>>,
}

impl<K: Clone + Eq + Hash, T> Shares<K, T> {
    /// At most `most` things, at most `per_owner` of them one owner's; both at least one.
    #[must_use]
    pub fn new(most: usize, per_owner: usize) -> Self {
        Self {
            most: most.max(1),
            per_owner: per_owner.max(1),
            next: 0,
            things: BTreeMap::new(),
            owners: HashMap::new(),
        }
    }

    /// Adds a thing; returns its name, and the thing that had to go for it.
    pub fn add(&mut self, owner: K, thing: T) -> (Id, Option<T>) {
        let own = self.owners.get(&owner);
        let victim = if own.is_some_and(|own| own.len() >= self.per_owner) {
            own.and_then(|own| own.first().copied())
        } else if self.things.len() >= self.most {
            // Of several with as many, whose is the oldest.
            let most = self
                .owners
                .values()
                .max_by_key(|ids| (ids.len(), Reverse(ids.first())));
            most.and_then(|ids| ids.first().copied())
        } else {
            None
        };
        let gone = victim.and_then(|id| self.remove(id));
        let id = self.next;
        self.next += 1;
        self.owners.entry(owner.clone()).or_default().insert(id);
        self.things.insert(id, (owner, thing));
        (id, gone)
    }

    /// Takes a thing out, if it is still there.
    pub fn remove(&mut self, id: Id) -> Option<T> {
        let (owner, thing) = self.things.remove(&id)?;
        if let Some(ids) = self.owners.get_mut(&owner) {
            ids.remove(&id);
            if ids.is_empty() {
                self.owners.remove(&owner);
            }
        }
        Some(thing)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.things.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.things.is_empty()
    }

    /// All things, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.things.iter().map(|(id, (_, thing))| (*id, thing))
    }

    /// The thing of least rank of the owner who has most things; things without a rank do not count, and who has none
    /// with one is passed over.
    pub fn least<R: Ord>(&self, rank: impl Fn(&T) -> Option<R>) -> Option<Id> {
        let mut owners: Vec<_> = self.owners.values().collect();
        owners.sort_unstable_by_key(|ids| Reverse(ids.len()));
        // Those who have as many are looked at together: one who comes from many addresses is not one owner.
        let mut groups = owners.chunk_by(|one, other| one.len() == other.len());
        groups.find_map(|group| {
            let ids = group.iter().copied().flatten();
            let ranked = ids.filter_map(|id| {
                let (_, thing) = self.things.get(id)?;
                Some((rank(thing)?, *id))
            });
            ranked.min().map(|(_, id)| id)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Never too many; whoever loses one had no fewer than anybody else, or their own full share; it was their oldest.
        #[test]
        fn the_oldest_of_whoever_has_most_goes(
            most in 1_usize..8,
            per_owner in 1_usize..8,
            steps in prop::collection::vec((0_u8..4, any::<bool>()), 0..200),
        ) {
            let mut shares = Shares::new(most, per_owner);
            let mut model: Vec<(Id, u8)> = Vec::new();
            for (owner, leaves) in steps {
                if leaves && !model.is_empty() {
                    let (id, thing) = model.remove(usize::from(owner) % model.len());
                    prop_assert_eq!(shares.remove(id), Some(thing));
                    prop_assert_eq!(shares.remove(id), None);
                    continue;
                }
                let count = |of: u8| model.iter().filter(|(_, who)| *who == of).count();
                let (own, largest) = (count(owner), (0..4).map(count).max().unwrap_or(0));
                let full = model.len() == most || own == per_owner;
                let (id, gone) = shares.add(owner, owner);
                prop_assert_eq!(gone.is_some(), full);
                if let Some(loser) = gone {
                    if own == per_owner {
                        prop_assert_eq!(loser, owner);
                    } else {
                        prop_assert_eq!(count(loser), largest);
                    }
                    let oldest = model.iter().position(|(_, who)| *who == loser).unwrap();
                    model.remove(oldest);
                }
                model.push((id, owner));
                let ids: Vec<Id> = shares.iter().map(|(id, _)| id).collect();
                let known: Vec<Id> = model.iter().map(|(id, _)| *id).collect();
                prop_assert_eq!(ids, known);
                prop_assert!(shares.len() <= most);
            }
        }
    }

    #[test]
    fn where_all_have_as_many_the_oldest_goes() {
        let mut shares = Shares::new(100, 100);
        for owner in 0..100 {
            shares.add(owner, owner);
        }
        for owner in 100..300 {
            assert_eq!(shares.add(owner, owner).1, Some(owner - 100));
        }
        let newest_first = |thing: &i32| Some(Reverse(*thing));
        let least = shares.least(newest_first).and_then(|id| shares.remove(id));
        assert_eq!(least, Some(299));
    }

    #[test]
    fn the_least_of_whoever_has_most_is_found() {
        let mut shares = Shares::new(10, 10);
        let ids: Vec<Id> = [("a", 5), ("b", 1), ("a", 3), ("a", 0), ("c", 0)]
            .map(|(owner, rank)| shares.add(owner, rank).0)
            .into();
        let ranked = |thing: &i32| (*thing > 0).then_some(*thing);
        assert_eq!(shares.least(ranked), Some(ids[2]));
        assert_eq!(
            shares.least(|thing: &i32| (*thing == 1).then_some(())),
            Some(ids[1])
        );
        assert_eq!(shares.least(|_| None::<()>), None);
    }
}
