//! `koinon version`.

use crate::{args::HubArgs, client::Server, error::Result, output};

/// What to print.
#[derive(Debug, clap::Args)]
pub(crate) struct VersionArgs {
    /// Only this program's version; the hub is not asked.
    #[arg(long)]
    client: bool,
}

pub(crate) async fn run(hub: &HubArgs, args: VersionArgs) -> Result<()> {
    output::line(&format!("koinon {}", env!("CARGO_PKG_VERSION")))?;
    if !args.client {
        let server = Server::hub(hub).await?;
        let version = server.version().await?;
        output::line(&format!("hub    {}", version.git_version))?;
    }
    Ok(())
}
