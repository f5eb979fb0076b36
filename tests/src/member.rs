//! A real member cluster: etcd, kube-apiserver, kube-controller-manager and a
//! stand-in for kubelets.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use kube::Client;
use serde_json::json;

use crate::{
    client::client,
    eventually::{START, eventually_within},
    kubectl::Kubectl,
    kubelet::{Kubelet, Nodes},
    member::control_plane::ControlPlane,
    pki::{Authority, Pair},
    process::Process,
};

mod control_plane;
mod crds;

pub use control_plane::Apis;

/// One member cluster on loopback ports.
#[derive(Debug)]
pub struct Member {
    name: String,
    dir: PathBuf,
    plane: ControlPlane,
    etcd: Option<Process>,
    api: Option<Process>,
    controllers: Option<Process>,
    kubelet: Option<Kubelet>,
}

impl Member {
    /// Starts a cluster whose files are below `dir`, and waits until it serves.
    ///
    /// # Errors
    /// When a tool is missing or a program does not come up.
    pub async fn start(name: &str, dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(name, dir, Apis::Stable, Nodes::default()).await
    }

    /// A cluster to compare with: it serves all that its Kubernetes serves unasked.
    ///
    /// # Errors
    /// When a tool is missing or a program does not come up.
    pub async fn reference(name: &str, dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(name, dir, Apis::Whole, Nodes::default()).await
    }

    /// The same with chosen APIs and nodes.
    ///
    /// # Errors
    /// When a tool is missing or a program does not come up.
    pub async fn start_with(
        name: &str,
        dir: &Path,
        apis: Apis,
        nodes: Nodes,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let authority = Authority::new(&format!("{name}-ca"))?;
        let plane = ControlPlane::prepare(name, dir, apis, &authority)?;
        let admin = authority.client("admin", "system:masters")?;
        write_kubeconfig(&plane, &authority, &admin, dir)?;
        let mut this = Self {
            name: name.into(),
            dir: dir.into(),
            plane,
            etcd: None,
            api: None,
            controllers: None,
            kubelet: None,
        };
        this.restart()
            .await
            .with_context(|| format!("member cluster {name}"))?;
        this.kubelet = Some(Kubelet::start(this.client().await?, nodes).await?);
        Ok(this)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// Writes a kubeconfig of the administrator that reaches the cluster by another address, such as a proxy's.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn kubeconfig_by(&self, address: SocketAddr) -> anyhow::Result<PathBuf> {
        let text = std::fs::read_to_string(self.kubeconfig())?;
        let path = self.dir.join("wire.kubeconfig");
        let (own, other) = (self.api_address().to_string(), address.to_string());
        std::fs::write(&path, text.replace(&own, &other))?;
        Ok(path)
    }

    pub fn api_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.plane.api_port))
    }

    /// Where etcd answers, without TLS.
    pub fn etcd_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.plane.etcd_port))
    }

    /// The running API server and etcd.
    pub fn pids(&self) -> Option<(u32, u32)> {
        Some((self.api.as_ref()?.pid(), self.etcd.as_ref()?.pid()))
    }

    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.kubeconfig(), &self.dir)
    }

    /// A new client with the administrator's rights.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn client(&self) -> anyhow::Result<Client> {
        client(&self.kubeconfig()).await
    }

    /// The UID of `kube-system`: what a hub takes for the cluster's identity.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn uid(&self) -> anyhow::Result<String> {
        let namespace = self
            .kubectl()
            .json(&["get", "namespace", "kube-system"])
            .await?;
        Ok(namespace["metadata"]["uid"]
            .as_str()
            .context("kube-system has no uid")?
            .to_owned())
    }

    /// Kills the API server alone; what runs in the cluster goes on.
    pub fn kill_api(&mut self) {
        self.api = None;
    }

    /// Kills the whole cluster. Its data stays.
    pub fn kill(&mut self) {
        self.controllers = None;
        self.api = None;
        self.etcd = None;
    }

    /// Stops the whole cluster as an operator would. Its data stays.
    ///
    /// # Errors
    /// When a program does not stop in time.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.controllers = None;
        for program in [&mut self.api, &mut self.etcd] {
            if let Some(mut program) = program.take() {
                program.terminate(Duration::from_secs(90)).await?;
            }
        }
        Ok(())
    }

    /// Starts what does not run, on the same data and ports, and waits for it.
    ///
    /// # Errors
    /// When a program does not come up.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        if !runs(&mut self.etcd) {
            let etcd = self.etcd.insert(self.plane.etcd()?);
            let port = self.plane.etcd_port;
            eventually_within(START, "etcd accepts connections", async || {
                if let Err(ended) = etcd.check() {
                    return Ok(Some(Err(ended)));
                }
                tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
                Ok(Some(Ok(())))
            })
            .await??;
        }
        if !runs(&mut self.api) {
            self.api = Some(self.plane.api_server()?);
        }
        self.ready().await?;
        if !runs(&mut self.controllers) {
            self.controllers = Some(self.plane.controller_manager(&self.kubeconfig())?);
        }
        Ok(())
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let client = self.client().await?;
        let api = self.api.as_mut().context("no API server was started")?;
        eventually_within(START, "the API server is ready", async || {
            if let Err(ended) = api.check() {
                return Ok(Some(Err(ended)));
            }
            // Ready is said before the system's own namespaces are there.
            for path in ["/readyz", "/api/v1/namespaces/kube-system"] {
                client
                    .request_text(http::Request::get(path).body(Vec::new())?)
                    .await?;
            }
            Ok(Some(Ok(())))
        })
        .await?
    }
}

fn runs(process: &mut Option<Process>) -> bool {
    process
        .as_mut()
        .is_some_and(|process| matches!(process.ended(), Ok(None)))
}

fn write_kubeconfig(
    plane: &ControlPlane,
    authority: &Authority,
    user: &Pair,
    dir: &Path,
) -> anyhow::Result<()> {
    let encode = |pem: &str| BASE64_STANDARD.encode(pem);
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": plane.name,
        "clusters": [{"name": plane.name, "cluster": {
            "server": format!("https://127.0.0.1:{}", plane.api_port),
            "certificate-authority-data": encode(&authority.certificate_pem),
        }}],
        "users": [{"name": "admin", "user": {
            "client-certificate-data": encode(&user.certificate_pem),
            "client-key-data": encode(&user.key_pem),
        }}],
        "contexts": [{"name": plane.name, "context": {"cluster": plane.name, "user": "admin"}}],
    });
    // JSON is YAML.
    Ok(std::fs::write(
        dir.join("admin.kubeconfig"),
        serde_json::to_string_pretty(&config)?,
    )?)
}
