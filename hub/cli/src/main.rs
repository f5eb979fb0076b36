//! `koinon`: what an admin of a league does by hand — tokens, joining, accepting, looking.
//!
//! ```text
//!   koinon token|accept|get …  ──HTTPS──►  hub
//!   koinon join …              ──HTTPS──►  member cluster (its own kubeconfig; the hub never sees it)
//! ```
//!
//! Everything here is a plain client of a Kubernetes API: what it does, `kubectl` can do too.

mod age;
mod args;
mod client;
mod commands;
mod duration;
mod error;
mod output;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;

/// Exit code for a command line that cannot be right (`EX_USAGE`).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Printing fails only when the terminal is gone, and then nobody reads an error either.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("error: another TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(Box::pin(commands::run(args))) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprint!("{}", error.report());
            ExitCode::from(error.exit_code())
        }
    }
}
