//! The demo: a supervisor in the background owns every process, a command in the
//! foreground tells what happens.
//!
//! ```text
//!   make demo ─► up ──starts──► supervise ─► hub, east, west, standby
//!                │ socket in the state folder ▲
//!                └─ "start the hub" … ────────┤
//!   make demo-lose ─► "lose east" ────────────┤
//!   make demo-stop ─► "stop" ─────────────────┘
//! ```
//!
//! The commands in the foreground use the hub as a user would: `koinon token
//! create`, `koinon accept`, `kubectl apply`. When the supervisor dies, even by
//! SIGKILL, everything it started dies with it.

mod control;
mod journey;
mod look;
mod say;
mod state;
mod supervisor;
mod up;

pub use self::{
    journey::{bring_back, lose, show},
    supervisor::supervise,
    up::{stop, up},
};

/// The clusters of the demo, and the memory of each: the smallest is the reserve.
const CLUSTERS: [(&str, &str); 3] = [("east", "16Gi"), ("west", "16Gi"), ("standby", "8Gi")];

/// A cluster of the demo counts as lost after five times this.
const LEASE_SECONDS: u32 = 2;

/// What a user did that cannot be done now; each has its own exit code.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("a demo is running already; `make demo-stop` ends it")]
    Running,
    #[error("no demo is running; `make demo` starts one")]
    NotRunning,
    #[error("there is no cluster {0:?}; say CLUSTER=east, CLUSTER=west or CLUSTER=standby")]
    UnknownCluster(String),
    #[error("cluster {0} is lost already; `make demo-return CLUSTER={0}` brings it back")]
    Lost(String),
    #[error("cluster {0} is not lost; `make demo-lose CLUSTER={0}` takes it away")]
    NotLost(String),
}

/// The exit code that an error deserves: 64 for a wrong command line, 3 for a
/// command that does not fit the state of the demo, 1 for everything else.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Refused>() {
        Some(Refused::UnknownCluster(_)) => 64,
        Some(_) => 3,
        None => 1,
    }
}

fn known(cluster: &str) -> Result<(), Refused> {
    CLUSTERS
        .iter()
        .any(|(name, _)| *name == cluster)
        .then_some(())
        .ok_or_else(|| Refused::UnknownCluster(cluster.to_owned()))
}
