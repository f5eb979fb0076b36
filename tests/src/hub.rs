//! The real hub, as a process.

use std::{
    ffi::OsString,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context, ensure};
use kube::Client;

use crate::{
    client::client,
    eventually::{START, eventually_within},
    http,
    kubectl::Kubectl,
    ports::free_port,
    process::{Process, Program},
    tools::binary,
};

/// A hub that keeps its data folder and its ports over restarts.
#[derive(Debug)]
pub struct Hub {
    dir: PathBuf,
    program: Program,
    process: Option<Process>,
    api_port: u16,
    agent_port: u16,
    health_port: u16,
}

impl Hub {
    /// Starts a hub on its embedded Postgres and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(dir, &[]).await
    }

    /// Starts a hub with more flags, such as `--database-url=…`, and waits until
    /// it is ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_with(dir: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        let mut hub = Self::prepare(dir, flags)?;
        hub.restart().await?;
        Ok(hub)
    }

    /// Decides ports and flags without starting anything.
    ///
    /// # Errors
    /// When the binary was not built or no port is free.
    pub fn prepare(dir: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        // The embedded Postgres runs as another user when we are root.
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))?;
        let (api_port, agent_port, health_port) = (free_port()?, free_port()?, free_port()?);
        let mut args: Vec<OsString> = vec!["--data-dir".into(), dir.join("data").into()];
        for (flag, port) in [
            ("api", api_port),
            ("agent", agent_port),
            ("health", health_port),
        ] {
            args.push(format!("--{flag}-listen=127.0.0.1:{port}").into());
        }
        args.extend(flags.iter().map(OsString::from));
        let program = Program::new("hub", binary("koinon-hub")?, dir).args(args);
        Ok(Self {
            dir: dir.into(),
            program,
            process: None,
            api_port,
            agent_port,
            health_port,
        })
    }

    /// The administrator's kubeconfig, written at first start.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("data/admin.kubeconfig")
    }

    pub fn api_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.api_port))
    }

    pub fn agent_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.agent_port))
    }

    pub fn log(&self) -> &Path {
        &self.program.log
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.kubeconfig(), &self.dir)
    }

    /// Writes a kubeconfig that shows a token and no certificate.
    ///
    /// # Errors
    /// When the hub wrote no usable kubeconfig, or the file cannot be written.
    pub fn kubeconfig_with(&self, token: &str, path: &Path) -> anyhow::Result<()> {
        let mut config = kube::config::Kubeconfig::read_from(self.kubeconfig())?;
        for user in &mut config.auth_infos {
            user.auth_info = Some(kube::config::AuthInfo {
                token: Some(token.to_owned().into()),
                ..kube::config::AuthInfo::default()
            });
        }
        // JSON is YAML.
        std::fs::write(path, serde_json::to_vec(&config)?)?;
        Ok(())
    }

    /// A new client with the administrator's rights.
    ///
    /// # Errors
    /// When the hub wrote no usable kubeconfig.
    pub async fn client(&self) -> anyhow::Result<Client> {
        client(&self.kubeconfig()).await
    }

    /// Gets a path of the health endpoint: `/readyz`, `/metrics`, `/debug/tasks`.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn health(&self, path: &str) -> anyhow::Result<(u16, String)> {
        http::get(self.health_port, path).await
    }

    /// The sum of a metric over all its label sets; 0 when it is absent.
    ///
    /// # Errors
    /// When the hub does not answer.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let (_, text) = self.health("/metrics").await?;
        let of_name = |line: &&str| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        Ok(text
            .lines()
            .filter(of_name)
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// The running process, for signals.
    ///
    /// # Errors
    /// When it was not started.
    pub fn process(&mut self) -> anyhow::Result<&mut Process> {
        self.process.as_mut().context("the hub was not started")
    }

    /// Stops it as an operator would, with SIGTERM.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let mut process = self.process.take().context("the hub was not started")?;
        process.terminate(Duration::from_secs(40)).await
    }

    /// Starts it again on the same data and ports, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.launch()?;
        self.ready().await
    }

    /// Starts it without waiting.
    ///
    /// # Errors
    /// When it cannot be executed.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.process = Some(self.program.spawn()?);
        Ok(())
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// When it ends or does not become ready.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let port = self.health_port;
        let process = self.process()?;
        eventually_within(START, "the hub is ready", async || {
            if let Err(error) = process.check() {
                return Ok(Some(Err(error)));
            }
            let (code, body) = http::get(port, "/readyz").await?;
            ensure!(code == 200, "{code} {body}");
            Ok(Some(Ok(())))
        })
        .await?
    }
}
