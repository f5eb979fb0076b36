//! One file for each command.

pub(crate) mod accept;
pub(crate) mod audit;
pub(crate) mod cluster;
pub(crate) mod get;
pub(crate) mod join;
pub(crate) mod placing;
pub(crate) mod token;
pub(crate) mod version;

mod wait;

use crate::{
    args::{Args, Command},
    error::Result,
};

/// Does what the command line says; returns the exit code of a command that succeeded.
pub(crate) async fn run(args: Args) -> Result<u8> {
    let Args { hub, command } = args;
    match command {
        Command::Token(command) => token::run(&hub, command).await,
        Command::Join(args) => join::run(&hub, *args).await,
        Command::Accept(args) => accept::run(&hub, args, accept::Decision::Accept).await,
        Command::Deny(args) => accept::run(&hub, args, accept::Decision::Deny).await,
        Command::Get(command) => get::run(&hub, command).await,
        Command::Cluster(command) => cluster::run(&hub, command).await,
        Command::Explain(command) => placing::explain::run(&hub, command).await,
        Command::WhatIf(args) => return placing::what_if::run(&hub, *args).await,
        Command::Survive(args) => return placing::survive::run(&hub, args).await,
        Command::Simulate(args) => return placing::simulate::run(&args),
        Command::Audit(command) => audit::run(&hub, command).await,
        Command::Version(args) => version::run(&hub, args).await,
    }
    .map(|()| 0)
}
