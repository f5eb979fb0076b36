//! A hub with member clusters and their agents, all real processes.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use kube::Client;
use serde_json::{Value, json};

use crate::{
    client::get,
    eventually::eventually,
    hub::Hub,
    klusterlet::{Join, Klusterlet},
    koinon::Koinon,
    kubectl::Kubectl,
    kubelet::Nodes,
    member::{Apis, Member},
    process::tail,
    proxy::Proxy,
};

/// What to start; see [`League::start`].
#[derive(Clone, Debug, Default)]
pub struct Plan {
    hub_flags: Vec<String>,
    agent_flags: Vec<String>,
    lease_seconds: Option<u32>,
    member_wires: bool,
    apis: Apis,
}

/// A hub and its clusters. Call [`League::finish`] when the test has passed:
/// dropped without it, the league prints the end of every log.
#[derive(Debug)]
pub struct League {
    pub hub: Hub,
    sites: BTreeMap<String, Site>,
    agent_flags: Vec<String>,
    member_wires: bool,
    finished: bool,
    // Last, so that the folder outlives what writes into it.
    dir: tempfile::TempDir,
}

/// A member cluster, its agent, and the wire between agent and hub.
#[derive(Debug)]
pub struct Site {
    pub agent: Klusterlet,
    pub member: Member,
    /// The agent's connection to the hub passes through here.
    pub wire: Proxy,
    /// The agent's connections to its cluster pass through here, if the plan says so.
    pub member_wire: Option<Proxy>,
}

impl Plan {
    /// Adds a flag to the hub's command line.
    #[must_use]
    pub fn hub_flag(mut self, flag: impl Into<String>) -> Self {
        self.hub_flags.push(flag.into());
        self
    }

    /// Adds a flag to the command line of every agent.
    #[must_use]
    pub fn agent_flag(mut self, flag: impl Into<String>) -> Self {
        self.agent_flags.push(flag.into());
        self
    }

    /// Sets `leaseDurationSeconds` of every cluster. A cluster counts as lost
    /// after five times that, so tests of loss want 1 or 2.
    #[must_use]
    pub fn lease_seconds(mut self, seconds: u32) -> Self {
        self.lease_seconds = Some(seconds);
        self
    }

    /// Lets the agents reach their clusters through a proxy, as they reach the hub.
    #[must_use]
    pub fn member_wires(mut self) -> Self {
        self.member_wires = true;
        self
    }

    /// Chooses what the members' API servers serve.
    #[must_use]
    pub fn apis(mut self, apis: Apis) -> Self {
        self.apis = apis;
        self
    }

    /// Starts the hub and these clusters, joins them with a token that accepts
    /// them, and waits until each is `Available`.
    ///
    /// # Errors
    /// When anything of it does not come up.
    pub async fn clusters<const N: usize>(self, names: [&str; N]) -> anyhow::Result<League> {
        let dir = tempfile::Builder::new()
            .prefix("koinon-league-")
            .tempdir_in("/tmp")?;
        // Postgres, which runs as another user when we are root, must pass through.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
        let flags: Vec<&str> = self.hub_flags.iter().map(String::as_str).collect();
        let hub = Hub::prepare(&dir.path().join("hub"), &flags)?;
        let mut league = League {
            hub,
            sites: BTreeMap::new(),
            agent_flags: if self.agent_flags.is_empty() {
                // Tests of other things delete what they made.
                vec!["--mass-deletion-percent=100".to_owned()]
            } else {
                self.agent_flags.clone()
            },
            member_wires: self.member_wires,
            finished: false,
            dir,
        };
        let folder = league.dir.path().to_owned();
        let members = try_join_all(names.iter().map(async |name| {
            Member::start_with(name, &folder.join(name), self.apis, Nodes::default()).await
        }));
        let (hub, members) = tokio::join!(league.hub.restart(), members);
        hub?;
        for member in members? {
            // Before the agent comes: a shorter lease reaches a connected agent only
            // with its next heartbeat, and until then it would be late.
            if let Some(seconds) = self.lease_seconds {
                league.declare(member.name(), seconds).await?;
            }
            league.join(member).await?;
        }
        for name in names {
            league.available(name, "True").await?;
        }
        Ok(league)
    }
}

const CLUSTERS: &str = "/apis/cluster.open-cluster-management.io/v1/managedclusters";

impl League {
    /// Begins a plan: `League::start().lease_seconds(2).clusters(["east", "west"]).await?`.
    pub fn start() -> Plan {
        Plan::default()
    }

    /// Starts the agent of a member and lets it join with a token that accepts it.
    ///
    /// # Errors
    /// When the token cannot be made or the agent not be started.
    pub async fn join(&mut self, member: Member) -> anyhow::Result<()> {
        let name = member.name().to_owned();
        let token = self
            .token(&json!({"clusterName": name, "autoAccept": true}))
            .await?;
        let wire = Proxy::to(self.hub.agent_address()).await?;
        let (mut kubeconfig, mut member_wire) = (member.kubeconfig(), None);
        if self.member_wires {
            let proxy = Proxy::to(member.api_address()).await?;
            kubeconfig = member.kubeconfig_by(proxy.address())?;
            member_wire = Some(proxy);
        }
        let agent = Klusterlet::start(Join {
            cluster: &name,
            kubeconfig: &kubeconfig,
            hub: wire.address(),
            token: Some(&token),
            dir: &self.dir.path().join(&name),
            flags: &self.agent_flags,
        })?;
        self.sites.insert(
            name,
            Site {
                agent,
                member,
                wire,
                member_wire,
            },
        );
        Ok(())
    }

