//! Writes waiting for their turn: bounded in number and bytes, in order per key.
//!
//! Users, the hub's controllers and agents wait for their own: each has places and room that the others cannot take, and a share of each
//! batch. So a storm of one delays itself.

mod turns;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout_at},
};

use self::turns::Turns;
use crate::{
    key::{Digest, Key},
    mutation::{Change, Mutation, Share, Unavailable, WriteError, Written},
    seal::{SealError, Sealed, Sealer},
};

pub(crate) type Outcome = Result<Written, WriteError>;

/// One mutation on its way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) mutation: Mutation,
    /// Digest of the draft's body; computed by the caller, so that the lane does not have to.
    pub(crate) digest: Digest,
    /// Whether that is the body of the state to be replaced, so that there is none to write.
    pub(crate) keeps_body: bool,
    /// How the draft is stored, if not as it is.
    pub(crate) sealed: Option<Sealed>,
    /// How the status is stored, if not as it is.
    pub(crate) status: Option<Bytes>,
    pub(crate) deadline: Instant,
    reply: Reply,
}

/// Whom to answer, and the place that was taken until then.
#[derive(Debug)]
pub(crate) struct Reply {
    sender: oneshot::Sender<Outcome>,
    _slot: OwnedSemaphorePermit,
    _room: OwnedSemaphorePermit,
}

impl turns::Write for Job {
    fn key(&self) -> &Key {
        self.mutation.change.key()
    }

    fn weight(&self) -> usize {
        weight_of(&self.mutation.change)
    }

    fn bytes(&self) -> usize {
        size(&self.mutation.change)
    }
}

impl Reply {
    /// Answers the caller; one that has gone away does not mind.
    pub(crate) fn send(self, outcome: Outcome) {
        let _ = self.sender.send(outcome);
    }
}

impl Job {
    pub(crate) fn key(&self) -> &Key {
        self.mutation.change.key()
    }

    /// Answers the caller.
    pub(crate) fn answer(self, outcome: Outcome) {
        self.reply.send(outcome);
    }

    /// What is asked for, the digest of its body, and whom to answer.
    pub(crate) fn into_parts(self) -> (Mutation, Digest, Reply) {
        (self.mutation, self.digest, self.reply)
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    jobs: Mutex<Turns<Job>>,
    arrived: Notify,
    places: [Places; Share::ALL.len()],
    closed: AtomicBool,
    sealer: Sealer,
    /// Bodies above this are stored once.
    share_above: usize,
}

/// What the waiting writes of one share may take.
#[derive(Debug)]
struct Places {
    slots: Arc<Semaphore>,
    /// In KiB.
    room: Arc<Semaphore>,
    room_total: u32,
}

impl Queue {
    /// A queue for `limit` writes of `bytes` in all: half for users, a quarter for each of the others.
    pub(crate) fn new(limit: usize, bytes: usize, sealer: Sealer, share_above: usize) -> Self {
        let places = Share::ALL.map(|share| {
            let part = |all: usize| all / if share == Share::Users { 2 } else { 4 };
            let room_total = u32::try_from(part(bytes) / 1024).unwrap_or(u32::MAX).max(1);
            Places {
                slots: Arc::new(Semaphore::new(part(limit).max(1))),
                room: Arc::new(Semaphore::new(room_total as usize)),
                room_total,
            }
        });
        Self {
            jobs: Mutex::default(),
            arrived: Notify::new(),
            places,
            closed: AtomicBool::new(false),
            sealer,
            share_above,
        }
    }

