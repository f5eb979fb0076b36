//! A Postgres server of our own: for the hub's embedded registry, and for tests.
//!
//! It listens on a Unix socket only, in a folder that none but its user may enter. It lives at most as long as this
//! process: a shell waits on a pipe that we hold open, and ends the server when the pipe closes, whatever killed us.

mod binaries;
mod process;
mod user;

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, ChildStdin},
    time::{Instant, sleep, timeout},
};

pub use self::binaries::Binaries;
use self::{process::Postmaster, user::RunAs};

/// Socket paths have 108 bytes, and Postgres adds `/.s.PGSQL.5432.lock`.
const SOCKET_DIR_MAX: usize = 85;
const LOG_MAX: u64 = 8 << 20;

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(
        "no Postgres found: install one (Debian: postgresql), or set PG_BIN to the folder of its programs"
    )]
    NotInstalled,
    #[error("cannot prepare {path}")]
    Folder { path: PathBuf, source: io::Error },
    #[error(
        "the user that Postgres is to run as cannot reach {0}; choose a folder that others may enter"
    )]
    Unreachable(PathBuf),
    #[error("cannot run {program}")]
    Run {
        program: &'static str,
        source: io::Error,
    },
    #[error("initdb failed: {0}")]
    Init(String),
    #[error("Postgres did not become ready; the end of its log:\n{0}")]
    NotReady(String),
    #[error("another Postgres (process {pid}) runs on {path} and does not stop")]
    Occupied { path: PathBuf, pid: i32 },
}

/// How much a server's acknowledgement is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Survives anything that the disk survives.
    Full,
    /// Survives nothing; for tests that need speed.
    None,
}

/// A server and its folder.
#[derive(Debug)]
pub struct PostgresServer {
    binaries: Binaries,
    run_as: RunAs,
    dir: PathBuf,
    socket: PathBuf,
    durability: Durability,
    running: Option<Running>,
}

/// The shell that waits for the server, and for us.
#[derive(Debug)]
struct Running {
    shell: Child,
    /// Kept apart from the child: waiting for that would close it.
    pipe: ChildStdin,
}

