//! Connections on the agent port: how many of whom, and for how long.
//!
//! An agent needs one, and another while it reconnects; one without a certificate can do nothing but enrol, which takes a
//! moment. So neither a compromised agent nor a stranger can hold the connections that others need (P12).

use std::{hash::Hash, net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    shares::{Id, Shares},
    tls::{Conn, network},
};

/// Connections without a certificate.
const STRANGERS: usize = 2048;
/// How long one of them lasts; an agent that enrols gives up after half of it.
const STRANGER_LIFE: Duration = Duration::from_secs(60);
/// Connections of one cluster.
const PER_CLUSTER: usize = 16;

/// The connections of this port.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    strangers: Table<IpAddr>,
    agents: Table<String>,
}

type Table<K> = Arc<Mutex<Shares<K, CancellationToken>>>;

impl Default for Crowd {
    fn default() -> Self {
        Self {
            strangers: table(STRANGERS, STRANGERS),
            agents: table(usize::MAX, PER_CLUSTER),
        }
    }
}

fn table<K: Clone + Eq + Hash>(most: usize, per_owner: usize) -> Table<K> {
    Arc::new(Mutex::new(Shares::new(most, per_owner)))
}

impl Crowd {
    /// Takes a connection in, at the expense of another one if there are too many.
    pub(super) fn admit(&self, conn: Conn) -> Conn {
        let peer = conn.peer();
        if let Some(agent) = peer.agent() {
            let ends = enter(&self.agents, agent.subject.cluster.clone());
            conn.ending(ends)
        } else {
            let ends = enter(&self.strangers, network(peer.address.ip()));
            conn.ending(async {
                // It does not matter which of the two it is.
                let _ = tokio::time::timeout(STRANGER_LIFE, ends).await;
            })
        }
    }
}

/// Adds a connection of `owner`; what is returned ends when it has to go, and gives the place back when it is dropped.
fn enter<K>(table: &Table<K>, owner: K) -> impl Future<Output = ()> + Send + 'static
where
    K: Clone + Eq + Hash + Send + 'static,
{
    let gone = CancellationToken::new();
    let (id, other) = table.lock().add(owner, gone.clone());
    if let Some(other) = other {
        other.cancel();
    }
    let place = Place {
        table: Arc::clone(table),
        id,
    };
    async move {
        let _place = place;
        gone.cancelled().await;
    }
}

struct Place<K: Clone + Eq + Hash> {
    table: Table<K>,
    id: Id,
}

impl<K: Clone + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        self.table.lock().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_cluster_loses_its_oldest_connection_and_gives_places_back() {
        let agents = table(usize::MAX, 2);
        let east = || "east".to_owned();
        let (mut first, second) = (enter(&agents, east()).boxed(), enter(&agents, east()));
        assert_eq!((&mut first).now_or_never(), None);
        let west = enter(&agents, "west".to_owned());
        let third = enter(&agents, east());
        assert_eq!(first.now_or_never(), Some(()));
        assert_eq!(west.now_or_never(), None, "others are not concerned");
        drop((second, third));
        assert!(agents.lock().is_empty());
    }
}
