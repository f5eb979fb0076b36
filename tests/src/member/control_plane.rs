//! The programs of a member cluster and their flags, for Kubernetes 1.20 and current ones.

use std::path::{Path, PathBuf};

use rcgen::KeyPair;

use crate::{
    pki::Authority,
    ports::free_port,
    process::{Process, Program},
    tools::{kubernetes_minor, tool},
};

/// Which APIs a member serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Apis {
    /// The stable ones: without the others a server starts with half the work.
    #[default]
    Stable,
    /// All that its Kubernetes serves unasked: to compare with, to measure, to show.
    Whole,
}

/// Files and ports of one control plane; they outlive its programs.
#[derive(Debug)]
pub(super) struct ControlPlane {
    pub(super) name: String,
    apis: Apis,
    dir: PathBuf,
    pub(super) etcd_port: u16,
    etcd_peer_port: u16,
    pub(super) api_port: u16,
    controllers_port: u16,
}

impl ControlPlane {
    pub(super) fn prepare(
        name: &str,
        dir: &Path,
        apis: Apis,
        authority: &Authority,
    ) -> anyhow::Result<Self> {
        let server = authority.server()?;
        let accounts = KeyPair::generate()?;
        for (file, content) in [
            ("ca.crt", &authority.certificate_pem),
            ("server.crt", &server.certificate_pem),
            ("server.key", &server.key_pem),
            ("service-accounts.key", &accounts.serialize_pem()),
            ("service-accounts.pub", &accounts.public_key_pem()),
        ] {
            std::fs::write(dir.join(file), content)?;
        }
        Ok(Self {
            name: name.into(),
            apis,
            dir: dir.into(),
            etcd_port: free_port()?,
            etcd_peer_port: free_port()?,
            api_port: free_port()?,
            controllers_port: free_port()?,
        })
    }

    fn program(&self, name: &str, variable: &str) -> anyhow::Result<Program> {
        Ok(Program::new(name, tool(variable)?, &self.dir))
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    pub(super) fn etcd(&self) -> anyhow::Result<Process> {
        let (client, peer) = (
            format!("http://127.0.0.1:{}", self.etcd_port),
            format!("http://127.0.0.1:{}", self.etcd_peer_port),
        );
        self.program("etcd", "ETCD")?
            .args([
                "--data-dir".to_owned(),
                self.file("etcd"),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=default={peer}"),
                "--logger=zap".to_owned(),
                "--log-level=warn".to_owned(),
            ])
            .spawn()
    }

    pub(super) fn api_server(&self) -> anyhow::Result<Process> {
        let mut program = self.program("kube-apiserver", "KUBE_APISERVER")?.args([
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            "--bind-address=127.0.0.1".to_owned(),
            // The address of the `kubernetes` service may not be loopback; nothing
            // in these clusters uses it.
            "--advertise-address=192.0.2.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--secure-port={}", self.api_port),
            format!("--cert-dir={}", self.file("run")),
            format!("--tls-cert-file={}", self.file("server.crt")),
            format!("--tls-private-key-file={}", self.file("server.key")),
            format!("--client-ca-file={}", self.file("ca.crt")),
            "--authorization-mode=RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!(
                "--service-account-key-file={}",
                self.file("service-accounts.pub")
            ),
            format!(
                "--service-account-signing-key-file={}",
                self.file("service-accounts.key")
            ),
            // No kubelet mounts tokens here, and no node controller takes the taint off.
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition".to_owned(),
            "--profiling=false".to_owned(),
        ]);
        if self.apis == Apis::Stable && kubernetes_minor()? < 24 {
            // From 1.24 on, new beta APIs are not served unasked.
            program = program.args([
                "--runtime-config=api/beta=false,api/alpha=false",
                // What it reads is a beta API there.
                "--feature-gates=APIPriorityAndFairness=false",
            ]);
        }
        program.spawn()
    }

    pub(super) fn controller_manager(&self, kubeconfig: &Path) -> anyhow::Result<Process> {
        let mut program = self.program("kube-controller-manager", "KUBE_CONTROLLER_MANAGER")?.args([
            format!("--kubeconfig={}", kubeconfig.display()),
            "--controllers=deployment,replicaset,statefulset,job,garbagecollector,namespace,serviceaccount".to_owned(),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.controllers_port),
            format!("--cert-dir={}", self.file("run")),
            "--kube-api-qps=200".to_owned(),
            "--kube-api-burst=400".to_owned(),
            "--profiling=false".to_owned(),
        ]);
        if kubernetes_minor()? < 24 {
            // Before 1.24 it listens without TLS as well, on one fixed port.
            program = program.args(["--port=0"]);
        }
        program.spawn()
    }
}