impl PostgresServer {
    /// Prepares `dir` for a server, with a new and empty database if it holds none.
    ///
    /// # Errors
    /// When Postgres is not installed or the folder cannot be used.
    pub async fn prepare(dir: &Path, durability: Durability) -> Result<Self, ServerError> {
        let binaries = Binaries::find()?;
        let folder = |source| ServerError::Folder {
            path: dir.to_owned(),
            source,
        };
        std::fs::create_dir_all(dir).map_err(folder)?;
        let dir = std::path::absolute(dir).map_err(folder)?;
        let run_as = RunAs::choose(&dir)?;
        run_as.own(&dir).map_err(|source| ServerError::Folder {
            path: dir.clone(),
            source,
        })?;
        let socket = socket_dir(&dir);
        std::fs::create_dir_all(&socket)
            .and_then(|()| run_as.own(&socket))
            .map_err(|source| ServerError::Folder {
                path: socket.clone(),
                source,
            })?;
        let this = Self {
            binaries,
            run_as,
            dir,
            socket,
            durability,
            running: None,
        };
        if !this.data().join("PG_VERSION").exists() {
            this.init().await?;
        }
        Ok(this)
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// When it does not within `within`.
    pub async fn start(&mut self, within: Duration) -> Result<(), ServerError> {
        let deadline = Instant::now() + within;
        Postmaster::evict(&self.data(), deadline).await?;
        loop {
            self.running = Some(self.spawn()?);
            if self.answers(deadline).await {
                return Ok(());
            }
            // It ended, perhaps because processes of its predecessor still were there: try again.
            self.end_shell().await;
            if Instant::now() >= deadline {
                return Err(ServerError::NotReady(self.log_tail()));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The URL of its database.
    pub fn url(&self) -> String {
        format!(
            "postgres://koinon@localhost/postgres?host={}",
            percent_encoded(&self.socket)
        )
    }

    /// The process id of the server, if it runs.
    pub fn pid(&self) -> Option<i32> {
        Postmaster::read(&self.data()).map(|postmaster| postmaster.pid)
    }

    /// Waits until the server has ended by itself.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ended(&mut self) {
        if let Some(running) = &mut self.running {
            // However it ended: it is not there.
            let _ = running.shell.wait().await;
        }
    }

    /// Stops the server in order: sessions are ended, a checkpoint is written.
    pub async fn stop(&mut self, within: Duration) {
        let Some(Running { shell, pipe }) = &mut self.running else {
            return;
        };
        // When the pipe is broken the server is gone already.
        if pipe.write_all(b"fast\n").await.is_ok() && timeout(within, shell.wait()).await.is_err() {
            tracing::warn!("Postgres does not stop in time");
        }
        self.end_shell().await;
    }

    /// Ends the server at once, as a power cut would.
    #[cfg(feature = "testing")]
    pub async fn kill(&mut self) {
        if let Some(pid) = self.pid() {
            process::signal_all(pid, rustix::process::Signal::KILL);
        }
        self.end_shell().await;
    }

    /// Sends a signal to all processes of the server.
    #[cfg(feature = "testing")]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        if let Some(pid) = self.pid() {
            process::signal_all(pid, signal);
        }
    }

    /// Ends the server, for a test that ends. Not by SIGKILL if it can be helped: that leaves a segment of shared memory
    /// behind, and a machine has room for some thousands.
    #[cfg(feature = "testing")]
    pub(crate) fn end_now(&mut self) {
        if let Some(postmaster) = Postmaster::read(&self.data()) {
            postmaster.end(&self.data());
        }
        self.running = None;
    }

    /// Closes the pipe and waits for the shell, which waits for the server.
    async fn end_shell(&mut self) {
        let Some(Running { mut shell, pipe }) = self.running.take() else {
            return;
        };
        drop(pipe);
        if timeout(Duration::from_secs(10), shell.wait())
            .await
            .is_err()
        {
            // The server ignores even SIGQUIT; `evict` deals with it at the next start.
            let _ = shell.start_kill();
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }

    async fn init(&self) -> Result<(), ServerError> {
        // In a folder of its own first: a start that was interrupted leaves no half of a database behind.
        let fresh = self.dir.join("data.new");
        if fresh.exists() {
            std::fs::remove_dir_all(&fresh).map_err(|source| ServerError::Folder {
                path: fresh.clone(),
                source,
            })?;
        }
        let mut initdb = self
            .run_as
            .command(&self.binaries.program("initdb"), &self.dir);
        initdb
            .args([
                "--auth=trust",
                "--username=koinon",
                "--no-locale",
                "--encoding=UTF8",
                "--pgdata",
            ])
            .arg(&fresh);
        if self.durability == Durability::None {
            initdb.arg("--no-sync");
        }
        let run = |source| ServerError::Run {
            program: "initdb",
            source,
        };
        let output = initdb
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(run)?;
        if !output.status.success() {
            return Err(ServerError::Init(
                String::from_utf8_lossy(&output.stderr).into_owned(),
            ));
        }
        std::fs::rename(&fresh, self.data()).map_err(|source| ServerError::Folder {
            path: self.data(),
            source,
        })
    }

    fn spawn(&self) -> Result<Running, ServerError> {
        let log = self.open_log().map_err(|source| ServerError::Folder {
            path: self.log(),
            source,
        })?;
        // `read` returns at the end of the pipe, also when we were killed. A server that ends by itself ends the shell.
        let mut shell = self.run_as.command(Path::new("/bin/sh"), &self.dir);
        shell.args([
            "-c",
            "exec 3<&0; \"$@\" </dev/null 3<&- & pid=$!
             (read -r how <&3; case $how in fast) kill -INT $pid;; *) kill -QUIT $pid;; esac; read -r how <&3; kill -QUIT $pid) &
             reader=$!; wait $pid; status=$?; kill $reader; exit $status",
            "postgres-keeper",
        ]);
        shell
            .arg(self.binaries.program("postgres"))
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(&self.socket);
        let common = [
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "max_connections=60",
            "log_checkpoints=off",
            "max_wal_size=1GB",
        ];
        let careless = ["fsync=off", "full_page_writes=off"];
        let settings = common.iter().chain(if self.durability == Durability::None {
            &careless[..]
        } else {
            &[]
        });
        for setting in settings {
            shell.arg("-c").arg(setting);
        }
        // Its own process group: an interrupt from the keyboard is for the hub, which then stops the server in order.
        shell
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        let run = |source| ServerError::Run {
            program: "postgres",
            source,
        };
        let mut shell = shell.spawn().map_err(run)?;
        let pipe = shell
            .stdin
            .take()
            .ok_or_else(|| run(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Running { shell, pipe })
    }

    fn open_log(&self) -> io::Result<std::fs::File> {
        let path = self.log();
        if std::fs::metadata(&path).is_ok_and(|log| log.len() > LOG_MAX) {
            std::fs::rename(&path, path.with_extension("log.old"))?;
        }
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Waits until the server answers; no when it ended or the time is up.
    async fn answers(&mut self, deadline: Instant) -> bool {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(&self.socket)
            .username("koinon")
            .database("postgres")
            .log_statements(tracing::log::LevelFilter::Off);
        while Instant::now() < deadline {
            if let Ok(Ok(connection)) = timeout(Duration::from_secs(2), options.connect()).await {
                // It answers; how this connection ends does not matter.
                let _ = connection.close().await;
                return true;
            }
            if let Some(running) = &mut self.running
                && !matches!(running.shell.try_wait(), Ok(None))
            {
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

/// Where the socket goes: beside the data if the path is short enough.
fn socket_dir(dir: &Path) -> PathBuf {
    let beside = dir.join("socket");
    if beside.as_os_str().len() <= SOCKET_DIR_MAX {
        return beside;
    }
    let digest = crate::key::Digest::of(dir.as_os_str().as_encoded_bytes()).to_string();
    std::env::temp_dir().join(format!("koinon-{}", &digest[..16]))
}

fn percent_encoded(path: &Path) -> String {
    let mut encoded = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => {
                encoded.push(char::from(*byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
