//! `make demo`: a hub and three member clusters on this machine, to try.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use koinon_tests::demo;

#[derive(Debug, Parser)]
#[command(name = "koinon-demo")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the hub and the clusters, join them, place the sample.
    Up,
    /// Take a cluster away and show its workload moving.
    Lose {
        #[arg(default_value = "")]
        cluster: String,
    },
    /// Bring a lost cluster back.
    Return {
        #[arg(default_value = "")]
        cluster: String,
    },
    /// Print what runs where.
    Show,
    /// End the demo and everything it started.
    Stop,
    /// Own the processes of the demo; started by `up`.
    #[command(hide = true)]
    Supervise,
}

fn main() -> ExitCode {
    let Args { command } = Args::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("demo: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match command {
            Command::Up => Box::pin(demo::up()).await,
            Command::Lose { cluster } => Box::pin(demo::lose(&cluster)).await,
            Command::Return { cluster } => Box::pin(demo::bring_back(&cluster)).await,
            Command::Show => Box::pin(demo::show()).await,
            Command::Stop => demo::stop().await,
            Command::Supervise => Box::pin(demo::supervise()).await,
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::from(demo::exit_code(&error))
        }
    }
}
