//! The hub's process: settings, TLS provider, logs, runtime, exit code.

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;
use koinon_hub::{
    args::{Args, Command},
    boot,
    config::Config,
    resources, telemetry, tls,
};

// Gives memory back after thousands of agents have left, and does not grow when they come back; its
// options are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// `EX_USAGE` of sysexits.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Nothing can be done if stderr is gone.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    if let Some(Command::Crds) = args.command {
        return print_crds();
    }
    let log_format = args.log_format;
    let config = match Config::try_from(args) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("koinon-hub: {error}");
            return ExitCode::from(USAGE);
        }
    };
    telemetry::install(log_format);
    if let Err(error) = tls::install_provider() {
        tracing::error!(error, "failed to start");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "failed to start the runtime");
            return ExitCode::FAILURE;
        }
    };
    let end = runtime.block_on(boot::run(config));
    // Whatever was late for the deadline does not get to hold the process.
    runtime.shutdown_background();
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "hub failed");
            ExitCode::FAILURE
        }
    }
}

fn print_crds() -> ExitCode {
    match resources::definitions() {
        Ok(text) => {
            // A reader that has seen enough is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("koinon-hub: {error}");
            ExitCode::FAILURE
        }
    }
}
