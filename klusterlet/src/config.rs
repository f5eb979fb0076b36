//! Validated settings.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    feedback::RawJson,
    hub::HubAddress,
    identity::TokenSource,
    report::Claiming,
    work::{Allowance, Executing},
};

/// Everything that the agent is told from outside.
#[derive(Debug, Clone)]
pub struct Config {
    /// Kubeconfig of the member; in-cluster settings if absent.
    pub kubeconfig: Option<PathBuf>,
    /// The hub.
    pub hub_address: HubAddress,
    /// Name of the cluster on the hub.
    pub cluster_name: String,
    /// Name of the agent.
    pub agent_id: String,
    /// The join token; not needed once enrolled.
    pub token: Option<TokenSource>,
    /// Namespace of the agent in the member.
    pub namespace: String,
    /// Where health and metrics are served; nowhere if absent.
    pub health_listen: Option<SocketAddr>,
    /// Period of the slow resync.
    pub resync_period: Duration,
    /// Whether feedback may be structures.
    pub raw_json: RawJson,
    /// How much may be deleted without being asked for twice.
    pub allowance: Allowance,
    /// Which claims are told.
    pub claiming: Claiming,
    /// How works with an executor are applied, and those without.
    pub executing: Executing,
    /// After how long works that the hub does not know are evicted; never if absent.
    pub eviction_grace: Option<Duration>,
}
