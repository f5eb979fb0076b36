//! The real `koinon` command.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::ensure;
use tokio::process::Command;

use crate::{kubectl::Said, tools::binary};

/// Runs `koinon` with one kubeconfig of the hub.
#[derive(Clone, Debug)]
pub struct Koinon {
    kubeconfig: PathBuf,
}

impl Koinon {
    pub fn new(kubeconfig: &Path) -> Self {
        Self {
            kubeconfig: kubeconfig.into(),
        }
    }

    /// Runs it and returns its standard output.
    ///
    /// # Errors
    /// When it exits with anything but 0; with what it said.
    pub async fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let said = self.say(args).await?;
        ensure!(
            said.code == 0,
            "koinon {} exited with {}: {}{}",
            args.join(" "),
            said.code,
            said.stderr,
            said.stdout
        );
        Ok(said.stdout)
    }

    /// Runs it, whatever comes of it.
    ///
    /// # Errors
    /// When it cannot be run at all.
    pub async fn say(&self, args: &[&str]) -> anyhow::Result<Said> {
        let output = Command::new(binary("koinon")?)
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        Ok(Said {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}
