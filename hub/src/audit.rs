//! Who did what, when, from where, and what came of it.
//!
//! ```text
//!   request ─► policy (pure): how much? ─► event ─► queue ─► writer ─► hash chain ─► file, table
//! ```
//!
//! An event is written after the answer, so it costs the request a place in a queue and nothing else. The queue is
//! bounded, in events and in bytes of bodies. When it is full, because no sink takes anything, events are counted and the next record
//! says how many are missing; with `--audit-strict` changes are refused instead. What was refused has a small share of its own, so that nobody
//! hides what is done behind what is not. A crash of the hub takes what is in the queue with it.

mod event;
mod lines;
mod policy;
mod recording;
mod redact;
mod writer;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Duration, Instant},
};

pub use self::{
    event::{Happened, Outcome},
    policy::{Level, Policy},
    recording::Recording,
    redact::redact,
    writer::{Sinks, Writer},
};
use crate::auth::{AUTHENTICATED, User};

/// Events that wait for the writer: a second of a busy hub.
const QUEUE: usize = 8_192;
/// Refusals that are recorded one by one in a second; of more there is a number.
const REFUSALS: u32 = 50;
/// And in an hour: what is refused for days must not fill the registry.
const REFUSALS_AN_HOUR: u32 = 10_000;
/// Bytes of bodies that wait with them.
const BODIES: usize = 32 << 20;

/// What becomes of a change whose record cannot be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It happens, and the log says that records are missing.
    #[default]
    Count,
    /// It does not happen.
    Refuse,
}

/// Takes events. Cheap to clone.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    policy: Policy,
    when_full: WhenFull,
    queue: mpsc::Sender<Waiting>,
    bodies: Arc<Semaphore>,
    untold: Arc<Untold>,
    /// What is recorded of refusals: of those who showed a credential, and of all others.
    refusals: Mutex<[Share; 2]>,
}

/// How many refusals were recorded in this second and in this hour.
#[derive(Debug)]
struct Share {
    second: (Instant, u32),
    hour: (Instant, u32),
}

impl Share {
    fn new() -> Self {
        let begun = (Instant::now(), 0);
        Self {
            second: begun,
            hour: begun,
        }
    }

    /// Takes one more, if that is within the share.
    fn take(&mut self) -> bool {
        let now = Instant::now();
        for (window, length) in [(&mut self.second, 1), (&mut self.hour, 3600)] {
            if now - window.0 >= Duration::from_secs(length) {
                *window = (now, 0);
            }
        }
        let has = self.second.1 < REFUSALS && self.hour.1 < REFUSALS_AN_HOUR;
        if has {
            self.second.1 += 1;
            self.hour.1 += 1;
        }
        has
    }
}

/// What has no record of its own.
#[derive(Debug, Default)]
struct Untold {
    /// Events for which there was no place.
    lost: AtomicU64,
    /// Refusals beyond their share.
    refused: AtomicU64,
}

/// An event on its way to the writer.
#[derive(Debug)]
struct Waiting {
    event: Value,
    /// Room for its body, free when it is stored.
    room: Option<OwnedSemaphorePermit>,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

/// A place in the queue for one event.
#[derive(Debug)]
pub struct Slot {
    place: Option<mpsc::OwnedPermit<Waiting>>,
    room: Option<OwnedSemaphorePermit>,
}

/// No record can be taken, and the change may not go unrecorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Audit {
    /// Events by `policy`, and what writes them.
    pub fn new(policy: Policy, when_full: WhenFull, sinks: Sinks) -> (Self, Writer) {
        let (queue, events) = mpsc::channel(QUEUE);
        let untold = Arc::new(Untold::default());
        let writer = Writer::new(events, Arc::clone(&untold), sinks);
        let inner = Inner {
            policy,
            when_full,
            queue,
            bodies: Arc::new(Semaphore::new(BODIES)),
            untold,
            refusals: Mutex::new([Share::new(), Share::new()]),
        };
        (Self(Arc::new(inner)), writer)
    }

