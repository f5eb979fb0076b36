//! The process that owns all others. It does what it is told, one order at a
//! time for each caller, and ends everything when told to stop.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Mutex, mpsc},
    task::LocalSet,
};

use crate::{
    demo::{
        Refused,
        control::{Answer, Ask, ClusterStatus, Status, short},
        state,
    },
    hub::Hub,
    klusterlet::{Join, Klusterlet},
    kubelet::Nodes,
    member::{Apis, Member},
};

#[derive(Debug)]
struct Site {
    member: Member,
    agent: Option<Klusterlet>,
    lost: bool,
}

/// Everything that runs. Each part has a lock of its own, so that the clusters
/// can be started side by side.
#[derive(Debug)]
struct Owned {
    folder: PathBuf,
    hub: Mutex<Option<Hub>>,
    sites: Mutex<BTreeMap<String, Arc<Mutex<Site>>>>,
    /// Set once the demo is complete.
    ready: Mutex<bool>,
    stop: mpsc::UnboundedSender<()>,
}

/// Serves orders until told to stop, then ends everything.
///
/// # Errors
/// When the socket cannot be made or a process does not end.
pub async fn supervise() -> anyhow::Result<()> {
    LocalSet::new().run_until(listen()).await
}

async fn listen() -> anyhow::Result<()> {
    // Away from the terminal: closing it must not end the demo.
    let _ = rustix::process::setsid(); // fails only for a leader, which is away already
    let folder = state::folder();
    let open = std::fs::File::open(&folder)
        .with_context(|| format!("no state folder {}", folder.display()))?;
    let listener = UnixListener::bind(short(&open)).context("cannot listen for orders")?;
    let (stop, mut stopped) = mpsc::unbounded_channel();
    let owned = Arc::new(Owned {
        folder,
        hub: Mutex::default(),
        sites: Mutex::default(),
        ready: Mutex::default(),
        stop,
    });
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                tokio::task::spawn_local(serve(owned.clone(), stream));
            }
            _ = stopped.recv() => break,
            _ = terminated.recv() => break,
        }
    }
    let ended = owned.end().await;
    std::fs::remove_file(short(&open))?;
    ended
}

async fn serve(owned: Arc<Owned>, stream: UnixStream) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut first = false;
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(ask) = serde_json::from_str::<Ask>(&line) else {
            break;
        };
        first |= matches!(ask, Ask::Hub);
        eprintln!("asked: {}", name(&ask));
        let answer: Answer = owned.obey(ask).await.map_err(|error| format!("{error:#}"));
        if let Err(error) = &answer {
            eprintln!("failed: {error}");
        }
        let Ok(mut answer) = serde_json::to_string(&answer) else {
            break;
        };
        answer.push('\n');
        if write.write_all(answer.as_bytes()).await.is_err() {
            break;
        }
    }
    // Whoever began the demo left before it was complete.
    if first && !*owned.ready.lock().await {
        let _ = owned.stop.send(()); // the receiver is gone when we are stopping anyway
    }
}

// The token is nobody's business, so orders are not logged as they are.
fn name(ask: &Ask) -> String {
    match ask {
        Ask::Member { cluster, .. } => format!("member {cluster}"),
        Ask::Agent { cluster, .. } => format!("agent {cluster}"),
        other => format!("{other:?}"),
    }
}

impl Owned {
    async fn obey(&self, ask: Ask) -> anyhow::Result<Status> {
        match ask {
            Ask::Hub => *self.hub.lock().await = Some(Hub::start(&self.folder.join("hub")).await?),
            Ask::Member { cluster, memory } => {
                let nodes = Nodes {
                    memory,
                    ..Nodes::default()
                };
                let member =
                    Member::start_with(&cluster, &self.folder.join(&cluster), Apis::Whole, nodes)
                        .await?;
                let site = Arc::new(Mutex::new(Site {
                    member,
                    agent: None,
                    lost: false,
                }));
                self.sites.lock().await.insert(cluster, site);
            }
            Ask::Agent { cluster, token } => self.agent_start(&cluster, &token).await?,
            Ask::Ready => *self.ready.lock().await = true,
            Ask::Lose { cluster } => {
                let site = self.site(&cluster).await?;
                let mut site = site.lock().await;
                ensure!(!site.lost, Refused::Lost(cluster));
                site.lost = true;
                if let Some(agent) = &mut site.agent {
                    agent.kill();
                }
                site.member.kill();
            }
            Ask::Return { cluster } => {
                let site = self.site(&cluster).await?;
                let mut site = site.lock().await;
                ensure!(site.lost, Refused::NotLost(cluster));
                site.member.restart().await?;
                if let Some(agent) = &mut site.agent {
                    agent.restart()?;
                }
                site.lost = false;
            }
            Ask::Status => {}
            Ask::Stop => {
                let _ = self.stop.send(()); // the receiver is gone when we are stopping anyway
            }
        }
        self.status().await
    }

    async fn agent_start(&self, cluster: &str, token: &str) -> anyhow::Result<()> {
        let hub = self
            .hub
            .lock()
            .await
            .as_ref()
            .context("the hub was not started")?
            .agent_address();
        let site = self.site(cluster).await?;
        let mut site = site.lock().await;
        let agent = Klusterlet::start(Join {
            cluster,
            kubeconfig: &site.member.kubeconfig(),
            hub,
            token: Some(token),
            dir: &self.folder.join(cluster),
            flags: &[],
        })?;
        site.agent = Some(agent);
        Ok(())
    }

    async fn site(&self, cluster: &str) -> anyhow::Result<Arc<Mutex<Site>>> {
        match self.sites.lock().await.get(cluster) {
            Some(site) => Ok(site.clone()),
            None => bail!(Refused::UnknownCluster(cluster.to_owned())),
        }
    }

    async fn status(&self) -> anyhow::Result<Status> {
        let mut status = Status::default();
        if let Some(hub) = &*self.hub.lock().await {
            status.hub_kubeconfig = hub.kubeconfig();
            status.hub_agent_address = hub.agent_address().to_string();
        }
        let sites = self.sites.lock().await.clone();
        for (name, site) in sites {
            let site = site.lock().await;
            status.clusters.push(ClusterStatus {
                name,
                kubeconfig: site.member.kubeconfig(),
                lost: site.lost,
            });
        }
        Ok(status)
    }

    /// Ends agents and hub in order, then the clusters.
    async fn end(&self) -> anyhow::Result<()> {
        let sites = std::mem::take(&mut *self.sites.lock().await);
        for site in sites.values() {
            // A cluster that is still starting holds its lock; its start ends with us.
            let Ok(mut site) = tokio::time::timeout(Duration::from_secs(5), site.lock()).await
            else {
                continue;
            };
            if let Some(agent) = &mut site.agent {
                agent.kill();
            }
            site.member.kill();
        }
        match self.hub.lock().await.as_mut() {
            Some(hub) => hub.stop().await.map(|_| ()),
            None => Ok(()),
        }
    }
}
