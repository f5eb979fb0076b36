//! The real `kubectl`, with a home of its own.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

use crate::{hub::Hub, tools::tool};

/// Runs `kubectl` with one kubeconfig; its cache and home are private.
#[derive(Clone, Debug)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    home: PathBuf,
}

/// What one run said.
#[derive(Clone, Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Kubectl {
    /// `home` is a folder for its discovery cache.
    pub fn new(kubeconfig: &Path, home: &Path) -> Self {
        Self {
            kubeconfig: kubeconfig.into(),
            home: home.into(),
        }
    }

    /// One that shows `token` to a hub, and no certificate.
    ///
    /// # Errors
    /// When the hub wrote no usable kubeconfig, or `dir` cannot be written to.
    pub fn with_token(hub: &Hub, token: &str, dir: &Path) -> anyhow::Result<Self> {
        let home = dir.join("token");
        std::fs::create_dir_all(&home)?;
        let path = home.join("kubeconfig");
        hub.kubeconfig_with(token, &path)?;
        Ok(Self::new(&path, &home))
    }

    /// Runs it and returns its standard output.
    ///
    /// # Errors
    /// When it exits with anything but 0; with what it said.
    pub async fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        self.run_with_input(args, "").await
    }

    /// Runs it with a standard input, for `-f -`.
    ///
    /// # Errors
    /// When it exits with anything but 0; with what it said.
    pub async fn run_with_input(&self, args: &[&str], input: &str) -> anyhow::Result<String> {
        let said = self.say(args, input).await?;
        ensure!(
            said.code == 0,
            "kubectl {} exited with {}: {}{}",
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
    pub async fn say(&self, args: &[&str], input: &str) -> anyhow::Result<Said> {
        let mut child = self.command(args)?.stdin(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().context("kubectl has no input")?;
        let _ = stdin.write_all(input.as_bytes()).await; // it may not want any
        drop(stdin);
        let output = child.wait_with_output().await?;
        Ok(Said {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs what must fail, and returns what it said on standard error.
    ///
    /// # Errors
    /// When it succeeds.
    pub async fn refused(&self, args: &[&str], input: &str) -> anyhow::Result<String> {
        let said = self.say(args, input).await?;
        if said.code == 0 {
            bail!(
                "kubectl {} was not refused: {}",
                args.join(" "),
                said.stdout
            );
        }
        Ok(said.stderr)
    }

    /// Runs it with `-o json` and returns the object.
    ///
    /// # Errors
    /// When it fails or prints something else.
    pub async fn json(&self, args: &[&str]) -> anyhow::Result<Value> {
        let text = self.run(&[args, &["-o", "json"]].concat()).await?;
        serde_json::from_str(&text).with_context(|| format!("kubectl printed no JSON: {text}"))
    }

    /// Applies YAML.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn apply(&self, yaml: &str) -> anyhow::Result<String> {
        self.run_with_input(&["apply", "-f", "-"], yaml).await
    }

    /// Starts one that goes on (`get -w`, `wait`); ended when dropped. Its
    /// standard output is piped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, args: &[&str]) -> anyhow::Result<Child> {
        Ok(self.command(args)?.stdin(Stdio::null()).spawn()?)
    }

    /// The command with an `EDITOR` for `kubectl edit`: a shell script that gets
    /// the file's path as `$1`.
    ///
    /// # Errors
    /// When the edit fails.
    pub async fn edit(&self, args: &[&str], script: &str) -> anyhow::Result<String> {
        let editor = self.home.join("editor.sh");
        std::fs::write(&editor, format!("#!/bin/sh\n{script}\n"))?;
        let output = self
            .command(&[&["edit"], args].concat())?
            .env("KUBE_EDITOR", format!("sh {}", editor.display()))
            .stdin(Stdio::null())
            .output()
            .await?;
        ensure!(
            output.status.success(),
            "kubectl edit failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command(&self, args: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(tool("KUBECTL")?);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(self.home.join("cache"))
            .args(args);
        command
            .env("HOME", &self.home)
            .env_remove("KUBECONFIG")
            .current_dir(&self.home);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }
}
