//! A hub's agent port, and agents.

mod agent;
mod clusters;

pub(crate) use self::agent::{Agent, Applicant, Credentials, csr};

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::Time};
use koinon_api::{
    JoinToken, ManagedCluster, ManifestWork,
    cluster::ManagedClusterSpec,
    labels::{condition, reason},
    meta::{Truth, new_condition, set_condition},
    token::JoinTokenSpec,
    work::ManifestWorkSpec,
};
use koinon_hub::{
    agents::{self, Agents, Settings},
    audit::{self, Audit, Level, Sinks, WhenFull},
    metrics::Metrics,
    pki::{Authority, Material},
    registry::{Client, Registry},
    resources,
    tasks::{Policy, Tasks},
    tls::{self, Acceptor, ServerCertificate},
};
use koinon_proto::{
    Held, held_digest,
    v1::{
        AgentMessage, EnrolRequest, EnrolResponse, Hello, HubMessage, Issued, Welcome,
        agent_message, enrol_response::Outcome, enrolment_client::EnrolmentClient, hub_message,
        session_client::SessionClient,
    },
};
use koinon_store::{
    Release, Store, StoreConfig,
    server::Durability,
    testing::{TestPostgres, impatient},
};
use kube::core::ObjectMeta;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status, Streaming,
    transport::{Channel, Endpoint},
};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One hub, as far as agents see it.
pub(crate) struct Hub {
    pub(crate) postgres: TestPostgres,
    pub(crate) store: Store,
    pub(crate) client: Client,
    pub(crate) authority: Arc<Authority>,
    pub(crate) agents: Agents,
    pub(crate) metrics: Metrics,
    address: SocketAddr,
    tasks: Tasks,
    store_tasks: Tasks,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.tasks.stop_token().cancel();
        self.store_tasks.stop_token().cancel();
    }
}

impl Hub {
    pub(crate) async fn start() -> Self {
        Self::start_on(Durability::None, Duration::from_secs(3600), |_| {}).await
    }

    /// A hub whose registry survives a crash and is given up soon when it is away.
    pub(crate) async fn durable() -> Self {
        Self::start_on(Durability::Full, Duration::from_secs(3600), impatient).await
    }

    /// A hub whose agent certificates live for `ttl`.
    pub(crate) async fn start_with(certificate_ttl: Duration) -> Self {
        Self::start_on(Durability::None, certificate_ttl, |_| {}).await
    }

