//! `koinon accept` and `koinon deny`: which clusters the hub lets in.

use std::time::Duration;

use koinon_api::{ManagedCluster, names::ClusterName};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::wait;
use crate::{
    args::HubArgs,
    client::{Server, found},
    duration,
    error::{Error, Result},
    output,
};

/// Which clusters.
#[derive(Debug, clap::Args)]
pub(crate) struct NamesArgs {
    /// Names of the clusters.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<ClusterName>,

    /// Wait until the accepted clusters are available.
    #[arg(long)]
    wait: bool,

    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse)]
    timeout: Duration,
}

/// Whether a cluster is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Accept,
    Deny,
}

pub(crate) async fn run(hub: &HubArgs, args: NamesArgs, decision: Decision) -> Result<()> {
    if args.wait && decision == Decision::Deny {
        return Err(Error::Usage("--wait goes with accept only".into()));
    }
    let server = Server::hub(hub).await?;
    for name in &args.names {
        decide(&server, name, decision).await?;
    }
    if args.wait {
        for name in &args.names {
            wait::until_available(&server, name, args.timeout).await?;
        }
    }
    Ok(())
}

async fn decide(server: &Server, name: &ClusterName, decision: Decision) -> Result<()> {
    let accepts = decision == Decision::Accept;
    let (verb, done) = if accepts {
        ("accept", "accepted")
    } else {
        ("deny", "denied")
    };
    let patch = Patch::Merge(json!({ "spec": { "hubAcceptsClient": accepts } }));
    let api = server.all::<ManagedCluster>();
    let params = PatchParams::default();
    let call = async { found(api.patch(name.as_str(), &params, &patch).await) };
    match server
        .call(&format!("cannot {verb} cluster {name}"), call)
        .await?
    {
        Some(_) => output::line(&format!("cluster {name} {done}")),
        None => Err(Error::failed(format!("there is no cluster {name}")).next(
            "a cluster appears when its agent asks to join; see which did: koinon get clusters",
        )),
    }
}