    async fn declare(&self, name: &str, lease_seconds: u32) -> anyhow::Result<()> {
        let spec = json!({"hubAcceptsClient": true, "leaseDurationSeconds": lease_seconds});
        let cluster = json!({"apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster", "metadata": {"name": name}, "spec": spec});
        let request = http::Request::post(CLUSTERS)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&cluster)?)?;
        let _: Value = self.client().await?.request(request).await?;
        Ok(())
    }

    /// Makes a join token that expires in an hour; returns its text. `spec` is
    /// what else the `JoinToken` says.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn token(&self, spec: &Value) -> anyhow::Result<String> {
        let mut spec = spec.clone();
        spec["expiresAt"] = json!(
            (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1))
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string()
        );
        let token = json!({"apiVersion": "koinon.dev/v1alpha1", "kind": "JoinToken", "metadata": {"generateName": "test-"}, "spec": spec});
        let request = http::Request::post("/apis/koinon.dev/v1alpha1/jointokens")
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&token)?)?;
        let made: Value = self
            .client()
            .await?
            .request(request)
            .await
            .context("cannot make a join token")?;
        Ok(made["status"]["token"]
            .as_str()
            .context("the new token shows no text")?
            .to_owned())
    }

    /// A new client of the hub with the administrator's rights.
    ///
    /// # Errors
    /// When the hub wrote no usable kubeconfig.
    pub async fn client(&self) -> anyhow::Result<Client> {
        self.hub.client().await
    }

    /// The real `kubectl` against the hub.
    pub fn kubectl(&self) -> Kubectl {
        self.hub.kubectl()
    }

    /// The real `koinon` command against the hub.
    pub fn koinon(&self) -> Koinon {
        Koinon::new(&self.hub.kubeconfig())
    }

    /// A folder for a test's own files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A cluster of the league.
    ///
    /// # Panics
    /// When the league was started without it.
    pub fn site(&mut self, name: &str) -> &mut Site {
        self.sites
            .get_mut(name)
            .expect("the league was started with this cluster")
    }

    /// The real `kubectl` against a member.
    ///
    /// # Panics
    /// When the league was started without it.
    pub fn member_kubectl(&self, name: &str) -> Kubectl {
        self.sites
            .get(name)
            .expect("the league was started with this cluster")
            .member
            .kubectl()
    }

    /// Takes a cluster away as a dead site would go: agent, API server and all.
    pub fn lose(&mut self, name: &str) {
        let site = self.site(name);
        site.agent.kill();
        site.member.kill();
    }

    /// Brings a lost cluster back on its old data.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn bring_back(&mut self, name: &str) -> anyhow::Result<()> {
        let site = self.site(name);
        site.member.restart().await?;
        site.agent.restart()
    }

    /// Waits until the condition `ManagedClusterConditionAvailable` of a cluster
    /// has this status: `True`, `False` or `Unknown`.
    ///
    /// # Errors
    /// When it does not come to that; an agent that ended is reported.
    pub async fn available(&mut self, name: &str, status: &str) -> anyhow::Result<()> {
        let client = self.client().await?;
        eventually(
            &format!("cluster {name} has Available={status}"),
            async || {
                let cluster = get(&client, &format!("{CLUSTERS}/{name}")).await?;
                let found = condition(&cluster, "ManagedClusterConditionAvailable");
                ensure!(
                    found == status,
                    "it is {found:?}: {}",
                    cluster["status"]["conditions"]
                );
                Ok(Some(()))
            },
        )
        .await
    }

    /// Gets a path from the hub.
    ///
    /// # Errors
    /// When the hub refuses or does not answer.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        get(&self.client().await?, path).await
    }

    /// Sends a merge patch to the hub.
    ///
    /// # Errors
    /// When the hub refuses or does not answer.
    pub async fn patch(&self, path: &str, patch: &Value) -> anyhow::Result<Value> {
        let request = http::Request::patch(path)
            .header("content-type", "application/merge-patch+json")
            .body(serde_json::to_vec(patch)?)?;
        Ok(self.client().await?.request(request).await?)
    }

    /// Ends the league quietly: the test has passed.
    pub fn finish(mut self) {
        self.finished = true;
    }

    fn logs(&self) -> Vec<PathBuf> {
        let folders = std::iter::once("hub").chain(self.sites.keys().map(String::as_str));
        let files = folders
            .filter_map(|folder| std::fs::read_dir(self.dir.path().join(folder)).ok())
            .flatten()
            .flatten();
        let mut logs: Vec<_> = files
            .map(|file| file.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        logs.sort();
        logs
    }
}

impl Drop for League {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        for log in self.logs() {
            let ours = log.ends_with("hub.log") || log.ends_with("klusterlet.log");
            eprintln!(
                "---- the end of {}\n{}",
                log.display(),
                tail(&log, if ours { 80 } else { 15 })
            );
        }
    }
}

/// The status of one of an object's conditions; empty when it is absent.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let conditions = object["status"]["conditions"].as_array();
    conditions
        .and_then(|all| all.iter().find(|condition| condition["type"] == kind)?["status"].as_str())
        .unwrap_or_default()
}
