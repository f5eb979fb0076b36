//! What the numbers were measured on.

use std::{
    fs::{File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    time::Instant,
};

use anyhow::Context;

use super::latency::Latency;

/// Cores, memory, kernel and versions, in one line.
pub(super) fn describe() -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let cpu = std::fs::read_to_string("/proc/cpuinfo").context("no /proc/cpuinfo")?;
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("", |(_, name)| name);
    let memory = std::fs::read_to_string("/proc/meminfo").context("no /proc/meminfo")?;
    let total: u64 = memory
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix(" kB")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let build = if cfg!(debug_assertions) {
        "dev build: not worth comparing"
    } else {
        "release build"
    };
    Ok(format!(
        "machine: {cores} cores ({}), {} GiB, Linux {}; {build}",
        model.trim(),
        total >> 20,
        kernel.trim()
    ))
}

/// How long the disk takes to make 8 KiB durable where the databases of this run live.
pub(super) fn flush_latency() -> anyhow::Result<String> {
    let dir = tempfile::Builder::new()
        .prefix("koinon-flush-")
        .tempdir_in("/tmp")?;
    let mut file: File = OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(dir.path().join("f"))?;
    let page = [7_u8; 8192];
    // Postgres and etcd overwrite preallocated log files, and so does this.
    file.write_all(&[0; 8192 * 64])?;
    file.sync_all()?;
    let mut times = Vec::new();
    for at in 0..200_u64 {
        file.seek(SeekFrom::Start(at % 64 * 8192))?;
        let begin = Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    Ok(format!(
        "flush (8 KiB write + fdatasync): {}",
        Latency::of(times)
    ))
}