    /// Enters a mutation, waiting for room until `deadline`. `kept` is the digest of a body that stays as it is.
    pub(crate) async fn push(
        &self,
        mutation: Mutation,
        kept: Option<Digest>,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Outcome>, Unavailable> {
        let share = mutation.share;
        let places = &self.places[share as usize];
        let kib = u32::try_from(size(&mutation.change).div_ceil(1024))
            .unwrap_or(u32::MAX)
            .clamp(1, places.room_total);
        let admitted = timeout_at(deadline, async {
            let slot = places.slots.clone().acquire_owned().await;
            let room = places.room.clone().acquire_many_owned(kib).await;
            slot.and_then(|slot| Ok((slot, room?)))
        });
        let (slot, room) = match admitted.await {
            Ok(Ok(admitted)) => admitted,
            Ok(Err(_)) => return Err(Unavailable::new("the hub is shutting down")),
            Err(_) => return Err(Unavailable::new("too many writes are waiting")),
        };
        let failed = |error: SealError| Unavailable::new(error.to_string());
        let status = match &mutation.change {
            Change::Create(draft) | Change::Replace { draft, .. } => &draft.status,
            Change::Status { status, .. } => status,
            Change::Delete { .. } => &Bytes::new(),
        };
        let status = self.sealer.seal_status(mutation.change.key(), status);
        let status = status.map_err(failed)?;
        let (digest, sealed, keeps_body) = match &mutation.change {
            Change::Create(draft) | Change::Replace { draft, .. } => {
                let sealed = self.sealer.seal_draft(draft, self.share_above);
                let sealed = sealed.map_err(failed)?;
                match (&sealed, kept) {
                    // The same body may have to be sealed now that was not before.
                    (None, Some(digest)) => (digest, None, true),
                    _ => (Digest::of(&draft.body), sealed, false),
                }
            }
            Change::Status { .. } | Change::Delete { .. } => (Digest([0; 32]), None, false),
        };
        let (reply, answer) = oneshot::channel();
        let job = Job {
            mutation,
            digest,
            keeps_body,
            sealed,
            status,
            deadline,
            reply: Reply {
                sender: reply,
                _slot: slot,
                _room: room,
            },
        };
        let mut jobs = self.jobs.lock();
        if self.closed.load(Ordering::Relaxed) {
            return Err(Unavailable::new("the hub is shutting down"));
        }
        jobs.push(share, job);
        drop(jobs);
        self.arrived.notify_one();
        Ok(answer)
    }

    /// Bodies above this are stored once for all objects that have them.
    pub(crate) fn share_above(&self) -> usize {
        self.share_above
    }

    /// Waits until there is something to take.
    pub(crate) async fn filled(&self) {
        while self.jobs.lock().len() == 0 {
            self.arrived.notified().await;
        }
    }

    /// Takes the next batch: the oldest jobs of each share, of each key the first one only.
    pub(crate) fn take(&self) -> Vec<Job> {
        self.jobs.lock().take()
    }

    /// Takes the jobs that have waited too long.
    pub(crate) fn expired(&self, now: Instant) -> Vec<Job> {
        self.jobs.lock().extract(|job| job.deadline <= now)
    }

    /// Takes all.
    pub(crate) fn rest(&self) -> Vec<Job> {
        self.jobs.lock().extract(|_| true)
    }

    /// Accepts nothing more; what is queued stays.
    pub(crate) fn close(&self) {
        let _jobs = self.jobs.lock();
        self.closed.store(true, Ordering::Relaxed);
        for places in &self.places {
            places.slots.close();
            places.room.close();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.lock().len()
    }
}

fn weight_of(change: &Change) -> usize {
    match change {
        Change::Status { .. } => 1,
        Change::Create(_) | Change::Replace { .. } | Change::Delete { .. } => 4,
    }
}

fn size(change: &Change) -> usize {
    match change {
        Change::Create(draft) | Change::Replace { draft, .. } => {
            draft.metadata.len() + draft.body.len() + draft.status.len()
        }
        Change::Status { status, .. } => status.len(),
        Change::Delete { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;

    fn status(name: &str) -> Mutation {
        Change::Status {
            key: Key::new("r", "", name),
            uid: Uuid::nil(),
            status: Bytes::new(),
            expected: None,
        }
        .into()
    }

    fn delete(name: &str) -> Mutation {
        Change::Delete {
            key: Key::new("r", "", name),
            uid: None,
            expected: None,
        }
        .into()
    }

    async fn filled(mutations: impl IntoIterator<Item = Mutation>) -> Queue {
        let queue = Queue::new(4000, 1 << 21, Sealer::default(), 2048);
        for mutation in mutations {
            queue
                .push(mutation, None, Instant::now() + Duration::from_secs(10))
                .await
                .unwrap();
        }
        queue
    }

    fn names(batch: &[Job]) -> Vec<&str> {
        batch.iter().map(|job| &*job.key().name).collect()
    }

    #[tokio::test]
    async fn a_second_write_to_a_key_waits_for_the_next_batch_in_order() {
        let queue = filled([status("a"), delete("a"), status("b"), status("a")]).await;
        let first = queue.take();
        assert_eq!(names(&first), ["a", "b"]);
        let second = queue.take();
        assert_eq!(names(&second), ["a"]);
        assert!(matches!(second[0].mutation.change, Change::Delete { .. }));
        assert!(matches!(
            queue.take()[0].mutation.change,
            Change::Status { .. }
        ));
        assert_eq!(queue.len(), 0);
    }

    #[tokio::test]
    async fn a_batch_holds_512_statuses_or_128_others() {
        let queue = filled((0..600).map(|i| status(&i.to_string()))).await;
        assert_eq!(queue.take().len(), 512);
        let queue = filled((0..600).map(|i| delete(&i.to_string()))).await;
        assert_eq!(queue.take().len(), 128);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_says_so_and_others_have_places_of_their_own() {
        let queue = Queue::new(2, 1 << 20, Sealer::default(), 2048);
        let deadline = Instant::now() + Duration::from_secs(1);
        let _first = queue.push(status("a"), None, deadline).await.unwrap();
        let refused = queue.push(status("b"), None, deadline).await.unwrap_err();
        assert_eq!(refused, Unavailable::new("too many writes are waiting"));
        let deadline = Instant::now() + Duration::from_secs(1);
        let agent = Mutation {
            share: Share::Agents,
            ..status("c")
        };
        let _agent = queue.push(agent, None, deadline).await.unwrap();
        assert_eq!(names(&queue.take()), ["a", "c"]);
        let _third = queue.push(status("d"), None, deadline).await.unwrap();
        assert_eq!(queue.expired(deadline).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_of_a_storm_leave_room_for_others() {
        let queue = Queue::new(100, 4 << 20, Sealer::default(), 2048);
        let deadline = Instant::now() + Duration::from_secs(1);
        let large = |name: &str| {
            let change = Change::Status {
                key: Key::new("r", "", name),
                uid: Uuid::nil(),
                status: vec![b' '; 2 << 20].into(),
                expected: None,
            };
            Mutation::from(change)
        };
        let _first = queue.push(large("a"), None, deadline).await.unwrap();
        assert!(queue.push(status("b"), None, deadline).await.is_err());
        let deadline = Instant::now() + Duration::from_secs(1);
        for share in [Share::Agents, Share::Hub] {
            let other = Mutation {
                share,
                ..status("c")
            };
            queue.push(other, None, deadline).await.unwrap();
        }
    }
}
