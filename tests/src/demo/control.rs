//! How the commands in the foreground talk to the supervisor: one line of JSON
//! each way, over a socket in the state folder.

use std::{
    os::unix::net::UnixStream as StdStream,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

use crate::demo::Refused;

pub(super) const SOCKET: &str = "control";

/// What the supervisor can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ask {
    /// Start the hub and wait until it is ready.
    Hub,
    /// Start a member cluster and wait until it serves.
    Member { cluster: String, memory: String },
    /// Start the agent of a member cluster.
    Agent { cluster: String, token: String },
    /// The demo is complete: from now on it goes on without its first caller.
    Ready,
    /// Kill a cluster's agent and control plane.
    Lose { cluster: String },
    /// Start them again.
    Return { cluster: String },
    /// What there is.
    Status,
    /// End everything.
    Stop,
}

/// What there is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Status {
    pub(super) hub_kubeconfig: PathBuf,
    pub(super) hub_agent_address: String,
    pub(super) clusters: Vec<ClusterStatus>,
}

/// One cluster as the supervisor knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ClusterStatus {
    pub(super) name: String,
    pub(super) kubeconfig: PathBuf,
    pub(super) lost: bool,
}

/// An answer: the status after the command, or why it failed.
pub(super) type Answer = Result<Status, String>;

/// A connection to the supervisor.
#[derive(Debug)]
pub(super) struct Control {
    stream: BufReader<UnixStream>,
}

impl Control {
    /// Connects to the supervisor of a running demo.
    ///
    /// # Errors
    /// [`Refused::NotRunning`] when there is none.
    pub(super) fn connect(folder: &Path) -> anyhow::Result<Self> {
        // A socket's path may have 107 bytes; by way of /proc any folder fits.
        let Ok(open) = std::fs::File::open(folder) else {
            bail!(Refused::NotRunning)
        };
        let Ok(stream) = StdStream::connect(short(&open)) else {
            bail!(Refused::NotRunning)
        };
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: BufReader::new(UnixStream::from_std(stream)?),
        })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// When the supervisor fails at it, or is gone.
    pub(super) async fn ask(&mut self, ask: &Ask) -> anyhow::Result<Status> {
        let mut line = serde_json::to_string(ask)?;
        line.push('\n');
        self.stream
            .write_all(line.as_bytes())
            .await
            .context("the supervisor is gone")?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer).await?;
        if answer.is_empty() {
            bail!("the supervisor of the demo ended; see supervisor.log in the state folder");
        }
        serde_json::from_str::<Answer>(&answer)?.map_err(|said| anyhow!(said))
    }
}

/// A path to the socket that is short wherever the folder is.
pub(super) fn short(folder: &std::fs::File) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))
}
