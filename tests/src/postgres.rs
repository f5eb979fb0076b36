//! A throwaway Postgres, for hubs that share one database and for faults between
//! a hub and its database.

use std::{
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::ensure;
use rustix::process::Signal;
use sqlx::{Connection, PgConnection};

use crate::{
    eventually::eventually,
    ports::free_port,
    process::{Process, Program},
    tools::tool,
};

/// A Postgres server on a loopback port, with fsync as in production: kill it
/// with [`Postgres::kill`] and start it again on the same files.
#[derive(Debug)]
pub struct Postgres {
    program: Program,
    process: Option<Process>,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Postgres {
    /// Makes a database cluster and starts its server.
    ///
    /// # Errors
    /// When Postgres is missing or does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        let bin = tool("PG_BIN")?;
        let dir = tempfile::Builder::new()
            .prefix("koinon-pg-")
            .tempdir_in("/tmp")?;
        let uid = server_uid()?;
        std::os::unix::fs::chown(dir.path(), uid, None)?;
        let data = dir.path().join("data");
        init(&bin, &data, uid)?;
        let port = free_port()?;
        let mut program = Program::new("postgres", bin.join("postgres"), dir.path())
            .args(["-D".into(), data.into_os_string()])
            .args([
                "-k",
                "",
                "-h",
                "127.0.0.1",
                "-p",
                &port.to_string(),
                "-c",
                "max_connections=200",
            ]);
        program.uid = uid;
        let mut this = Self {
            program,
            process: None,
            port,
            _dir: dir,
        };
        this.restart().await?;
        Ok(this)
    }

    pub fn url(&self) -> String {
        self.url_by(self.port)
    }

    /// The URL by which a proxy in front of the server is reached.
    pub fn url_by(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server and all its backends with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops the server in order.
    ///
    /// # Errors
    /// When it does not stop.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::INT)?;
            eventually("postgres stops", async || Ok(process.ended()?)).await?;
        }
        Ok(())
    }

    /// Starts the server on the same files and port.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        // A server that was killed leaves backends which end a moment later; the
        // next one refuses to start while they hold the shared memory.
        let url = self.url();
        let program = self.program.clone();
        let mut process = program.spawn()?;
        eventually("postgres accepts connections", async || {
            if process.ended()?.is_some() {
                process = program.spawn()?;
            }
            Ok(Some(PgConnection::connect(&url).await?))
        })
        .await?;
        self.process = Some(process);
        Ok(())
    }
}

impl Drop for Postgres {
    /// Not by SIGKILL if it can be helped: that leaves a segment of shared memory behind, and a machine has room for
    /// some thousands.
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.quit();
        }
    }
}

fn init(bin: &Path, data: &PathBuf, uid: Option<u32>) -> anyhow::Result<()> {
    let mut command = Command::new(bin.join("initdb"));
    command
        .args([
            "--auth=trust",
            "--username=postgres",
            "--no-sync",
            "--no-locale",
            "--encoding=UTF8",
            "--pgdata",
        ])
        .arg(data);
    command.stdin(Stdio::null()).current_dir("/");
    if let Some(uid) = uid {
        command.uid(uid);
    }
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "initdb: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Postgres refuses to run as root, so as root it runs as `nobody`.
fn server_uid() -> anyhow::Result<Option<u32>> {
    Ok((std::fs::metadata("/proc/self")?.uid() == 0).then_some(65534))
}
