//! A child process that never outlives its parent.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

// The shell is the program's parent and holds the read end of a pipe from us.
// When this process dies, even by SIGKILL, `read` sees the end of the file and
// the program goes with us.
const GUARD: &str = r#"exec 3<&0
"$@" 3<&- </dev/null &
pid=$!
echo $pid >"$0.new" && mv "$0.new" "$0"
(read _ <&3; kill -KILL $pid) 2>/dev/null &
watch=$!
wait $pid 2>/dev/null
code=$?
kill $watch 2>/dev/null
exit $code"#;

/// What to run.
#[derive(Clone, Debug)]
pub struct Program {
    pub name: String,
    pub path: PathBuf,
    pub args: Vec<OsString>,
    pub env: Vec<(OsString, OsString)>,
    /// Standard output and error are appended to it.
    pub log: PathBuf,
    /// The user to run as, when not our own.
    pub uid: Option<u32>,
}

impl Program {
    pub fn new(name: &str, path: impl Into<PathBuf>, logs: &Path) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            args: Vec::new(),
            env: Vec::new(),
            log: logs.join(format!("{name}.log")),
            uid: None,
        }
    }

    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: Into<OsString>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the shell cannot be started; a program that cannot be executed shows
    /// as one that ended at once.
    pub fn spawn(&self) -> anyhow::Result<Process> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot open {}", self.log.display()))?;
        let pid_file = self.log.with_extension("pid");
        let _ = std::fs::remove_file(&pid_file); // absent the first time
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(GUARD)
            .arg(&pid_file)
            .arg(&self.path)
            .args(&self.args);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(uid) = self.uid {
            command.uid(uid).current_dir("/");
        }
        let guard = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let pid = await_pid(&pid_file).with_context(|| format!("{} did not start", self.name))?;
        Ok(Process {
            name: self.name.clone(),
            log: self.log.clone(),
            guard,
            pid,
            ended: None,
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the shell writes the file before it does anything else"
)]
fn await_pid(file: &Path) -> anyhow::Result<Pid> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some(pid) = std::fs::read_to_string(file)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .and_then(Pid::from_raw)
        {
            return Ok(pid);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    bail!("no process id in {}", file.display())
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    guard: Child,
    pid: Pid,
    ended: Option<ExitStatus>,
}

impl Process {
    /// The program's own id, not its guard's.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The exit status once it ended, by whatever cause.
    ///
    /// # Errors
    /// When the operating system refuses to say.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.guard.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Fails with the end of its log when the program is no longer running.
    ///
    /// # Errors
    /// When it ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!(
                "{} ended with {status}; the end of {}:\n{}",
                self.name,
                self.log.display(),
                tail(&self.log, 15)
            ),
        }
    }

    /// Sends a signal to a program that still runs: `Signal::STOP` freezes it,
    /// `Signal::CONT` lets it go on.
    ///
    /// # Errors
    /// When it ended before.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        self.check()?;
        kill_process(self.pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        if matches!(self.ended(), Ok(None)) {
            let _ = kill_process(self.pid, Signal::KILL); // it may have ended just now
            self.ended = self.guard.wait().ok();
        }
    }

    /// Ends it with SIGQUIT and waits; kills it when it does not end.
    #[expect(
        clippy::disallowed_methods,
        reason = "a destructor has no other way to wait"
    )]
    pub fn quit(&mut self) {
        // One that a test has stopped hears nothing else.
        for signal in [Signal::QUIT, Signal::CONT] {
            let _ = kill_process(self.pid, signal); // it may have ended just now
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.ended(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }

    /// Asks it to stop with SIGTERM and waits; kills it when it does not.
    ///
    /// # Errors
    /// When it had to be killed.
    pub async fn terminate(&mut self, grace: Duration) -> anyhow::Result<ExitStatus> {
        if matches!(self.ended(), Ok(None)) {
            let _ = kill_process(self.pid, Signal::TERM); // it may have ended just now
        }
        let deadline = Instant::now() + grace;
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.kill();
        bail!("{} did not stop within {grace:?} of SIGTERM", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last lines of a log.
pub fn tail(log: &Path, lines: usize) -> String {
    let text = std::fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
