//! The real agent, as a process.

use std::{net::SocketAddr, path::Path, process::ExitStatus, time::Duration};

use anyhow::Context;

use crate::{
    process::{Process, Program},
    tools::binary,
};

/// What an agent is started with.
#[derive(Clone, Copy, Debug)]
pub struct Join<'a> {
    /// The name that the cluster asks for on the hub.
    pub cluster: &'a str,
    /// Kubeconfig of the member cluster.
    pub kubeconfig: &'a Path,
    /// Where the hub listens for agents, perhaps through a proxy.
    pub hub: SocketAddr,
    /// The join token; without one the agent must hold an identity already.
    pub token: Option<&'a str>,
    /// Folder for its log.
    pub dir: &'a Path,
    /// More flags.
    pub flags: &'a [String],
}

/// An agent that can be killed and started again.
#[derive(Debug)]
pub struct Klusterlet {
    program: Program,
    process: Option<Process>,
}

impl Klusterlet {
    /// Starts an agent. It enrols and connects by itself; wait on the hub for that.
    ///
    /// # Errors
    /// When the binary was not built.
    pub fn start(join: Join<'_>) -> anyhow::Result<Self> {
        let mut klusterlet = Self::prepare(join)?;
        klusterlet.restart()?;
        Ok(klusterlet)
    }

    /// Decides the flags without starting anything.
    ///
    /// # Errors
    /// When the binary was not built.
    pub fn prepare(join: Join<'_>) -> anyhow::Result<Self> {
        let Join {
            cluster,
            kubeconfig,
            hub,
            token,
            dir,
            flags,
        } = join;
        std::fs::create_dir_all(dir)?;
        let mut program = Program::new("klusterlet", binary("koinon-klusterlet")?, dir).args([
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--cluster-name={cluster}"),
            format!("--hub-address={hub}"),
            "--health-listen=127.0.0.1:0".to_owned(),
        ]);
        program = program.args(flags.iter().cloned());
        if let Some(token) = token {
            // On the command line every user of the machine could read it.
            program = program.env("KOINON_BOOTSTRAP_TOKEN", token);
        }
        Ok(Self {
            program,
            process: None,
        })
    }

    pub fn log(&self) -> &Path {
        &self.program.log
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The running process, for signals.
    ///
    /// # Errors
    /// When it was not started.
    pub fn process(&mut self) -> anyhow::Result<&mut Process> {
        self.process.as_mut().context("the agent was not started")
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// When it does not stop.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let mut process = self.process.take().context("the agent was not started")?;
        process.terminate(Duration::from_secs(30)).await
    }

    /// Starts it again with the same flags.
    ///
    /// # Errors
    /// When it cannot be executed.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.process = Some(self.program.spawn()?);
        Ok(())
    }
}
