//! GET over HTTPS, for the few small documents that the hub reads elsewhere.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A document takes no longer than this, connecting included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Nor is it larger than this.
const MOST_BYTES: usize = 1 << 20;

/// Why a document could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not `https://host/…`.
    #[error("{0:?} is no https URL")]
    Url(String),
    /// No certificate authority to trust.
    #[error("there are no usable certificate authorities in {0}")]
    Roots(String),
    /// TLS cannot be set up.
    #[error("TLS is not usable")]
    Tls(#[source] rustls::Error),
    /// Nobody answers, or not properly.
    #[error("the request failed: {0}")]
    Request(Box<dyn std::error::Error + Send + Sync>),
    /// Another answer than 200.
    #[error("it answered {0}")]
    Status(u16),
    /// It took too long.
    #[error("it did not answer in time")]
    Timeout,
}

/// Gets documents, trusting some authorities.
#[derive(Clone)]
pub struct Https {
    tls: TlsConnector,
}

impl std::fmt::Debug for Https {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Https").finish_non_exhaustive()
    }
}

impl Https {
    /// Trusts the authorities in a PEM file, or those of the system.
    ///
    /// # Errors
    ///
    /// When there are none.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, FetchError> {
        let mut roots = RootCertStore::empty();
        let place = match ca_file {
            Some(path) => {
                let certificates = CertificateDer::pem_file_iter(path)
                    .map(|found| found.flatten().collect::<Vec<_>>());
                roots.add_parsable_certificates(certificates.unwrap_or_default());
                path.display().to_string()
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                "the system's store".to_owned()
            }
        };
        if roots.is_empty() {
            return Err(FetchError::Roots(place));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(FetchError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: Arc::new(config).into(),
        })
    }

    /// Gets a document. Redirects are not followed: what is asked for is where it says.
    ///
    /// # Errors
    ///
    /// Why it could not be had.
    pub async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        tokio::time::timeout(TIMEOUT, self.request(url))
            .await
            .map_err(|_| FetchError::Timeout)?
    }

    async fn request(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let refused = || FetchError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| refused())?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("https"));
        let host = host.ok_or_else(refused)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| refused())?;
        let tcp = TcpStream::connect((bare, uri.port_u16().unwrap_or(443)))
            .await
            .map_err(failed)?;
        let tls = self.tls.connect(name, tcp).await.map_err(failed)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
            .await
            .map_err(failed)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = uri.authority().map_or(host, |authority| authority.as_str());
        let request = Request::get(path)
            .header(header::HOST, authority)
            .header(header::ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())
            .map_err(failed)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(failed)?;
            if response.status() != http::StatusCode::OK {
                return Err(FetchError::Status(response.status().as_u16()));
            }
            let body = Limited::new(response.into_body(), MOST_BYTES)
                .collect()
                .await
                .map_err(FetchError::Request)?;
            Ok(body.to_bytes().to_vec())
        };
        // The connection is driven here and ends with the exchange; nothing goes on behind anybody's back.
        let mut connection = std::pin::pin!(connection);
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            biased;
            done = &mut exchange => done,
            ended = &mut connection => {
                ended.map_err(failed)?;
                exchange.await
            }
        }
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> FetchError {
    FetchError::Request(Box::new(error))
}