    /// By what is decided how much is recorded.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Keeps a place for an event, before it happens. `change` says whether it changes anything.
    ///
    /// # Errors
    ///
    /// When there is none and changes may not go unrecorded.
    pub fn reserve(&self, change: bool) -> Result<Slot, Full> {
        match self.0.queue.clone().try_reserve_owned() {
            Ok(permit) => Ok(Slot {
                place: Some(permit),
                room: None,
            }),
            Err(_) if change && self.0.when_full == WhenFull::Refuse => Err(Full),
            Err(_) => Ok(Slot {
                place: None,
                room: None,
            }),
        }
    }

    /// Keeps room for a body that takes so many bytes beside the place; says no when there is none.
    pub fn make_room(&self, slot: &mut Slot, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        slot.room = Arc::clone(&self.0.bodies)
            .try_acquire_many_owned(bytes)
            .ok();
        slot.room.is_some()
    }

    /// Hands on what was refused before it was looked at. Anybody can have much refused, so beyond a share of it only the number is kept;
    /// those whom nobody knows have a share of their own, and do not hide what is refused to others.
    pub fn refused(&self, user: &User, event: impl FnOnce() -> Value) {
        let room = self.0.queue.capacity() > QUEUE / 2;
        let known = usize::from(user.in_group(AUTHENTICATED));
        if !(room && self.0.refusals.lock()[known].take()) {
            self.refused_untold();
            return;
        }
        let waiting = Waiting {
            event: event(),
            room: None,
        };
        if self.0.queue.try_send(waiting).is_err() {
            self.refused_untold();
        }
    }

    /// Counts what was refused and has no record of its own.
    pub fn refused_untold(&self) {
        self.0.untold.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Hands an event to the writer.
    pub fn record(&self, slot: Slot, event: Value) {
        let Slot { place, room } = slot;
        match place {
            Some(permit) => drop(permit.send(Waiting { event, room })),
            None => {
                self.0.untold.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_bounded_and_what_is_lost_is_counted() {
        let policy = Policy::standard(Level::Request);
        let (audit, writer) = Audit::new(policy.clone(), WhenFull::Count, Sinks::default());
        let mut slots: Vec<Slot> = (0..QUEUE).map(|_| audit.reserve(true).unwrap()).collect();
        assert!(audit.make_room(&mut slots[0], BODIES));
        assert!(!audit.make_room(&mut slots[1], 1), "32 MiB wait already");
        let beyond = audit.reserve(true).unwrap();
        audit.record(beyond, Value::Null);
        assert_eq!(audit.0.untold.lost.load(Ordering::Relaxed), 1);
        for slot in slots.drain(..) {
            audit.record(slot, Value::Null);
        }
        drop(writer);
        assert_eq!(
            audit.0.bodies.available_permits(),
            BODIES,
            "all is free again"
        );

        let (audit, _writer) = Audit::new(policy.clone(), WhenFull::Refuse, Sinks::default());
        for _ in 0..QUEUE {
            audit.refused(&User::anonymous(), || Value::Null);
        }
        assert!(audit.0.queue.capacity() > QUEUE / 2, "refusals leave room");
        assert!(audit.0.untold.refused.load(Ordering::Relaxed) > 0);

        let (strict, _writer) = Audit::new(policy, WhenFull::Refuse, Sinks::default());
        let _all: Vec<Slot> = (0..QUEUE).map(|_| strict.reserve(true).unwrap()).collect();
        assert_eq!(strict.reserve(true).err(), Some(Full), "a change waits");
        assert!(strict.reserve(false).is_ok(), "a read does not");
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_have_a_share_of_each_second_and_of_each_hour() {
        let mut share = Share::new();
        let mut told = 0;
        for _ in 0..3600 {
            let before = told;
            told += (0..2 * REFUSALS).filter(|_| share.take()).count();
            assert!(told - before <= REFUSALS as usize);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(told, REFUSALS_AN_HOUR as usize);
        assert!(share.take(), "another hour");
    }

    #[tokio::test]
    async fn those_whom_nobody_knows_do_not_hide_what_is_refused_to_others() {
        let policy = Policy::standard(Level::Metadata);
        let (audit, _writer) = Audit::new(policy, WhenFull::Count, Sinks::default());
        for _ in 0..2 * REFUSALS {
            audit.refused(&User::anonymous(), || Value::Null);
        }
        let waiting = || QUEUE - audit.0.queue.capacity();
        let before = waiting();
        audit.refused(&User::hub(), || Value::Null);
        assert_eq!(waiting(), before + 1);
    }
}
