//! `make bench`: measures this build on this machine and prints one table.

use std::{process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use koinon_tests::bench::{self, Part, Settings};

#[derive(Debug, Parser)]
#[command(name = "koinon-bench")]
struct Args {
    /// What to measure; everything when absent.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Seconds that each load of writes runs.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Numbers of clients that write at once, one load for each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32, 256])]
    clients: Vec<usize>,
    /// Simulated agents.
    #[arg(long, default_value_t = 1000)]
    agents: usize,
    /// Works that are timed one by one.
    #[arg(long, default_value_t = 300)]
    works: usize,
    /// Works in the burst.
    #[arg(long, default_value_t = 300)]
    burst: usize,
    /// Objects that are listed.
    #[arg(long, default_value_t = 10_000)]
    listed: usize,
    /// Watchers that see every change.
    #[arg(long, default_value_t = 1000)]
    watchers: usize,
    /// Changes that they see.
    #[arg(long, default_value_t = 1000)]
    changes: usize,
    /// Objects that a cold start finds.
    #[arg(long, default_value_t = 100_000)]
    objects: usize,
    /// Clusters in the measure of memory.
    #[arg(long, default_value_t = 10_000)]
    clusters: usize,
    /// Works of those clusters.
    #[arg(long, default_value_t = 100_000)]
    assigned: usize,
    /// Works that an agent at rest has.
    #[arg(long, default_value_t = 1000)]
    held: usize,
}

fn main() -> ExitCode {
    let Args {
        parts,
        seconds,
        clients,
        agents,
        works,
        burst,
        listed,
        watchers,
        changes,
        objects,
        clusters,
        assigned,
        held,
    } = Args::parse();
    let parts = if parts.is_empty() {
        Part::value_variants().to_vec()
    } else {
        parts
    };
    let settings = Settings {
        parts,
        load: Duration::from_secs(seconds),
        clients,
        agents,
        works,
        burst,
        listed,
        watchers,
        changes,
        objects,
        clusters,
        assigned,
        held,
    };
    let done = tokio::runtime::Runtime::new()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(Box::pin(bench::run(settings))));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
