//! The agent's process.

use std::process::ExitCode;

use clap::Parser as _;
use koinon_klusterlet::{Failure, args::Args, run, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

// Gives memory back when a burst of works or a long list is over; its options are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Wrong settings, as in `sysexits.h`.
const EX_USAGE: u8 = 64;

fn main() -> ExitCode {
    let args = Args::parse();
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("a TLS provider was already installed");
        return ExitCode::FAILURE;
    }
    telemetry::install(args.log_format());
    // One thread: the agent waits for two servers and computes next to nothing; each further thread costs memory.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let stop = CancellationToken::new();
    let outcome = runtime.block_on(async {
        if let Err(error) = listen_for_signals(&stop) {
            return Err(Failure::Runtime(format!(
                "cannot listen for signals: {error}"
            )));
        }
        Box::pin(run(args.config(), stop)).await
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            if matches!(error, Failure::Config(_)) {
                ExitCode::from(EX_USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// The first signal ends the process in order, the second one at once.
fn listen_for_signals(stop: &CancellationToken) -> std::io::Result<()> {
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let stop = stop.clone();
    tokio::spawn(async move {
        for count in 0.. {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            if count > 0 {
                std::process::exit(1);
            }
            stop.cancel();
        }
    });
    Ok(())
}
