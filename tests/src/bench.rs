//! `make bench`: the numbers of the design's table, measured on this machine.
//!
//! A benchmark, not a test: nothing here fails because something is slow. Each part starts what it needs, measures, and
//! ends it; a part that cannot run says why and the others go on.

mod agent;
mod apply;
mod beside;
mod engine;
mod etcd;
mod fanout;
mod fleet;
mod https;
mod latency;
mod lists;
mod load;
mod machine;
mod memory;
mod objects;
mod placing;
mod reports;
mod scale;
mod steady;
mod table;
mod watchers;
mod writes;

use std::time::Duration;

use clap::ValueEnum;

use table::Table;

/// What to measure, and how much of it.
#[derive(Clone, Debug)]
pub struct Settings {
    pub parts: Vec<Part>,
    /// How long each load of writes runs.
    pub load: Duration,
    /// How many clients write at once, in each load.
    pub clients: Vec<usize>,
    /// How many agents the fleet has.
    pub agents: usize,
    /// How many works are timed one by one.
    pub works: usize,
    /// How many works a burst has.
    pub burst: usize,
    /// How many objects are listed.
    pub listed: usize,
    /// How many watchers see every change.
    pub watchers: usize,
    /// How many changes they see.
    pub changes: usize,
    /// How many objects a cold start finds.
    pub objects: usize,
    /// How many clusters the fleet of the measure of memory has.
    pub clusters: usize,
    /// How many works that fleet has.
    pub assigned: usize,
    /// How many works an agent at rest has.
    pub held: usize,
}

/// The parts of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Writes through the API, fsync on, beside kube-apiserver on etcd.
    Writes,
    /// Status updates through the API, beside kube-apiserver on etcd.
    Statuses,
    /// The same over the sessions of agents.
    Reports,
    /// A list of many objects, its first page and all of it, beside kube-apiserver on etcd.
    Lists,
    /// Many watchers of the same changes, beside kube-apiserver on etcd.
    Watchers,
    /// A start with many objects, beside kube-apiserver on etcd.
    Cold,
    /// Memory with a large fleet, and a start with it, beside kube-apiserver on etcd.
    Memory,
    /// A work until a watcher sees it applied, against a real API server.
    Apply,
    /// An agent with many works: its memory and processor time, how soon drift is repaired, what a reconnect costs.
    Steady,
    /// One replica set to many simulated agents, and what an agent costs the hub.
    Fanout,
    /// The placement engine alone: full evaluations, one cluster's taint, memory.
    Engine,
    /// 10,000 placements through the API, with Postgres; 1,000 clusters lost at once.
    Placing,
}

/// Measures and prints one table.
///
/// # Errors
/// When not even the machine can be described.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    crate::client::install_provider();
    println!("{}", machine::describe()?);
    println!("{}\n", machine::flush_latency()?);
    let mut table = Table::default();
    for part in &settings.parts {
        let name = part
            .to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned());
        eprintln!("bench: {name}");
        let done = match part {
            Part::Writes => Box::pin(writes::run(&settings, &mut table)).await,
            Part::Statuses => Box::pin(writes::statuses(&settings, &mut table)).await,
            Part::Reports => Box::pin(reports::run(&settings, &mut table)).await,
            Part::Lists => Box::pin(lists::run(&settings, &mut table)).await,
            Part::Watchers => Box::pin(watchers::run(&settings, &mut table)).await,
            Part::Cold => Box::pin(scale::cold(&settings, &mut table)).await,
            Part::Memory => Box::pin(scale::fleet(&settings, &mut table)).await,
            Part::Apply => Box::pin(apply::run(&settings, &mut table)).await,
            Part::Steady => Box::pin(steady::run(&settings, &mut table)).await,
            Part::Fanout => Box::pin(fanout::run(&settings, &mut table)).await,
            Part::Engine => engine::run(&mut table),
            Part::Placing => Box::pin(placing::run(&mut table)).await,
        };
        if let Err(error) = done {
            eprintln!("bench: {name}: {error:#}");
            table.row(&name, "failed", "", "");
        }
    }
    println!("{table}");
    Ok(())
}

/// A folder for a part's files that Postgres may pass through when we are root.
fn folder() -> anyhow::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::Builder::new()
        .prefix("koinon-bench-")
        .tempdir_in("/tmp")?;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
    Ok(dir)
}
