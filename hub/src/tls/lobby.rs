//! Who is in a handshake, and who has to make way.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::network;
use crate::shares::{Id, Shares};

/// Peers that have connected and not said anything.
pub(super) const SILENT: usize = 4096;
/// Peers that said hello and wait for a place; above it nothing is accepted, and the kernel's queue fills.
pub(super) const QUEUE: usize = 1024;
/// Handshakes in progress at once. A herd of 10,000 is through in 3 s with 64 of them, and in no less time with more;
/// the others are for peers that are far away.
pub(super) const PLACES: usize = 512;
/// How long a peer may hold a place that others wait for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Everybody in a handshake on one port.
#[derive(Debug)]
pub(super) struct Lobby {
    places: Arc<Semaphore>,
    guests: Mutex<Guests>,
}

#[derive(Debug)]
struct Guests {
    silent: Shares<IpAddr, CancellationToken>,
    queued: usize,
    /// Those who have a place, and since when.
    placed: BTreeMap<Id, (Instant, CancellationToken)>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Guest {
    lobby: Arc<Lobby>,
    id: Id,
    stage: Stage,
    thrown_out: CancellationToken,
    place: Option<OwnedSemaphorePermit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Silent,
    Queued,
    Placed,
}

impl Default for Lobby {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(PLACES)),
            guests: Mutex::new(Guests {
                silent: Shares::new(SILENT, SILENT),
                queued: 0,
                placed: BTreeMap::new(),
            }),
        }
    }
}

impl Lobby {
    /// Lets somebody in; whoever of those that are silent came first from where most come from goes, if they are too many.
    pub(super) fn enter(lobby: &Arc<Self>, from: IpAddr) -> Guest {
        let thrown_out = CancellationToken::new();
        let (id, gone) = lobby
            .guests
            .lock()
            .silent
            .add(network(from), thrown_out.clone());
        if let Some(gone) = gone {
            gone.cancel();
        }
        Guest {
            lobby: Arc::clone(lobby),
            id,
            stage: Stage::Silent,
            thrown_out,
            place: None,
        }
    }

    /// How many said hello and wait for a place.
    pub(super) fn queued(&self) -> usize {
        self.guests.lock().queued
    }

    /// Throws out those who have held a place for too long, if others wait for one.
    pub(super) fn hurry(&self) {
        let guests = self.guests.lock();
        if guests.queued == 0 || self.places.available_permits() > 0 {
            return;
        }
        let now = Instant::now();
        for (since, thrown_out) in guests.placed.values() {
            if now.duration_since(*since) > PATIENCE {
                thrown_out.cancel();
            }
        }
    }
}

impl Guest {
    /// Is cancelled when this one has to make way.
    pub(super) fn thrown_out(&self) -> CancellationToken {
        self.thrown_out.clone()
    }

    /// It has said hello, and is not thrown out for the next one any more.
    pub(super) fn said_hello(&mut self) {
        let mut guests = self.lobby.guests.lock();
        guests.silent.remove(self.id);
        guests.queued += 1;
        self.stage = Stage::Queued;
    }

    /// Waits for a place, and takes it until it is dropped.
    pub(super) async fn takes_place(&mut self) {
        // The semaphore is never closed.
        self.place = Arc::clone(&self.lobby.places).acquire_owned().await.ok();
        let mut guests = self.lobby.guests.lock();
        guests.queued -= 1;
        let since = (Instant::now(), self.thrown_out.clone());
        guests.placed.insert(self.id, since);
        self.stage = Stage::Placed;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut guests = self.lobby.guests.lock();
        match self.stage {
            Stage::Silent => drop(guests.silent.remove(self.id)),
            Stage::Queued => guests.queued -= 1,
            Stage::Placed => drop(guests.placed.remove(&self.id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn silent_peers_make_way_for_those_who_come_after_them() {
        let lobby = Arc::new(Lobby::default());
        let other = Lobby::enter(&lobby, OTHER);
        let mut guests: Vec<Guest> = (0..3 * SILENT).map(|_| Lobby::enter(&lobby, ONE)).collect();
        let out = |guest: &Guest| guest.thrown_out.is_cancelled();
        assert!(!out(&other), "another network is not concerned");
        let left = guests.iter().filter(|guest| !out(guest)).count();
        assert_eq!(left, SILENT - 1);
        let last = guests.last_mut().unwrap();
        last.said_hello();
        let more: Vec<Guest> = (0..SILENT).map(|_| Lobby::enter(&lobby, ONE)).collect();
        assert!(!out(guests.last().unwrap()), "who said hello stays");
        drop((guests, more, other));
        let guests = lobby.guests.lock();
        assert_eq!((guests.silent.len(), guests.queued), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_answers_slowly_keeps_a_place_only_while_nobody_wants_it() {
        let lobby = Arc::new(Lobby::default());
        let mut slow = Vec::new();
        for _ in 0..PLACES {
            let mut guest = Lobby::enter(&lobby, ONE);
            guest.said_hello();
            guest.takes_place().await;
            slow.push(guest);
        }
        lobby.hurry();
        assert!(!slow[0].thrown_out.is_cancelled(), "it has only come");
        tokio::time::advance(2 * PATIENCE).await;
        drop(slow.pop());
        let mut next = Lobby::enter(&lobby, OTHER);
        next.said_hello();
        next.takes_place().await;
        lobby.hurry();
        assert!(!slow[0].thrown_out.is_cancelled(), "nobody wants it");
        let mut another = Lobby::enter(&lobby, OTHER);
        another.said_hello();
        lobby.hurry();
        assert!(slow.iter().all(|guest| guest.thrown_out.is_cancelled()));
        assert!(!next.thrown_out.is_cancelled());
    }
}
