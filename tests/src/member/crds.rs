//! A member that serves the hub's kinds too.

use std::process::Command;

use anyhow::{Context as _, ensure};

use super::Member;
use crate::{eventually::eventually, tools::binary};

impl Member {
    /// Gives the cluster the kinds of the hub, by the CRDs that `koinon-hub crds` prints, and waits until they are served.
    ///
    /// # Errors
    /// When they are refused or do not come up.
    pub async fn install_crds(&self) -> anyhow::Result<()> {
        let printed = Command::new(binary("koinon-hub")?).arg("crds").output()?;
        ensure!(
            printed.status.success(),
            "{}",
            String::from_utf8_lossy(&printed.stderr)
        );
        let text = String::from_utf8(printed.stdout)?;
        let kubectl = self.kubectl();
        kubectl
            .run_with_input(&["apply", "-f", "-"], &text)
            .await
            .context("the printed CRDs")?;
        let waited = kubectl
            .run(&[
                "wait",
                "--for=condition=Established",
                "crd",
                "--all",
                "--timeout=60s",
            ])
            .await?;
        eventually("the new kinds have their schemas", async || {
            let explained = kubectl.run(&["explain", "placements.spec"]).await?;
            Ok(explained.contains("numberOfClusters").then_some(()))
        })
        .await
        .context(waited)
    }
}
