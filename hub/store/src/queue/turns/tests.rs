use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, PartialEq)]
struct One {
    at: usize,
    share: Share,
    key: Key,
    weight: usize,
    bytes: usize,
}

impl Write for One {
    fn key(&self) -> &Key {
        &self.key
    }

    fn weight(&self) -> usize {
        self.weight
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

fn one(at: usize, share: Share, name: &str, weight: usize, bytes: usize) -> One {
    One {
        at,
        share,
        key: Key::new("r", "", name),
        weight,
        bytes,
    }
}

fn filled(writes: &[One]) -> Turns<One> {
    let mut turns = Turns::default();
    for write in writes {
        turns.push(write.share, write.clone());
    }
    turns
}

fn of(batch: &[One], share: Share) -> usize {
    batch.iter().filter(|write| write.share == share).count()
}

#[test]
fn a_storm_of_users_delays_an_agents_status_by_no_batch() {
    let storm = |at: usize| one(at, Share::Users, &format!("user-{at}"), 4, 1000);
    let mut writes: Vec<_> = (0..5000).map(storm).collect();
    writes.push(one(5000, Share::Agents, "status", 1, 1000));
    let mut turns = filled(&writes);
    // Whoever's turn it is to be first.
    for first in 0..Share::ALL.len() {
        turns.first = first;
        let batch = turns.take();
        assert_eq!(of(&batch, Share::Agents), 1, "first: {first}");
        assert!(batch.len() >= 128, "nothing is left unused");
        turns.push(
            Share::Agents,
            one(5001 + first, Share::Agents, "status", 1, 1000),
        );
    }
}

#[test]
fn three_storms_have_a_third_each() {
    let writes: Vec<_> = (0..3000)
        .map(|at| one(at, Share::ALL[at % 3], &at.to_string(), 4, 10))
        .collect();
    let batch = filled(&writes).take();
    for share in Share::ALL {
        assert!(of(&batch, share) >= 42, "{share:?}: {}", of(&batch, share));
    }
}

#[test]
fn what_fills_a_batch_alone_is_not_put_off_for_ever() {
    let mut turns = Turns::default();
    turns.push(Share::Users, one(0, Share::Users, "large", 4, 16 << 20));
    let taken = (0..Share::ALL.len()).any(|at| {
        turns.push(Share::Agents, one(1 + at, Share::Agents, "s", 1, 10));
        of(&turns.take(), Share::Users) == 1
    });
    assert!(taken, "it had its turn to be first");
}

proptest! {
    /// Whatever waits comes out once, within the bounds of a batch, of each key one at a time, and of each share and key in the order in
    /// which it came.
    #[test]
    fn all_comes_out_in_order_and_in_shares(
        sizes in prop::collection::vec((0_usize..3, 0_usize..12, 1_usize..200, 0_usize..(12 << 20)), 0..60)
    ) {
        let writes: Vec<One> = sizes
            .into_iter()
            .enumerate()
            .map(|(at, (share, name, weight, bytes))| one(at, Share::ALL[share], &name.to_string(), weight, bytes))
            .collect();
        let mut turns = filled(&writes);
        let mut out: Vec<One> = Vec::new();
        while turns.len() > 0 {
            let batch = turns.take();
            prop_assert!(!batch.is_empty());
            let keys: HashSet<_> = batch.iter().map(|write| &write.key).collect();
            prop_assert_eq!(keys.len(), batch.len());
            let total = |of: fn(&One) -> usize| batch.iter().map(of).sum::<usize>();
            prop_assert!(batch.len() == 1 || (total(|w| w.weight) <= BATCH_WEIGHT && total(|w| w.bytes) <= BATCH_BYTES));
            out.extend(batch);
        }
        prop_assert_eq!(out.len(), writes.len());
        for share in Share::ALL {
            for name in 0..12 {
                let key = Key::new("r", "", name.to_string());
                let order: Vec<usize> = out
                    .iter()
                    .filter(|write| write.share == share && write.key == key)
                    .map(|write| write.at)
                    .collect();
                prop_assert!(order.is_sorted(), "{order:?}");
            }
        }
    }

    /// A write waits for its own share only: with `before` of its own ahead it is out after so many batches, whatever the others bring.
    #[test]
    fn nobody_waits_for_the_storm_of_another(before in 0_usize..150, storm in 128_usize..300) {
        let mut turns = Turns::default();
        let mut at = 0;
        let mut fresh = |share| {
            at += 1;
            one(at, share, &at.to_string(), 4, 100)
        };
        for _ in 0..before {
            let write = fresh(Share::Agents);
            turns.push(Share::Agents, write);
        }
        let mine = fresh(Share::Agents);
        turns.push(Share::Agents, mine.clone());
        let mut batches = 0;
        loop {
            // The storm never ends.
            for share in [Share::Users, Share::Hub] {
                for _ in 0..storm {
                    let write = fresh(share);
                    turns.push(share, write);
                }
            }
            batches += 1;
            if turns.take().contains(&mine) {
                break;
            }
        }
        // A third of 128 objects each time.
        prop_assert!(batches <= before / 42 + 1, "{batches} batches with {before} before it");
    }
}
