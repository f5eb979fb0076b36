//! Places that go round among users. Pure: who waits is whatever the caller hands in.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// What becomes of one who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// There is a place.
    Go,
    /// It waits for its turn.
    Waits,
    /// Too many of this user wait, or are there.
    Refused,
}

/// Places, and a queue for each user that waits for one.
///
/// A place that becomes free goes to the user whose turn it is; users take turns, each one request at a time. So between
/// two requests of one user every other user that waits gets one in, however many the first one sent.
#[derive(Debug)]
pub(super) struct Fair<T> {
    free: usize,
    queue: usize,
    per_user: usize,
    users: BTreeMap<Arc<str>, Held<T>>,
    /// Users that wait, each once, the next one first.
    turns: VecDeque<Arc<str>>,
}

#[derive(Debug)]
struct Held<T> {
    inside: usize,
    waiting: VecDeque<T>,
}

impl<T> Fair<T> {
    /// `places` in all, at most `per_user` of them for one user, and at most `queue` of one user waiting.
    pub(super) fn new(places: usize, queue: usize, per_user: usize) -> Self {
        Self {
            free: places,
            queue,
            per_user,
            users: BTreeMap::new(),
            turns: VecDeque::new(),
        }
    }

    /// Somebody comes; `one` is kept if it has to wait.
    pub(super) fn arrive(&mut self, user: &Arc<str>, one: T) -> Arrival {
        let held = self.users.entry(Arc::clone(user)).or_insert_with(|| Held {
            inside: 0,
            waiting: VecDeque::new(),
        });
        let arrival = if self.free > 0 && held.inside < self.per_user {
            self.free -= 1;
            held.inside += 1;
            Arrival::Go
        } else if held.waiting.len() < self.queue {
            if held.waiting.is_empty() {
                self.turns.push_back(Arc::clone(user));
            }
            held.waiting.push_back(one);
            Arrival::Waits
        } else {
            Arrival::Refused
        };
        self.forget(user);
        arrival
    }

    /// Somebody leaves; who takes the place, if anybody waits.
    pub(super) fn leave(&mut self, user: &Arc<str>) -> Option<(Arc<str>, T)> {
        if let Some(held) = self.users.get_mut(user) {
            held.inside = held.inside.saturating_sub(1);
        }
        self.free += 1;
        let next = self.next();
        self.forget(user);
        next
    }

    fn next(&mut self) -> Option<(Arc<str>, T)> {
        let user = self.turns.pop_front()?;
        let held = self.users.get_mut(&user)?;
        let one = held.waiting.pop_front()?;
        held.inside += 1;
        self.free -= 1;
        if !held.waiting.is_empty() {
            self.turns.push_back(Arc::clone(&user));
        }
        Some((user, one))
    }

    /// Nothing is kept of a user who has nothing here: names are made up by whoever asks.
    fn forget(&mut self, user: &Arc<str>) {
        let idle = |held: &Held<T>| held.inside == 0 && held.waiting.is_empty();
        if self.users.get(user).is_some_and(idle) {
            self.users.remove(user);
        }
    }

    #[cfg(test)]
    pub(super) fn waiting(&self, user: &str) -> usize {
        self.users.get(user).map_or(0, |held| held.waiting.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Never more inside than there are places, nobody waits while a place is free, nobody is kept who is not there,
        /// and between two turns of one user everybody else who waited had one.
        #[test]
        fn places_are_bounded_and_go_round(
            places in 1_usize..4,
            queue in 0_usize..4,
            steps in prop::collection::vec((any::<bool>(), 0_usize..4), 0..200),
        ) {
            let names: Vec<Arc<str>> = ["a", "b", "c", "d"].map(Arc::from).into();
            let mut fair = Fair::new(places, queue, usize::MAX);
            let mut inside: Vec<usize> = Vec::new();
            let mut waiting = [0_usize; 4];
            // How many turns others had since this user began to wait.
            let mut passed = [[0_usize; 4]; 4];
            for (comes, user) in steps {
                if comes {
                    match fair.arrive(&names[user], user) {
                        Arrival::Go => inside.push(user),
                        Arrival::Waits => {
                            if waiting[user] == 0 {
                                passed[user] = [0; 4];
                            }
                            waiting[user] += 1;
                        }
                        Arrival::Refused => prop_assert_eq!(waiting[user], queue),
                    }
                } else if !inside.is_empty() {
                    let leaving = inside.swap_remove(user % inside.len());
                    if let Some((name, next)) = fair.leave(&names[leaving]) {
                        prop_assert_eq!(&names[next], &name);
                        inside.push(next);
                        waiting[next] -= 1;
                        for (other, seen) in passed.iter_mut().enumerate() {
                            if other != next && waiting[other] > 0 {
                                seen[next] += 1;
                                prop_assert!(seen[next] <= 1, "{next} went twice while {other} waited");
                            }
                        }
                        passed[next] = [0; 4];
                    }
                }
                prop_assert!(inside.len() <= places);
                if inside.len() < places {
                    prop_assert_eq!(waiting.iter().sum::<usize>(), 0);
                }
                for (user, name) in names.iter().enumerate() {
                    prop_assert_eq!(fair.waiting(name), waiting[user]);
                    let known = fair.users.contains_key(name);
                    prop_assert_eq!(known, waiting[user] > 0 || inside.contains(&user));
                }
            }
        }
    }
}
