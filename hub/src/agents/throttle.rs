//! Who fails too often has to wait.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Failures that a peer may have in a row.
const BURST: u32 = 20;
/// How often one of them is forgiven.
const FORGIVE: Duration = Duration::from_secs(3);
/// Peers remembered; above it, those who have been forgiven most are forgotten.
const PEERS: usize = 4096;

/// Counts failed attempts per peer. Success costs nothing, so a fleet behind one address can enrol at once.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<HashMap<IpAddr, Failures>>);

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    since: Instant,
}

impl Failures {
    fn at(self, now: Instant) -> Self {
        let forgiven =
            u32::try_from((now - self.since).as_secs() / FORGIVE.as_secs()).unwrap_or(u32::MAX);
        Self {
            count: self.count.saturating_sub(forgiven),
            since: self.since + FORGIVE * forgiven.min(self.count),
        }
    }
}

impl Throttle {
    /// Says whether the peer may try.
    pub(super) fn admits(&self, peer: IpAddr) -> bool {
        let now = Instant::now();
        self.0
            .lock()
            .get(&network(peer))
            .is_none_or(|failures| failures.at(now).count < BURST)
    }

    /// Takes note of a failure.
    pub(super) fn failed(&self, peer: IpAddr) {
        let now = Instant::now();
        let mut peers = self.0.lock();
        if peers.len() >= PEERS {
            peers.retain(|_, failures| failures.at(now).count > 0);
        }
        if peers.len() >= PEERS {
            // All still count: rather forget them than refuse everybody.
            peers.clear();
        }
        let failures = peers.entry(network(peer)).or_insert(Failures {
            count: 0,
            since: now,
        });
        let before = failures.at(now);
        *failures = Failures {
            count: before.count.saturating_add(1).min(BURST * 2),
            since: if before.count == 0 { now } else { before.since },
        };
    }
}

/// One IPv6 customer has a /64 at least: its addresses count as one peer.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_fails_waits_and_is_forgiven() {
        let throttle = Throttle::default();
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..BURST {
            assert!(throttle.admits(peer));
            throttle.failed(peer);
        }
        assert!(!throttle.admits(peer));
        assert!(
            throttle.admits("192.0.2.2".parse().unwrap()),
            "others are not concerned"
        );
        tokio::time::advance(FORGIVE).await;
        assert!(throttle.admits(peer));
    }

    #[test]
    fn addresses_of_one_network_are_one_peer() {
        assert_eq!(
            network("2001:db8::1".parse().unwrap()),
            network("2001:db8::ffff".parse().unwrap())
        );
        assert_ne!(
            network("2001:db8::1".parse().unwrap()),
            network("2001:db8:0:1::1".parse().unwrap())
        );
        assert_eq!(
            network("::ffff:192.0.2.1".parse().unwrap()),
            network("192.0.2.1".parse().unwrap())
        );
    }
}
