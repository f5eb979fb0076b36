//! A client that costs little: HTTP/1.1 on a connection of its own, as a load of many clients should be.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, client::conn::http1, header::HeaderValue,
};
use hyper_util::rt::TokioIo;
use kube::config::Kubeconfig;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// An API server, and how to talk to it.
#[derive(Clone)]
pub(super) struct Target {
    address: SocketAddr,
    tls: TlsConnector,
    authorization: Option<HeaderValue>,
}

/// One connection; it ends when dropped.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    task: tokio::task::JoinHandle<()>,
    authorization: Option<HeaderValue>,
}

/// A body that is read line by line, as a watch is. It holds its connection.
pub(super) struct Lines {
    body: Incoming,
    read: BytesMut,
    _connection: Connection,
}

pub(super) const JSON: &str = "application/json";
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";

impl Target {
    /// Reads the address and the client certificate from a kubeconfig with inline data.
    pub(super) fn read(kubeconfig: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        let file = Kubeconfig::read_from(kubeconfig)?;
        let user = file
            .auth_infos
            .first()
            .and_then(|user| user.auth_info.clone())
            .context("no user")?;
        let decode = |text: Option<String>| -> anyhow::Result<Vec<u8>> {
            Ok(BASE64_STANDARD.decode(text.context("the kubeconfig has no inline data")?)?)
        };
        let chain = decode(user.client_certificate_data)?;
        let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>()?;
        let key = decode(
            user.client_key_data
                .map(|key| key.expose_secret().to_owned()),
        )?;
        let key = PrivateKeyDer::from_pem_slice(&key)?;
        let config = ClientConfig::builder()
            .with_root_certificates(roots(kubeconfig)?)
            .with_client_auth_cert(chain, key)?;
        Ok(Self {
            address,
            tls: TlsConnector::from(Arc::new(config)),
            authorization: None,
        })
    }

    /// The same server, asked with a token and without a client certificate.
    pub(super) fn with_token(
        kubeconfig: &Path,
        address: SocketAddr,
        token: &str,
    ) -> anyhow::Result<Self> {
        let config = ClientConfig::builder()
            .with_root_certificates(roots(kubeconfig)?)
            .with_no_client_auth();
        Ok(Self {
            address,
            tls: TlsConnector::from(Arc::new(config)),
            authorization: Some(HeaderValue::from_str(&format!("Bearer {token}"))?),
        })
    }

    pub(super) async fn connect(&self) -> anyhow::Result<Connection> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let tls = self
            .tls
            .connect(ServerName::from(self.address.ip()), tcp)
            .await?;
        Connection::on(tls, self.authorization.clone()).await
    }
}

impl Connection {
    /// A connection without TLS, as etcd has it on loopback.
    pub(super) async fn plain(address: SocketAddr) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        Self::on(tcp, None).await
    }

    async fn on(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        authorization: Option<HeaderValue>,
    ) -> anyhow::Result<Self> {
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        let task = tokio::spawn(async move {
            // It ends when the sender is dropped; a failure shows in the request.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            task,
            authorization,
        })
    }

    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        self.send_as(method, path, JSON, body).await
    }

    pub(super) async fn send_as(
        &mut self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let response = self.ask(method, path, content_type, body).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    /// Gets a path whose answer has no end, and gives the connection to it.
    pub(super) async fn lines(mut self, path: &str) -> anyhow::Result<Lines> {
        let response = self.ask(Method::GET, path, JSON, Bytes::new()).await?;
        let status = response.status();
        ensure!(status.is_success(), "{path}: {status}");
        Ok(Lines {
            body: response.into_body(),
            read: BytesMut::new(),
            _connection: self,
        })
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1")
            .header("content-type", content_type);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization.clone());
        }
        self.sender.ready().await?;
        Ok(self
            .sender
            .send_request(request.body(Full::new(body))?)
            .await?)
    }

    /// Sends JSON and reads JSON; other codes than success are errors.
    pub(super) async fn json(
        &mut self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let body = if body.is_null() {
            Bytes::new()
        } else {
            Bytes::from(serde_json::to_vec(body)?)
        };
        let (status, answer) = self.send(method, path, body).await?;
        ensure!(
            status.is_success(),
            "{path}: {status}: {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(serde_json::from_slice(&answer)?)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lines {
    /// The next line without its end; `None` when the server has ended the body.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.read[searched..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.read.split_to(searched + at + 1);
                line.truncate(searched + at);
                return Ok(Some(line.freeze()));
            }
            searched = self.read.len();
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

fn roots(kubeconfig: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for authority in authorities(kubeconfig)? {
        roots.add(authority)?;
    }
    Ok(roots)
}

/// The certificate authorities that a kubeconfig trusts.
pub(super) fn authorities(kubeconfig: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let cluster = file
        .clusters
        .first()
        .and_then(|cluster| cluster.cluster.clone())
        .context("no cluster")?;
    let pem = BASE64_STANDARD.decode(
        cluster
            .certificate_authority_data
            .context("no inline authority")?,
    )?;
    Ok(CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>()?)
}
