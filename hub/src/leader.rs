//! Leadership of this replica: campaign, lead, step down, campaign again.
//!
//! Losing leadership does not end the process: it goes on serving the API and its agents. That is safe because a
//! write of the past term is refused in its own transaction (P5), however late it arrives.

use koinon_store::Election;
use tokio_util::sync::CancellationToken;

use crate::{controllers::Controllers, registry::Client};

/// Runs the controllers whenever this replica leads, until stopped.
///
/// # Errors
/// A controller panicked or hangs: state that may be wrong must not go on deciding.
pub async fn lead(
    election: Election,
    client: Client,
    controllers: Controllers,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while let Some(leadership) = stop.run_until_cancelled(election.campaign()).await {
        let epoch = leadership.epoch();
        tracing::info!(epoch = epoch.0, "leading");
        let term = stop.child_token();
        let lost = async {
            leadership.lost().await;
            tracing::warn!(epoch = epoch.0, "leadership lost; controllers stop");
            term.cancel();
        };
        let run = controllers.term(&client, epoch, term.clone());
        tokio::pin!(run);
        tokio::select! {
            ended = &mut run => ended?,
            () = lost => run.await?,
        }
    }
    Ok(())
}
