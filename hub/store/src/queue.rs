//! Writes waiting for their turn: bounded in number and bytes, in order per key.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    key::{Digest, Key},
    mutation::{Change, Mutation, Unavailable, WriteError, Written},
    seal::{Sealed, Sealer},
};

/// A batch is full at this weight: 128 objects, or 512 statuses.
const BATCH_WEIGHT: usize = 512;
/// …or at this many bytes, which keeps a few large bodies from holding up everybody for long.
const BATCH_BYTES: usize = 8 << 20;

pub(crate) type Outcome = Result<Written, WriteError>;

/// One mutation on its way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) mutation: Mutation,
    /// Digest of the draft's body; computed by the caller, so that the lane does not have to.
    pub(crate) digest: Digest,
    /// How the draft is stored, if not as it is.
    pub(crate) sealed: Option<Sealed>,
    pub(crate) deadline: Instant,
    pub(crate) reply: oneshot::Sender<Outcome>,
    _slot: OwnedSemaphorePermit,
    _room: OwnedSemaphorePermit,
}

impl Job {
    pub(crate) fn key(&self) -> &Key {
        self.mutation.change.key()
    }

    /// Answers the caller; one that has gone away does not mind.
    pub(crate) fn answer(self, outcome: Outcome) {
        let _ = self.reply.send(outcome);
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    arrived: Notify,
    slots: Arc<Semaphore>,
    /// In KiB.
    room: Arc<Semaphore>,
    room_total: u32,
    closed: AtomicBool,
    sealer: Sealer,
}

impl Queue {
    pub(crate) fn new(limit: usize, bytes: usize, sealer: Sealer) -> Self {
        let room_total = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).max(1);
        Self {
            jobs: Mutex::default(),
            arrived: Notify::new(),
            slots: Arc::new(Semaphore::new(limit)),
            room: Arc::new(Semaphore::new(room_total as usize)),
            room_total,
            closed: AtomicBool::new(false),
            sealer,
        }
    }

    /// Enters a mutation, waiting for room until `deadline`.
    pub(crate) async fn push(
        &self,
        mutation: Mutation,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Outcome>, Unavailable> {
        let kib = u32::try_from(size(&mutation.change).div_ceil(1024))
            .unwrap_or(u32::MAX)
            .clamp(1, self.room_total);
        let admitted = timeout_at(deadline, async {
            let slot = self.slots.clone().acquire_owned().await;
            let room = self.room.clone().acquire_many_owned(kib).await;
            slot.and_then(|slot| Ok((slot, room?)))
        });
        let (slot, room) = match admitted.await {
            Ok(Ok(admitted)) => admitted,
            Ok(Err(_)) => return Err(Unavailable::new("the hub is shutting down")),
            Err(_) => return Err(Unavailable::new("too many writes are waiting")),
        };
        let (digest, sealed) = match &mutation.change {
            Change::Create(draft) | Change::Replace { draft, .. } => {
                let sealed = self
                    .sealer
                    .seal_draft(draft)
                    .map_err(|error| Unavailable::new(error.to_string()))?;
                // The digest of a secret would be as good as the secret, where it can be guessed.
                let stored = sealed.as_ref().map_or(&draft.body, |sealed| &sealed.body);
                (Digest::of(stored), sealed)
            }
            Change::Status { .. } | Change::Delete { .. } => (Digest([0; 32]), None),
        };
        let (reply, answer) = oneshot::channel();
        let job = Job {
            mutation,
            digest,
            sealed,
            deadline,
            reply,
            _slot: slot,
            _room: room,
        };
        let mut jobs = self.jobs.lock();
        if self.closed.load(Ordering::Relaxed) {
            return Err(Unavailable::new("the hub is shutting down"));
        }
        jobs.push_back(job);
        drop(jobs);
        self.arrived.notify_one();
        Ok(answer)
    }

    /// Waits until there is something to take.
    pub(crate) async fn filled(&self) {
        while self.jobs.lock().is_empty() {
            self.arrived.notified().await;
        }
    }

    /// Takes the next batch: the oldest jobs, of each key the first one only.
    pub(crate) fn take(&self) -> Vec<Job> {
        let mut jobs = self.jobs.lock();
        let mut batch: Vec<Job> = Vec::new();
        let mut later = Vec::new();
        let mut keys = HashSet::new();
        let (mut weight, mut bytes) = (0, 0);
        while let Some(job) = jobs.pop_front() {
            if keys.contains(job.key()) {
                later.push(job);
                continue;
            }
            let job_bytes = size(&job.mutation.change);
            weight += weight_of(&job.mutation.change);
            bytes += job_bytes;
            if !batch.is_empty() && (weight > BATCH_WEIGHT || bytes > BATCH_BYTES) {
                jobs.push_front(job);
                break;
            }
            keys.insert(job.key().clone());
            batch.push(job);
        }
        for job in later.into_iter().rev() {
            jobs.push_front(job);
        }
        batch
    }

    /// Takes the jobs that have waited too long.
    pub(crate) fn expired(&self, now: Instant) -> Vec<Job> {
        let mut jobs = self.jobs.lock();
        if jobs.iter().all(|job| job.deadline > now) {
            return Vec::new();
        }
        let (expired, waiting) = std::mem::take(&mut *jobs)
            .into_iter()
            .partition(|job| job.deadline <= now);
        *jobs = waiting;
        Vec::from_iter::<VecDeque<Job>>(expired)
    }

    /// Takes all.
    pub(crate) fn rest(&self) -> Vec<Job> {
        self.jobs.lock().drain(..).collect()
    }

    /// Accepts nothing more; what is queued stays.
    pub(crate) fn close(&self) {
        let _jobs = self.jobs.lock();
        self.closed.store(true, Ordering::Relaxed);
        self.slots.close();
        self.room.close();
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

    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;

    fn status(name: &str) -> Mutation {
        Change::Status {
            key: Key::new("r", "", name),
            uid: Uuid::nil(),
            status: Bytes::new(),
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
        let queue = Queue::new(2000, 1 << 20, Sealer::default());
        for mutation in mutations {
            queue
                .push(mutation, Instant::now() + Duration::from_secs(10))
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
    async fn a_full_queue_says_so() {
        let queue = Queue::new(1, 1 << 20, Sealer::default());
        let deadline = Instant::now() + Duration::from_secs(1);
        let _first = queue.push(status("a"), deadline).await.unwrap();
        let refused = queue.push(status("b"), deadline).await.unwrap_err();
        assert_eq!(refused, Unavailable::new("too many writes are waiting"));
        assert_eq!(queue.expired(Instant::now()).len(), 1);
    }
}
