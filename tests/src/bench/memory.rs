//! Memory of a process, as the kernel counts it.

use std::collections::HashMap;

use anyhow::Context;

/// Resident memory in bytes.
pub(super) fn resident(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}

/// Memory of all processes that a process started, directly or not; what they share is counted once.
pub(super) fn below(pid: u32) -> anyhow::Result<u64> {
    let mut parents = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // One that is gone by now has no parent any more.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (pid, parent)));
    }
    let is_below = |start: u32| {
        let up = std::iter::successors(parents.get(&start), |at| parents.get(at));
        up.take(32).any(|ancestor| *ancestor == pid)
    };
    let all = parents.keys().filter(|pid| is_below(**pid));
    Ok(all.filter_map(|pid| proportional(*pid)).sum())
}

/// Resident memory in bytes, where each page that several processes share counts by their number; `None` when it is gone.
fn proportional(pid: u32) -> Option<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib << 10)
}

/// Bytes in the unit that fits.
pub(super) fn shown(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let bytes = bytes as f64;
    if bytes < 1024.0 * 1024.0 {
        format!("{:.1} KiB", bytes / 1024.0)
    } else {
        format!("{:.1} MiB", bytes / 1024.0 / 1024.0)
    }
}

/// Processor time that a process has used so far.
pub(super) fn processor(pid: u32) -> anyhow::Result<std::time::Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name, in parentheses, may contain spaces. User and system time are the 14th and 15th field.
    let (_, rest) = stat.rsplit_once(')').context("no name")?;
    let field = |n: usize| -> anyhow::Result<u64> {
        let text = rest.split_whitespace().nth(n).context("too few fields")?;
        Ok(text.parse()?)
    };
    // In hundredths of a second, whatever the kernel counts in.
    Ok(std::time::Duration::from_millis(
        (field(11)? + field(12)?) * 10,
    ))
}
