//! Open connections, what goes on on them, and which is closed when there are too many.

use std::{net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    shares::{Id, Shares},
    tls::network,
};

/// The open connections of a port.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    most: usize,
    table: Arc<Mutex<Shares<IpAddr, Handle>>>,
}

#[derive(Debug)]
struct Handle {
    state: Arc<Mutex<State>>,
    hangup: CancellationToken,
}

/// One open connection; gives its place back when it is dropped.
#[derive(Debug)]
pub(super) struct Line {
    lines: Lines,
    id: Id,
    state: Arc<Mutex<State>>,
    hangup: CancellationToken,
}

/// What goes on on a connection.
#[derive(Debug)]
struct State {
    /// Requests whose answer has not ended.
    under_way: usize,
    /// Since when there are none.
    idle_since: Instant,
    used: bool,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Busy(Arc<Mutex<State>>);

impl Lines {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            // The bound is kept here: what goes is not the oldest, but who is idle.
            table: Arc::new(Mutex::new(Shares::new(usize::MAX, usize::MAX))),
        }
    }

    /// Adds a connection; closes an idle one if there are too many.
    pub(super) fn open(&self, from: IpAddr) -> Arc<Line> {
        let state = Arc::new(Mutex::new(State {
            under_way: 0,
            idle_since: Instant::now(),
            used: false,
        }));
        let hangup = CancellationToken::new();
        let mut table = self.table.lock();
        if table.len() >= self.most {
            let idle = |handle: &Handle| {
                let state = handle.state.lock();
                let closing = handle.hangup.is_cancelled();
                (state.under_way == 0 && !closing).then_some(state.idle_since)
            };
            let closed = table.least(idle).and_then(|id| table.remove(id));
            if let Some(closed) = closed {
                closed.hangup.cancel();
            }
        }
        let handle = Handle {
            state: Arc::clone(&state),
            hangup: hangup.clone(),
        };
        let (id, _) = table.add(network(from), handle);
        drop(table);
        Arc::new(Line {
            lines: self.clone(),
            id,
            state,
            hangup,
        })
    }
}

impl Line {
    /// A request begins.
    pub(super) fn busy(&self) -> Busy {
        let mut state = self.state.lock();
        state.under_way += 1;
        state.used = true;
        Busy(Arc::clone(&self.state))
    }

    /// Whether there was a request.
    pub(super) fn was_used(&self) -> bool {
        self.state.lock().used
    }

    /// Cancelling it closes the connection.
    pub(super) fn hangup(&self) -> CancellationToken {
        self.hangup.clone()
    }

    /// Ends when the connection has to be closed.
    pub(super) async fn hung_up(&self) {
        self.hangup.cancelled().await;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.lines.table.lock().remove(self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.under_way -= 1;
        if state.under_way == 0 {
            state.idle_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CROWD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_one_of_the_largest_crowd_makes_way() {
        let lines = Lines::new(5);
        let single = lines.open(OTHER);
        let mut crowd = Vec::new();
        for _ in 0..4 {
            tokio::time::advance(Duration::from_secs(1)).await;
            crowd.push(lines.open(CROWD));
        }
        let first = crowd[0].busy();
        let second = crowd[1].busy();
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(second);
        let closed = |line: &Arc<Line>| line.hangup.is_cancelled();
        let now_closed = |crowd: &[Arc<Line>]| crowd.iter().map(closed).collect::<Vec<_>>();
        let new = lines.open(OTHER);
        assert_eq!(now_closed(&crowd), [false, false, true, false]);
        let newer = lines.open(OTHER);
        assert_eq!(now_closed(&crowd), [false, false, true, true]);
        assert!(!closed(&single), "idle for longer, but not one of many");
        drop((first, new, newer, crowd, single));
        assert!(lines.table.lock().is_empty());
    }

    #[tokio::test]
    async fn busy_connections_are_not_closed() {
        let lines = Lines::new(1);
        let line = lines.open(CROWD);
        let busy = line.busy();
        let second = lines.open(OTHER);
        assert!(!line.hangup.is_cancelled());
        drop(busy);
        let _third = lines.open(OTHER);
        assert!(line.hangup.is_cancelled() || second.hangup.is_cancelled());
    }
}
