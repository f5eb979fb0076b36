//! An agent without a cluster: enrols, attaches, pulls what it is told of and says that it is applied.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use hyper_util::rt::TokioIo;
use koinon_proto::v1::{
    Ack, AckBatch, AckOutcome, AgentMessage, ApiHealth, ClusterReport, EnrolRequest, Heartbeat,
    Hello, PullRequest, WorkNotice, WorkRef, WorkStatus, WorkStatusBatch, agent_message,
    enrol_response, enrolment_client::EnrolmentClient, hub_message, session_client::SessionClient,
};
use parking_lot::Mutex;
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use serde_json::json;
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::objects;

/// What the agents of a fleet did, counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connected: AtomicUsize,
    pub(super) pulled: AtomicUsize,
    /// Whether agents report new statuses of all their works, again and again, as fast as the hub takes them.
    pub(super) reporting: AtomicBool,
}

/// An enrolled agent.
pub(super) struct Agent {
    name: String,
    uid: String,
    hub: SocketAddr,
    tls: ClientConfig,
}

impl Agent {
    /// Enrols under a name, with a token that accepts it at once.
    pub(super) async fn enrol(
        name: &str,
        hub: SocketAddr,
        authorities: &[CertificateDer<'static>],
        token: &str,
    ) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let request = CertificateParams::default().serialize_request(&key)?;
        let uid = uuid::Uuid::new_v4().to_string();
        let builder =
            || anyhow::Ok(ClientConfig::builder().with_root_certificates(roots(authorities)?));
        let channel = dial(hub, builder()?.with_no_client_auth()).await?;
        let mut client = EnrolmentClient::new(channel);
        loop {
            let asked = EnrolRequest {
                token: token.to_owned(),
                cluster_name: name.to_owned(),
                cluster_uid: uid.clone(),
                agent_id: "bench".to_owned(),
                csr_der: request.der().to_vec().into(),
                agent_version: "bench".to_owned(),
            };
            match client.enrol(asked).await?.into_inner().outcome {
                Some(enrol_response::Outcome::Issued(issued)) => {
                    let chain = issued
                        .chain_der
                        .into_iter()
                        .map(|der| CertificateDer::from(der.to_vec()))
                        .collect();
                    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
                    let tls = builder()?.with_client_auth_cert(chain, key)?;
                    return Ok(Self {
                        name: name.to_owned(),
                        uid,
                        hub,
                        tls,
                    });
                }
                Some(enrol_response::Outcome::Pending(pending)) => {
                    pause(pending.retry_after_ms.max(50)).await
                }
                None => bail!("the hub answered nothing"),
            }
        }
    }

    /// Attaches and serves until the hub ends the stream.
    pub(super) async fn run(self, counters: Arc<Counters>) -> anyhow::Result<()> {
        let mut client = SessionClient::new(dial(self.hub, self.tls.clone()).await?);
        let (sender, receiver) = mpsc::channel(64);
        let send = async |body| {
            let message = AgentMessage { body: Some(body) };
            sender.send(message).await.context("the stream ended")
        };
        let hello = Hello {
            agent_version: "bench".to_owned(),
            features: Vec::new(),
            cluster_uid: self.uid.clone(),
            seen: None,
            statuses_digest: bytes::Bytes::new(),
            held_digest: koinon_proto::held_digest([]).to_vec().into(),
        };
        send(agent_message::Body::Hello(hello)).await?;
        let mut down = client
            .attach(ReceiverStream::new(receiver))
            .await?
            .into_inner();
        let mut beating = None;
        let works = Arc::new(Mutex::new(Vec::new()));
        let reporting = report_on(sender.clone(), Arc::clone(&works), Arc::clone(&counters));
        let _reporting = Ends(tokio::spawn(reporting));
        while let Some(message) = down.message().await? {
            match message.body {
                Some(hub_message::Body::Welcome(welcome)) => {
                    send(agent_message::Body::Report(report())).await?;
                    let every =
                        Duration::from_millis(u64::from(welcome.heartbeat_interval_ms.max(100)));
                    beating = Some(Ends(tokio::spawn(beat(sender.clone(), every))));
                    counters.connected.fetch_add(1, Ordering::Relaxed);
                }
                Some(hub_message::Body::Notices(notices)) => {
                    let (statuses, acks) =
                        self.follow(&mut client, notices.notices, &counters).await?;
                    if !statuses.is_empty() {
                        let named = statuses.iter().map(|of| (of.name.clone(), of.uid.clone()));
                        works.lock().extend(named);
                        send(agent_message::Body::Statuses(WorkStatusBatch { statuses })).await?;
                    }
                    send(agent_message::Body::Acks(AckBatch { acks })).await?;
                }
                _ => {}
            }
        }
        drop(beating);
        bail!("{}: the hub ended the stream", self.name)
    }

