//! Wakes crowds of followers, a round at a time.
//!
//! A few are told of a change at once, by the writer. To wake a thousand for each change would hold up the writer, and each of them would
//! be sent every event in a packet of its own, a hundred thousand packets for a hundred changes. So crowds are woken by a task,
//! which gives every round about the time that it takes: the first change after a rest goes out at once, and under load
//! several events go together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch as signal},
    time::sleep,
};

use crate::key::Revision;

/// So many are told by the writer itself.
const FEW: usize = 32;
/// What a follower is given before the next round: about what it takes to send it an event.
const EACH: Duration = Duration::from_micros(5);
/// No round is given more: this is how late an event may be.
const LONGEST: Duration = Duration::from_millis(50);

/// Followers of the same thing.
#[derive(Debug)]
pub(super) struct Circle {
    /// Revision of the last event in it. The value is always the newest; that it has changed is told when they are woken.
    revision: signal::Sender<Revision>,
    /// Whether the crier has been told of it.
    listed: AtomicBool,
}

impl Circle {
    pub(super) fn new(revision: Revision) -> Self {
        Self {
            revision: signal::Sender::new(revision),
            listed: AtomicBool::new(false),
        }
    }

    pub(super) fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    pub(super) fn join(&self) -> signal::Receiver<Revision> {
        self.revision.subscribe()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.revision.receiver_count() == 0
    }

    /// Tells of an event: now, or in the crier's next round.
    pub(super) fn tell(self: &Arc<Self>, to: Revision, crier: &Crier) {
        if self.revision.receiver_count() <= FEW {
            self.revision.send_replace(to);
            return;
        }
        self.revision.send_if_modified(|revision| {
            *revision = to;
            false
        });
        if !self.listed.swap(true, SeqCst) {
            crier.due.lock().push(Arc::clone(self));
            crier.called.notify_one();
        }
    }

    /// Wakes all, whether there is anything new or not.
    pub(super) fn wake(&self) {
        self.revision.send_modify(|_| {});
    }
}

/// Whom to wake in the next round.
#[derive(Debug, Default)]
pub(crate) struct Crier {
    due: Mutex<Vec<Arc<Circle>>>,
    called: Notify,
}

impl Crier {
    /// Wakes them, round after round. Never ends.
    pub(crate) async fn run(&self) {
        loop {
            self.called.notified().await;
            let woken = u32::try_from(self.cry()).unwrap_or(u32::MAX);
            sleep(EACH.saturating_mul(woken).min(LONGEST)).await;
        }
    }

    /// One round; says how many were woken.
    fn cry(&self) -> usize {
        let due = std::mem::take(&mut *self.due.lock());
        let mut woken = 0;
        for circle in due {
            // First: what is told from now on may be overlooked by those who are woken here.
            circle.listed.store(false, SeqCst);
            circle.wake();
            woken += circle.revision.receiver_count();
        }
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(size: usize) -> (Arc<Circle>, Vec<signal::Receiver<Revision>>) {
        let circle = Arc::new(Circle::new(Revision(0)));
        let followers = (0..size).map(|_| circle.join()).collect();
        (circle, followers)
    }

    fn woken(followers: &mut [signal::Receiver<Revision>]) -> usize {
        let woken = |one: &mut signal::Receiver<Revision>| {
            let woken = one.has_changed().unwrap();
            one.mark_unchanged();
            woken
        };
        followers
            .iter_mut()
            .map(woken)
            .filter(|woken| *woken)
            .count()
    }

    #[test]
    fn a_few_are_told_at_once_and_a_crowd_in_a_round() {
        let crier = Crier::default();
        let (small, mut few) = circle(FEW);
        small.tell(Revision(1), &crier);
        assert_eq!(woken(&mut few), FEW);
        assert_eq!(crier.cry(), 0);

        let (large, mut many) = circle(FEW + 1);
        for revision in 1..=3 {
            large.tell(Revision(revision), &crier);
        }
        assert_eq!(woken(&mut many), 0);
        // Who looks sees it all the same.
        assert!(many.iter().all(|one| *one.borrow() == Revision(3)));
        assert_eq!(crier.cry(), FEW + 1);
        assert_eq!(woken(&mut many), FEW + 1);
        assert_eq!(crier.cry(), 0);
        large.tell(Revision(4), &crier);
        assert_eq!(crier.cry(), FEW + 1);
        assert_eq!(woken(&mut many), FEW + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_goes_out_at_once_after_a_rest_and_takes_its_time_under_load() {
        let crier = Arc::new(Crier::default());
        let (circle, mut many) = circle(1000);
        let task = tokio::spawn({
            let crier = Arc::clone(&crier);
            async move { crier.run().await }
        });
        let began = tokio::time::Instant::now();
        circle.tell(Revision(1), &crier);
        many[0].changed().await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        // Nine more while the first round is being sent are one round.
        for revision in 2..=10 {
            circle.tell(Revision(revision), &crier);
            tokio::task::yield_now().await;
        }
        assert!(!many[0].has_changed().unwrap());
        many[0].changed().await.unwrap();
        assert_eq!(*many[0].borrow_and_update(), Revision(10));
        assert!(began.elapsed() >= EACH * 1000);
        task.abort();
    }
}
