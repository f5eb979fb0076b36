use std::{sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{PrivateKeyDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::identity::Identity;

/// Longest wait for a connection, name resolution and TLS included.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// How often an idle connection is probed, and how long it may stay silent.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// `host:port` of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubAddress {
    host: String,
    port: u16,
}

impl HubAddress {
    /// Reads `host:port`, `[v6]:port` included.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| format!("{text:?} is not host:port"))?;
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        let port = port
            .parse()
            .map_err(|_| format!("{port:?} is not a port"))?;
        if host.is_empty() || ServerName::try_from(host).is_err() {
            return Err(format!("{host:?} is not a host"));
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl std::fmt::Display for HubAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// TCP, TLS or HTTP/2 failed.
    #[error("cannot connect to {address}")]
    Transport {
        /// Where to.
        address: HubAddress,
        /// Why not.
        source: tonic::transport::Error,
    },
    /// It took too long.
    #[error("cannot connect to {0} in time")]
    Timeout(HubAddress),
}

/// Opens one connection.
///
/// # Errors
/// Fails when the hub is away, or is not the one that `tls` trusts.
pub async fn dial(address: &HubAddress, tls: Arc<ClientConfig>) -> Result<Channel, DialError> {
    let connector = TlsConnector::from(tls);
    let target = address.clone();
    let connect = tower::service_fn(move |_: Uri| {
        let (connector, target) = (connector.clone(), target.clone());
        async move {
            let tcp = TcpStream::connect((target.host.as_str(), target.port)).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from(target.host).map_err(std::io::Error::other)?;
            connector.connect(name, tcp).await.map(TokioIo::new)
        }
    });
    let transport = |source| DialError::Transport {
        address: address.clone(),
        source,
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(transport)?
        .connect_timeout(DIAL_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    match tokio::time::timeout(DIAL_TIMEOUT, endpoint.connect_with_connector(connect)).await {
        Ok(channel) => channel.map_err(transport),
        Err(_) => Err(DialError::Timeout(address.clone())),
    }
}

/// Returns the TLS configuration of an enrolled agent: its certificate, and the hub's CAs as the only roots.
///
/// # Errors
/// Fails when key and certificate do not fit, or a CA is malformed.
pub fn session_config(identity: &Identity) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in &identity.trust {
        roots.add(certificate.clone())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(
            identity.chain.clone(),
            PrivateKeyDer::Pkcs8(identity.key.clone_key()),
        )?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would keep the identity of the certificate before.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, shown) in [
            ("hub:7444", "hub:7444"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(HubAddress::parse(text).unwrap().to_string(), shown);
        }
        for text in ["hub", "hub:", ":1", "hub:x", "hub:99999", "a b:1"] {
            assert!(HubAddress::parse(text).is_err(), "{text}");
        }
    }
}
