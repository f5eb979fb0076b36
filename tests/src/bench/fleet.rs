//! Many agents on one hub.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use hyper::Method;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    agent::{Agent, Counters},
    https::{Connection, authorities},
};

/// Running agents; they end when dropped.
pub(super) struct Fleet {
    pub(super) counters: Arc<Counters>,
    agents: JoinSet<()>,
}

/// A token's record of who used it is one object, so a thousand agents share more than one.
const USES: usize = 50;

impl Fleet {
    /// Enrols and starts agents `c0000`, `c0001` …
    pub(super) async fn start(
        count: usize,
        hub: SocketAddr,
        kubeconfig: &Path,
        api: &mut Connection,
    ) -> anyhow::Result<Self> {
        let authorities = authorities(kubeconfig)?;
        let mut tokens = Vec::new();
        for _ in 0..count.div_ceil(USES) {
            tokens.push(token(api).await?);
        }
        let agents: Vec<Agent> = stream::iter(0..count)
            .map(|index| {
                let (token, authorities) = (&tokens[index % tokens.len()], &authorities);
                async move { Agent::enrol(&format!("c{index:04}"), hub, authorities, token).await }
            })
            .buffer_unordered(16)
            .try_collect()
            .await?;
        let counters = Arc::new(Counters::default());
        let mut running = JoinSet::new();
        for agent in agents {
            let counters = Arc::clone(&counters);
            running.spawn(async move {
                if let Err(error) = agent.run(counters).await {
                    eprintln!("bench:   agent: {error:#}");
                }
            });
        }
        Ok(Self {
            counters,
            agents: running,
        })
    }

    pub(super) fn connected(&self) -> usize {
        self.counters.connected.load(Ordering::Relaxed)
    }

    pub(super) fn pulled(&self) -> usize {
        self.counters.pulled.load(Ordering::Relaxed)
    }

    pub(super) fn running(&self) -> usize {
        self.agents.len()
    }
}

async fn token(api: &mut Connection) -> anyhow::Result<String> {
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let token = json!({
        "apiVersion": "koinon.dev/v1alpha1", "kind": "JoinToken", "metadata": { "generateName": "bench-" },
        "spec": { "uses": USES, "autoAccept": true, "expiresAt": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() },
    });
    let made = api
        .json(Method::POST, "/apis/koinon.dev/v1alpha1/jointokens", &token)
        .await?;
    Ok(made["status"]["token"]
        .as_str()
        .context("the new token shows no text")?
        .to_owned())
}
