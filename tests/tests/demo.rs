//! `make demo` as a new user runs it: up, lose, return, stop, and wrong commands.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Stdio};

use anyhow::ensure;
use koinon_tests::{Said, tools::binary};
use tokio::process::Command;

#[tokio::test]
async fn the_demo_moves_a_workload_and_leaves_nothing_behind() -> anyhow::Result<()> {
    let state = tempfile::Builder::new()
        .prefix("koinon-demo-")
        .tempdir_in("/tmp")?;
    std::fs::set_permissions(state.path(), std::fs::Permissions::from_mode(0o755))?;
    let folder = state.path().join("demo");

    refused(&folder, &["stop"], 3, "no demo is running").await?;
    refused(&folder, &["lose", "east"], 3, "no demo is running").await?;

    // Whatever fails from here on, the demo ends with this value.
    let guard = Guard(folder.clone());
    let up = demo(&folder, &["up"]).await?;
    ensure!(
        up.code == 0,
        "{}\ndemo up: {}\n{}",
        logs(&folder),
        up.stdout,
        up.stderr
    );
    for said in [
        "KUBECONFIG=",
        "make demo-lose CLUSTER=east",
        "2/2 replicas available",
        "the workload runs in east",
    ] {
        ensure!(
            up.stdout.contains(said),
            "`{said}` is missing:\n{}",
            up.stdout
        );
    }

    refused(&folder, &["up"], 3, "running already").await?;
    refused(&folder, &["lose", "north"], 64, "no cluster \"north\"").await?;
    refused(&folder, &["lose"], 64, "CLUSTER=east").await?;
    refused(&folder, &["return", "east"], 3, "is not lost").await?;

    let lose = demo(&folder, &["lose", "east"]).await?;
    ensure!(
        lose.code == 0,
        "{}\ndemo lose: {}\n{}",
        logs(&folder),
        lose.stdout,
        lose.stderr
    );
    ensure!(
        lose.stdout.contains("the workload runs in standby instead"),
        "{}",
        lose.stdout
    );
    refused(&folder, &["lose", "east"], 3, "is lost already").await?;

    let back = demo(&folder, &["return", "east"]).await?;
    ensure!(
        back.code == 0,
        "{}\ndemo return: {}\n{}",
        logs(&folder),
        back.stdout,
        back.stderr
    );
    ensure!(
        back.stdout.contains("can be chosen again"),
        "{}",
        back.stdout
    );

    let stop = demo(&folder, &["stop"]).await?;
    ensure!(
        stop.code == 0,
        "demo stop: {}\n{}",
        stop.stdout,
        stop.stderr
    );
    let left = processes_of(&folder)?;
    ensure!(left.is_empty(), "still running: {left:?}");
    drop(guard);
    Ok(())
}

async fn demo(folder: &Path, args: &[&str]) -> anyhow::Result<Said> {
    let output = Command::new(binary("koinon-demo")?)
        .args(args)
        .env("KOINON_STATE", folder)
        .stdin(Stdio::null())
        .output()
        .await?;
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

async fn refused(folder: &Path, args: &[&str], code: i32, words: &str) -> anyhow::Result<()> {
    let said = demo(folder, args).await?;
    ensure!(
        said.code == code && said.stderr.contains(words),
        "demo {args:?}: {said:?}"
    );
    Ok(())
}

/// The command lines of processes that name the state folder.
fn processes_of(folder: &Path) -> anyhow::Result<Vec<String>> {
    let folder = folder.display().to_string();
    let lines = std::fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    Ok(lines
        .filter(|line| line.contains(&folder))
        .map(|line| line.replace('\0', " "))
        .collect())
}

fn logs(folder: &Path) -> String {
    let mut all = koinon_tests::process::tail(&folder.join("supervisor.log"), 30);
    for file in ["hub/hub.log", "east/klusterlet.log"] {
        all += &format!(
            "\n---- {file}\n{}",
            koinon_tests::process::tail(&folder.join(file), 40)
        );
    }
    all
}

struct Guard(std::path::PathBuf);

impl Drop for Guard {
    fn drop(&mut self) {
        // The supervisor takes everything else with it.
        if let Some(pid) = std::fs::read_to_string(self.0.join("supervisor.pid"))
            .ok()
            .and_then(|pid| pid.trim().parse().ok())
            .and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL); // it has ended when all went well
        }
    }
}