    async fn start_on(
        durability: Durability,
        certificate_ttl: Duration,
        change: impl FnOnce(&mut StoreConfig),
    ) -> Self {
        // Other tests of this process may have installed it.
        let _ = tls::install_provider();
        let postgres = TestPostgres::start_with(durability)
            .await
            .expect("Postgres is installed");
        let mut config = postgres.config();
        change(&mut config);
        let (store, store_work) = Store::open(config).await.expect("the store opens");
        let failed = CancellationToken::new();
        let (tasks, store_tasks) = (Tasks::new(failed.clone()), Tasks::new(failed));
        let stop = store_tasks.stop_token();
        store_tasks.spawn("store", Policy::Optional, async move {
            Ok(store_work.run(stop).await?)
        });

        let authority = Arc::new(Authority::load(&Material::generate().unwrap()).unwrap());
        let kinds = resources::all(&resources::Settings {
            ca_sha256: sha256(authority.certificate()),
            work_limit: 4 << 20,
            takes_secrets: true,
        });
        let registry = Registry::new(store.clone(), kinds);
        registry.seed().await.expect("the registry is seeded");
        let client = Client::new(registry);
        let metrics = Metrics::default();
        let (audit, recording) = Audit::new(
            audit::Policy::standard(Level::Metadata),
            WhenFull::Refuse,
            Sinks {
                table: Some((store.audit(), Duration::from_secs(86_400))),
                lines: None,
            },
        );
        tasks.spawn("audit", Policy::Optional, recording.run(tasks.stop_token()));
        let settings = Settings {
            certificate_ttl,
            flush_interval: Duration::from_millis(50),
            audit: Some(audit),
        };
        let (agents, work) = Agents::new(client.clone(), authority.clone(), settings, &metrics);
        let running = work.run(tasks.stop_token());
        tasks.spawn("agents", Policy::Optional, async move {
            running.await;
            Ok(())
        });

        let certificate = ServerCertificate::issue(
            &authority,
            &["localhost".to_owned()],
            Duration::from_secs(3600),
        );
        let tls =
            tls::server_config(authority.certificate(), certificate.unwrap(), &["h2"]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = Acceptor::new(listener, tls, 256, tasks.stop_token());
        tasks.spawn(
            "port",
            Policy::Optional,
            agents::serve(acceptor, agents.clone(), tasks.stop_token()),
        );
        Self {
            postgres,
            store,
            client,
            authority,
            agents,
            metrics,
            address,
            tasks,
            store_tasks,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client says first.
    pub(crate) fn client_hello(&self) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut hello = Vec::new();
        rustls::ClientConnection::new(Arc::new(config), name)
            .unwrap()
            .write_tls(&mut hello)
            .unwrap();
        hello
    }

    /// Connects with or without a client certificate.
    pub(crate) async fn connect(&self, identity: Option<&Credentials>) -> Channel {
        self.try_connect(identity).await.expect("the hub accepts")
    }

    /// The same with a certificate that the hub may not like.
    pub(crate) async fn try_connect(
        &self,
        identity: Option<&Credentials>,
    ) -> Result<Channel, tonic::transport::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.clone()));
                builder
                    .with_client_auth_cert(identity.chain.clone(), key)
                    .unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (connector, address) = (TlsConnector::from(Arc::new(config)), self.address);
        let connector = tower::service_fn(move |_: http::Uri| {
            let connector = connector.clone();
            async move {
                let tcp = TcpStream::connect(address).await?;
                let tls = connector
                    .connect(ServerName::try_from("localhost").unwrap(), tcp)
                    .await?;
                Ok::<_, std::io::Error>(TokioIo::new(tls))
            }
        });
        // The windows that agents use: who does not read is soon not written to.
        Endpoint::from_static("http://localhost")
            .initial_stream_window_size(64 * 1024)
            .initial_connection_window_size(64 * 1024)
            .connect_with_connector(connector)
            .await
    }

    /// Makes a token; `change` edits it first.
    pub(crate) async fn token(
        &self,
        name: &str,
        change: impl FnOnce(&mut JoinTokenSpec),
    ) -> String {
        let mut spec = JoinTokenSpec {
            cluster_name: None,
            expires_at: Time(jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)),
            uses: 1,
            auto_accept: false,
            description: None,
        };
        change(&mut spec);
        let token = self
            .client
            .create(&JoinToken::new(name, spec))
            .await
            .expect("the token is created");
        token
            .status
            .and_then(|status| status.token)
            .expect("the answer shows the token")
    }

    /// Calls `Enrol` once.
    pub(crate) async fn enrol(&self, request: EnrolRequest) -> Result<EnrolResponse, Status> {
        let mut client = EnrolmentClient::new(self.connect(None).await);
        client.enrol(request).await.map(tonic::Response::into_inner)
    }

    /// The digest of a work, as notices have it.
    pub(crate) fn digest(&self, cluster: &str, name: &str) -> bytes::Bytes {
        let key = koinon_store::Key::new(
            "manifestworks.work.open-cluster-management.io",
            cluster,
            name,
        );
        let stored = self.store.get(&key).expect("the work exists");
        stored.digest.0.to_vec().into()
    }

    /// The certificate of an admin, who is a user and no agent.
    pub(crate) fn admin(&self) -> Credentials {
        let admin = self
            .authority
            .issue_admin(Duration::from_secs(3600))
            .unwrap();
        Credentials {
            uid: "uid-of-east".to_owned(),
            chain: admin.chain.into_iter().map(Into::into).collect(),
            key: admin.key.to_vec(),
        }
    }

    pub(crate) async fn deny(&self, name: &str) {
        let deny = |cluster: &mut ManagedCluster| {
            cluster.spec.hub_accepts_client = false;
            true
        };
        self.client
            .modify::<ManagedCluster>("", name, deny)
            .await
            .unwrap();
    }

    /// An accepted cluster with its agent's credentials.
    pub(crate) async fn member(&self, name: &str) -> Credentials {
        self.accept(name).await;
        let token = self.token(&format!("for-{name}"), |_| {}).await;
        let applicant = Applicant::new(name);
        self.issued(&applicant, &token).await
    }

    /// What one who is accepted is given.
    pub(crate) async fn issued(&self, applicant: &Applicant, token: &str) -> Credentials {
        let enrolled = self.enrol(applicant.request(token)).await;
        match enrolled.expect("the member enrols").outcome {
            Some(Outcome::Issued(issued)) => applicant.credentials(&issued),
            other => panic!("not issued: {other:?}"),
        }
    }

    pub(crate) async fn work(&self, cluster: &str, name: &str) -> ManifestWork {
        self.client
            .create(&work(cluster, name, "1"))
            .await
            .expect("the work is created")
    }

    pub(crate) fn cluster(&self, name: &str) -> ManagedCluster {
        self.client
            .get("", name)
            .unwrap()
            .expect("the cluster exists")
    }

    /// Reads a counter or gauge, labels and all, from the rendered metrics.
    pub(crate) fn metric(&self, line: &str) -> u64 {
        let text = self.metrics.render().unwrap();
        let value = text
            .lines()
            .find_map(|found| found.strip_prefix(&format!("koinon_{line} ")));
        value.map_or(0, |value| value.parse().unwrap())
    }
}

/// A work with one ConfigMap.
pub(crate) fn work(cluster: &str, name: &str, value: &str) -> ManifestWork {
    let manifest = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"}, "data": {"value": value},
    });
    let spec: ManifestWorkSpec =
        serde_json::from_value(serde_json::json!({"workload": {"manifests": [manifest]}})).unwrap();
    let mut work = ManifestWork::new(name, spec);
    work.metadata.namespace = Some(cluster.to_owned());
    work
}

/// Raises the limit of open files; returns how many connections of up to `wanted` may be open at both ends.
pub(crate) fn many_files(wanted: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let most = limit
        .maximum
        .map_or(usize::MAX, |most| usize::try_from(most).unwrap());
    wanted.min(most / 2 - 200)
}

/// Waits until `check` holds.
pub(crate) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check().await {
        assert!(Instant::now() < deadline, "{what} did not come to pass");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}
