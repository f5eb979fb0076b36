//! The server that `postmaster.pid` speaks of: ours, a predecessor's, or nobody's.

use std::{path::Path, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::ServerError;

/// The main process of a running server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Postmaster {
    pub(super) pid: i32,
}

impl Postmaster {
    /// Reads who runs on a data folder; the process may be gone.
    pub(super) fn read(data: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let pid = text.lines().next()?.trim().parse().ok()?;
        Some(Self { pid })
    }

    /// Makes sure that nobody runs on a data folder: a predecessor whose hub was killed is about to end, or is asked
    /// to; a file left behind by a power cut is removed, for its number may belong to somebody else by now.
    pub(super) async fn evict(data: &Path, deadline: Instant) -> Result<(), ServerError> {
        let mut patience = 50;
        while let Some(postmaster) = Self::read(data) {
            if !postmaster.runs_on(data) {
                // It may have gone away by itself just now.
                let _ = std::fs::remove_file(data.join("postmaster.pid"));
                break;
            }
            if Instant::now() >= deadline {
                return Err(ServerError::Occupied {
                    path: data.to_owned(),
                    pid: postmaster.pid,
                });
            }
            patience -= 1;
            if patience == 0
                && let Some(pid) = Pid::from_raw(postmaster.pid)
            {
                tracing::warn!(
                    pid = postmaster.pid,
                    "ending a Postgres that was left behind"
                );
                // If it cannot be signalled the deadline says so.
                let _ = kill_process(pid, Signal::QUIT);
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Whether the process is a Postgres with this data folder: every server's main process has it as its working
    /// directory.
    fn runs_on(self, data: &Path) -> bool {
        let proc = Path::new("/proc").join(self.pid.to_string());
        let postgres =
            std::fs::read_to_string(proc.join("comm")).is_ok_and(|name| name.trim() == "postgres");
        let here = match (
            std::fs::read_link(proc.join("cwd")),
            std::fs::canonicalize(data),
        ) {
            (Ok(cwd), Ok(data)) => cwd == data,
            // Of another user: we cannot see, so we do not touch it.
            _ => true,
        };
        postgres && here
    }

    /// Ends it at once, and waits for that as a destructor can.
    #[cfg(feature = "testing")]
    #[expect(
        clippy::disallowed_methods,
        reason = "a destructor has no other way to wait"
    )]
    pub(super) fn end(self, data: &Path) {
        // One that a test has stopped hears nothing else.
        for signal in [Signal::QUIT, Signal::CONT] {
            signal_all(self.pid, signal);
        }
        for _ in 0..1000 {
            if !self.runs_on(data) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        signal_all(self.pid, Signal::KILL);
    }
}

/// Sends a signal to a server and all its processes.
#[cfg(feature = "testing")]
pub(super) fn signal_all(postmaster: i32, signal: Signal) {
    let parent = |pid: i32| -> Option<i32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?
            .1
            .split_whitespace()
            .nth(1)?
            .parse()
            .ok()
    };
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let children: Vec<i32> = pids
        .filter(|pid| parent(*pid) == Some(postmaster))
        .collect();
    // The parent first: it must not see a child die.
    for pid in std::iter::once(postmaster).chain(children) {
        if let Some(pid) = Pid::from_raw(pid) {
            // One that is gone needs no signal.
            let _ = kill_process(pid, signal);
        }
    }
}
