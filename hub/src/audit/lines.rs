//! Records as JSON lines: to a file, a pipe, or standard output.
//!
//! Whoever takes them may be slow, or have stopped: a full pipe, a disk that hangs. Nobody waits for that, neither the table nor a request.
//! What waits here is bounded; what finds no room is left out and counted.

use std::{
    io::{self, Write as _},
    os::unix::fs::FileTypeExt as _,
    path::Path,
    time::Duration,
};

use koinon_api::audit::Record;
use tokio::{
    fs::File,
    io::AsyncWriteExt as _,
    sync::mpsc,
    time::{Instant, timeout},
};

/// Pieces that wait to be written; each is of one turn of the writer, which takes up to 2,048 records at a time.
const WAITING: usize = 8;
/// How long opening may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two complaints.
const COMPLAINT: Duration = Duration::from_secs(60);

/// Takes records.
#[derive(Debug, Default)]
pub(super) struct Lines {
    queue: Option<mpsc::Sender<Vec<u8>>>,
    /// Records left out since the last complaint.
    left_out: usize,
    complained: Option<Instant>,
}

/// Where they go.
pub(super) struct Sink {
    queue: mpsc::Receiver<Vec<u8>>,
    out: Out,
}

enum Out {
    File(File),
    Standard,
}

/// Opens a file or a named pipe; `-` is standard output.
///
/// # Errors
///
/// When it cannot be opened, or not in time.
pub(super) async fn open(path: &Path) -> io::Result<(Lines, Sink)> {
    let out = if path.as_os_str() == "-" {
        Out::Standard
    } else {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        Out::File(timeout(PATIENCE, file(path)).await.map_err(late)??)
    };
    let (sender, queue) = mpsc::channel(WAITING);
    let lines = Lines {
        queue: Some(sender),
        ..Lines::default()
    };
    Ok((lines, Sink { queue, out }))
}

async fn file(path: &Path) -> io::Result<File> {
    let is_pipe = tokio::fs::metadata(path)
        .await
        .is_ok_and(|found| found.file_type().is_fifo());
    let mut options = tokio::fs::OpenOptions::new();
    // To open a pipe for writing only is to wait for somebody who reads it.
    options.create(true).append(true).read(is_pipe).mode(0o600);
    options.open(path).await
}

impl Lines {
    /// Hands records on, or leaves them out.
    pub(super) fn write(&mut self, records: &[Record]) {
        let Some(queue) = self.queue.as_ref().filter(|_| !records.is_empty()) else {
            return;
        };
        match queue.try_reserve() {
            Ok(place) => {
                let mut text = Vec::new();
                for record in records {
                    if serde_json::to_writer(&mut text, record).is_ok() {
                        text.push(b'\n');
                    }
                }
                place.send(text);
            }
            Err(_) => self.left_out += records.len(),
        }
        let due = self
            .complained
            .is_none_or(|last| last.elapsed() >= COMPLAINT);
        if self.left_out > 0 && due {
            tracing::error!(
                records = std::mem::take(&mut self.left_out),
                "audit lines are left out: what takes them does not keep up"
            );
            self.complained = Some(Instant::now());
        }
    }
}

impl Sink {
    /// Writes what comes until nothing more does.
    pub(super) async fn run(mut self) {
        // A piece that broke off leaves half a line.
        let mut broken = false;
        while let Some(mut text) = self.queue.recv().await {
            if broken {
                text.insert(0, b'\n');
            }
            let written = self.out.write(text).await;
            broken = written.is_err();
            if let Err(error) = written {
                tracing::error!(%error, "cannot write audit lines");
            }
        }
    }
}

impl Out {
    async fn write(&mut self, text: Vec<u8>) -> io::Result<()> {
        match self {
            Self::File(file) => {
                file.write_all(&text).await?;
                file.flush().await
            }
            Self::Standard => {
                let write = move || {
                    let mut out = io::stdout().lock();
                    out.write_all(&text).and_then(|()| out.flush())
                };
                let written = tokio::task::spawn_blocking(write).await;
                written.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::json;

    use super::*;

    fn record(text: &str) -> Record {
        Record::seal("one", None, &json!({ "text": text }))
    }

    #[tokio::test]
    async fn a_pipe_that_nobody_reads_holds_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        let (mut lines, sink) = open(&pipe).await.unwrap();
        let writing = tokio::spawn(sink.run());
        let large = record(&"x".repeat(100_000));
        for _ in 0..100 {
            lines.write(std::slice::from_ref(&large));
            tokio::task::yield_now().await;
        }
        assert!(lines.complained.is_some());
        // Whoever reads at last gets whole lines.
        drop(lines);
        let reading = tokio::task::spawn_blocking(move || std::fs::read_to_string(pipe).unwrap());
        writing.await.unwrap();
        let text = reading.await.unwrap();
        assert!((1..=WAITING + 2).contains(&text.lines().count()));
        for line in text.lines() {
            let read: Record = serde_json::from_str(line).unwrap();
            assert_eq!(read.hash, large.hash);
        }
    }

    #[tokio::test]
    async fn lines_are_appended_and_all_written_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        for text in ["one", "two"] {
            let (mut lines, sink) = open(&path).await.unwrap();
            lines.write(&[record(text), record(text)]);
            drop(lines);
            sink.run().await;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 4);
        assert!(
            text.lines()
                .all(|line| serde_json::from_str::<Record>(line).is_ok())
        );
    }
}
