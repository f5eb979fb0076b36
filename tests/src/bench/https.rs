//! A client that costs little: HTTP/1.1 on a connection of its own, as a load of many clients should be.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use kube::config::Kubeconfig;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An API server, and how to talk to it.
#[derive(Clone)]
pub(super) struct Target {
    address: SocketAddr,
    tls: TlsConnector,
}

/// One connection; it ends when dropped.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    task: tokio::task::JoinHandle<()>,
}

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
        let mut roots = RootCertStore::empty();
        for authority in authorities(kubeconfig)? {
            roots.add(authority)?;
        }
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        Ok(Self {
            address,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    pub(super) async fn connect(&self) -> anyhow::Result<Connection> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let tls = self
            .tls
            .connect(ServerName::from(self.address.ip()), tcp)
            .await?;
        let (sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
        let task = tokio::spawn(async move {
            // It ends when the sender is dropped; a failure shows in the request.
            let _ = connection.await;
        });
        Ok(Connection { sender, task })
    }
}

impl Connection {
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1")
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
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