    async fn follow(
        &self,
        client: &mut SessionClient<Channel>,
        notices: Vec<WorkNotice>,
        counters: &Counters,
    ) -> anyhow::Result<(Vec<WorkStatus>, Vec<Ack>)> {
        let wanted: Vec<WorkRef> = notices
            .iter()
            .filter(|notice| !notice.tombstone)
            .map(|notice| WorkRef {
                name: notice.name.clone(),
                uid: notice.uid.clone(),
                digest: notice.digest.clone(),
            })
            .collect();
        if !wanted.is_empty() {
            let mut chunks = client
                .pull(PullRequest { works: wanted })
                .await?
                .into_inner();
            while let Some(chunk) = chunks.message().await? {
                if chunk.last && !chunk.gone {
                    counters.pulled.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        let mut statuses = Vec::new();
        let mut acks = Vec::new();
        for WorkNotice {
            name,
            uid,
            generation,
            tombstone,
            ..
        } in notices
        {
            let outcome = if tombstone {
                AckOutcome::Removed
            } else {
                AckOutcome::Stored
            };
            if !tombstone {
                let status_json = status(generation).into();
                statuses.push(WorkStatus {
                    name: name.clone(),
                    uid: uid.clone(),
                    status_json,
                });
            }
            acks.push(Ack {
                name,
                uid,
                generation,
                outcome: outcome.into(),
            });
        }
        Ok((statuses, acks))
    }
}

/// A task that ends with the session.
struct Ends(tokio::task::JoinHandle<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn beat(sender: mpsc::Sender<AgentMessage>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    for sequence in 1_u64.. {
        ticks.tick().await;
        let body = Some(agent_message::Body::Heartbeat(Heartbeat { sequence }));
        if sender.send(AgentMessage { body }).await.is_err() {
            return;
        }
    }
}

/// Sends statuses while that is wanted, each time others.
async fn report_on(
    sender: mpsc::Sender<AgentMessage>,
    works: Arc<Mutex<Vec<(String, String)>>>,
    counters: Arc<Counters>,
) {
    for count in 0.. {
        while !counters.reporting.load(Ordering::Relaxed) {
            pause(20).await;
        }
        let status = objects::status(count)["status"].to_string().into_bytes();
        let status = bytes::Bytes::from(status);
        let of = |(name, uid): &(String, String)| WorkStatus {
            name: name.clone(),
            uid: uid.clone(),
            status_json: status.clone(),
        };
        let statuses = works.lock().iter().map(of).collect();
        let body = Some(agent_message::Body::Statuses(WorkStatusBatch { statuses }));
        if sender.send(AgentMessage { body }).await.is_err() {
            return;
        }
    }
}

fn report() -> ClusterReport {
    let amounts = || {
        [
            ("cpu".to_owned(), "8".to_owned()),
            ("memory".to_owned(), "32Gi".to_owned()),
        ]
        .into()
    };
    ClusterReport {
        kubernetes_version: "v1.33.0".to_owned(),
        capacity: amounts(),
        allocatable: amounts(),
        api_health: ApiHealth::Ok.into(),
        ..ClusterReport::default()
    }
}

/// A status that says that everything is applied.
fn status(generation: i64) -> Vec<u8> {
    let condition = |kind: &str, reason: &str| {
        json!({
            "type": kind, "status": "True", "reason": reason, "message": "done",
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let conditions = [
        condition("Applied", "AppliedManifestWorkComplete"),
        condition("Available", "ResourcesAvailable"),
    ];
    json!({ "conditions": conditions }).to_string().into_bytes()
}

fn roots(authorities: &[CertificateDer<'static>]) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    Ok(roots)
}

async fn dial(hub: SocketAddr, mut tls: ClientConfig) -> anyhow::Result<Channel> {
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(tls));
    let connect = tower::service_fn(move |_: Uri| {
        let connector = connector.clone();
        async move {
            let tcp = TcpStream::connect(hub).await?;
            tcp.set_nodelay(true)?;
            connector
                .connect(ServerName::from(hub.ip()), tcp)
                .await
                .map(TokioIo::new)
        }
    });
    Ok(Endpoint::from_shared(format!("http://{hub}"))?
        .connect_with_connector(connect)
        .await?)
}

async fn pause(millis: u32) {
    tokio::time::sleep(Duration::from_millis(millis.into())).await;
}
