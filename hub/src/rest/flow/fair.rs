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
    ///
    /// With fewer for a user than there are, places stay free for the next who comes, however long a request takes.
    pub(super) fn new(places: usize, queue: usize, per_user: usize) -> Self {
        Self {
            free: places,
            queue,
            per_user,
            users: BTreeMap::new(),
            turns: VecDeque::new(),
        }
    }

    /// Somebody comes; `one` is kept if it has to wait. Those who wait no longer, says `waits`, make room in a full queue.
    pub(super) fn arrive(
        &mut self,
        user: &Arc<str>,
        one: T,
        waits: impl Fn(&T) -> bool,
    ) -> Arrival {
        let held = self.users.entry(Arc::clone(user)).or_insert_with(|| Held {
            inside: 0,
            waiting: VecDeque::new(),
        });
        if held.waiting.len() >= self.queue && !held.waiting.is_empty() {
            held.waiting.retain(waits);
            if held.waiting.is_empty() {
                self.turns.retain(|other| other != user);
            }
        }
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
        let may_go = |user: &Arc<str>| {
            let held = self.users.get(user);
            held.is_some_and(|held| held.inside < self.per_user)
        };
        let turn = self.turns.iter().position(may_go)?;
        let user = self.turns.remove(turn)?;
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

    #[test]
    fn those_who_gave_up_make_room_in_the_queue() {
        let (storm, quiet): (Arc<str>, Arc<str>) = ("storm".into(), "quiet".into());
        let mut fair = Fair::new(1, 2, 1);
        assert_eq!(fair.arrive(&storm, 0, |_| true), Arrival::Go);
        for _ in 0..2 {
            assert_eq!(fair.arrive(&storm, 1, |_| true), Arrival::Waits);
        }
        assert_eq!(fair.arrive(&storm, 2, |_| true), Arrival::Refused);
        assert_eq!(fair.arrive(&storm, 3, |one| *one != 1), Arrival::Waits);
        assert_eq!(fair.arrive(&quiet, 4, |_| true), Arrival::Waits);
        assert_eq!(fair.leave(&storm), Some((storm.clone(), 3)));
        assert_eq!(fair.leave(&storm), Some((quiet.clone(), 4)));
        assert_eq!(fair.leave(&quiet), None);
        assert!(fair.users.is_empty() && fair.turns.is_empty());
    }

    proptest! {
        /// Never more inside than there are places, or than one user may have; nobody else waits while a place is free; nobody
        /// is kept who is not there; and between two turns of one user everybody else who waited and might go had one.
        #[test]
        fn places_are_bounded_and_go_round(
            places in 1_usize..4,
            queue in 0_usize..4,
            per_user in 1_usize..5,
            steps in prop::collection::vec((any::<bool>(), 0_usize..4), 0..200),
        ) {
            let names: Vec<Arc<str>> = ["a", "b", "c", "d"].map(Arc::from).into();
            let mut fair = Fair::new(places, queue, per_user);
            let mut inside: Vec<usize> = Vec::new();
            let mut waiting = [0_usize; 4];
            // How many turns others had since this user began to wait.
            let mut passed = [[0_usize; 4]; 4];
            for (comes, user) in steps {
                if comes {
                    match fair.arrive(&names[user], user, |_| true) {
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
                            let count = inside.iter().filter(|one| **one == other).count();
                            if other != next && waiting[other] > 0 && count < per_user {
                                seen[next] += 1;
                                prop_assert!(seen[next] <= 1, "{next} went twice while {other} waited");
                            }
                        }
                        passed[next] = [0; 4];
                    }
                }
                prop_assert!(inside.len() <= places);
                for (user, name) in names.iter().enumerate() {
                    let count = inside.iter().filter(|one| **one == user).count();
                    prop_assert!(count <= per_user);
                    prop_assert!(waiting[user] == 0 || inside.len() == places || count == per_user);
                    prop_assert_eq!(fair.waiting(name), waiting[user]);
                    let known = fair.users.contains_key(name);
                    prop_assert_eq!(known, waiting[user] > 0 || inside.contains(&user));
                }
            }
        }
    }
}
