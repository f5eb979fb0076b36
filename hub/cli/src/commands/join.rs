//! `koinon join`: installs the agent in a cluster. It talks to that cluster only; the agent does the joining.

mod install;
mod manifests;

use std::{path::PathBuf, time::Duration};

use koinon_api::{
    names::ClusterName,
    token::{TokenError, TokenText},
};

use self::manifests::Settings;
use super::wait;
use crate::{
    args::HubArgs,
    client::Server,
    duration,
    error::{Error, Result},
    output,
};

/// What to install, and where.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("secret").required(true).args(["token", "token_file"])))]
pub(crate) struct JoinArgs {
    /// The join token. Others on this machine may see it in the list of processes; see --token-file
    #[arg(
        long,
        value_name = "TOKEN",
        env = "KOINON_JOIN_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,

    /// File that holds the join token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Where the hub listens for agents, as the member cluster reaches it.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    hub_agent_address: String,

    /// What the cluster is to be called on the hub.
    #[arg(long, value_name = "NAME")]
    cluster: ClusterName,

    /// Kubeconfig of the member cluster.
    #[arg(long, value_name = "FILE", required_unless_present = "dry_run")]
    member_kubeconfig: Option<PathBuf>,

    /// Context of that kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    member_context: Option<String>,

    /// Image of the agent [default: the one in the Deployment]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,

    /// Everything but the Deployment, for an agent that is run as a process.
    #[arg(long)]
    no_deployment: bool,

    /// Replace the settings of an agent that joined under another name.
    #[arg(long)]
    replace: bool,

    /// Print what would be applied, token and all, and change nothing.
    #[arg(long)]
    dry_run: bool,

    /// Wait until the hub says that the cluster is available; needs the hub's kubeconfig too.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,

    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse)]
    timeout: Duration,
}

impl std::fmt::Debug for JoinArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinArgs")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// Checks that the text is a host (name, IPv4 or bracketed IPv6) and a port.
fn address(text: &str) -> Result<String, String> {
    let wrong =
        || format!("{text:?} is not HOST:PORT, like hub.example.com:7444 or [fd00::1]:7444");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let good_host = match bracketed {
        Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
        }
    };
    let good_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    if good_host && good_port {
        Ok(text.to_owned())
    } else {
        Err(wrong())
    }
}

pub(crate) async fn run(hub: &HubArgs, args: JoinArgs) -> Result<()> {
    let settings = Settings {
        token: token(&args)?,
        hub_address: args.hub_agent_address.clone(),
        cluster: args.cluster.clone(),
        image: args.image.clone(),
        deployment: if args.no_deployment {
            manifests::Deployment::No
        } else {
            manifests::Deployment::Yes
        },
    };
    let manifests = manifests::render(&settings)?;
    if args.dry_run {
        return output::write(&manifests::to_yaml(&manifests)?);
    }
    let Some(kubeconfig) = &args.member_kubeconfig else {
        return Err(Error::Usage("--member-kubeconfig is missing".into()));
    };
    // Whoever wants to wait learns before anything is installed that the hub cannot be asked.
    let hub = match args.wait {
        true => {
            let server = Server::hub(hub).await?;
            server.version().await?;
            Some((server, hub))
        }
        false => None,
    };
    let timeout = hub
        .as_ref()
        .map_or(Duration::from_secs(30), |(_, hub)| hub.request_timeout);
    let member = Server::member(kubeconfig, args.member_context.clone(), timeout).await?;
    let replace = if args.replace {
        install::Replace::Yes
    } else {
        install::Replace::No
    };
    install::install(&member, &args.cluster, &manifests, replace).await?;
    match &hub {
        Some((server, _)) => wait::until_available(server, &args.cluster, args.timeout).await,
        None => {
            if args.no_deployment {
                eprintln!(
                    "Next, where the agent is to run, with the token in KOINON_BOOTSTRAP_TOKEN:"
                );
                eprintln!(
                    "  koinon-klusterlet --kubeconfig {} --hub-address {} --cluster-name {}",
                    kubeconfig.display(),
                    args.hub_agent_address,
                    args.cluster
                );
            }
            eprintln!("See it join, with the hub's kubeconfig:  koinon get clusters");
            eprintln!(
                "Unless the token accepts by itself:      koinon accept {}",
                args.cluster
            );
            Ok(())
        }
    }
}

/// Returns the token, after a look at its form: a damaged one would only fail much later, in the agent's log.
fn token(args: &JoinArgs) -> Result<String> {
    let text = match (&args.token, &args.token_file) {
        // A file that is named wins over a variable that happens to be set.
        (_, Some(file)) => std::fs::read_to_string(file).map_err(|error| {
            Error::caused(
                format!("cannot read the token from {}", file.display()),
                error,
            )
        })?,
        (Some(text), None) => text.clone(),
        (None, None) => return Err(Error::Usage("--token or --token-file is missing".into())),
    };
    let text = text.trim().to_owned();
    text.parse::<TokenText>().map_err(|error: TokenError| {
        Error::Usage(format!("{error}; make a new one with: koinon token create"))
    })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for good in [
            "hub:7444",
            "hub.example.com:1",
            "127.0.0.1:7444",
            "[::1]:7444",
        ] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in [
            "hub",
            "hub:",
            ":7444",
            "hub:0",
            "hub:70000",
            "::1:7444",
            "https://hub:7444",
            "hub:7444/",
            "a b:1",
            "[hub]:1",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
