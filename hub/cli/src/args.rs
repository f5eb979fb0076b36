//! Command line.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};

use crate::{
    commands::{
        accept::NamesArgs,
        audit::AuditCommand,
        cluster::ClusterCommand,
        get::GetCommand,
        join::JoinArgs,
        placing::{
            explain::ExplainCommand, simulate::SimulateArgs, survive::SurviveArgs,
            what_if::WhatIfArgs,
        },
        token::TokenCommand,
        version::VersionArgs,
    },
    duration,
};

/// Runs a league of Kubernetes clusters: join them, accept them, see what runs where.
#[derive(Debug, Parser)]
#[command(name = "koinon", version, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) hub: HubArgs,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How the hub is reached.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct HubArgs {
    /// Kubeconfig of the hub [default: $KUBECONFIG, then ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Hub")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Context of that kubeconfig [default: its current one]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Hub")]
    pub(crate) context: Option<String>,

    /// How long one call may take.
    #[arg(long, global = true, value_name = "DURATION", default_value = "30s", value_parser = duration::parse, help_heading = "Hub")]
    pub(crate) request_timeout: Duration,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make, list and revoke the tokens that clusters join with
    #[command(subcommand)]
    Token(TokenCommand),
    /// Install the agent in a cluster, so that it joins the hub
    Join(Box<JoinArgs>),
    /// Let clusters in
    Accept(NamesArgs),
    /// Shut clusters out
    Deny(NamesArgs),
    /// Show clusters, works and placements
    #[command(subcommand)]
    Get(GetCommand),
    /// Decide about a cluster
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Say why: which clusters a placement chooses, and why not the others
    #[command(subcommand)]
    Explain(ExplainCommand),
    /// Say what a change would move, before it happens
    WhatIf(Box<WhatIfArgs>),
    /// Say which placements survive the loss of a region, a cloud, a zone
    Survive(SurviveArgs),
    /// Decide placements on a folder of YAML, without a hub
    Simulate(SimulateArgs),
    /// Read and check the audit log: who did what
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print the versions of this program and of the hub
    Version(VersionArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn flags_of_the_hub_may_stand_after_the_command() {
        let args = Args::try_parse_from(["koinon", "get", "clusters", "--kubeconfig", "hub.yaml"])
            .unwrap();
        assert_eq!(args.hub.kubeconfig.unwrap(), PathBuf::from("hub.yaml"));
    }

    #[test]
    fn names_that_cannot_be_clusters_are_a_wrong_command_line() {
        for line in [
            &["koinon", "accept", "East"][..],
            &["koinon", "token", "create", "--cluster", "a.b"],
            &["koinon", "accept"],
        ] {
            assert!(Args::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}
