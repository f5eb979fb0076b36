use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_util::sync::CancellationToken;

use super::{Error, provider};
use crate::{
    clock,
    pki::{Authority, Issued},
    telemetry::Chain,
};

/// The hub's certificate; it can be replaced while connections come in.
#[derive(Debug)]
pub struct ServerCertificate {
    current: ArcSwap<CertifiedKey>,
    not_after: std::sync::atomic::AtomicI64,
}

impl ServerCertificate {
    /// Issues the first certificate for `hosts`.
    ///
    /// # Errors
    ///
    /// If it cannot be issued or used.
    pub fn issue(
        authority: &Authority,
        hosts: &[String],
        lifetime: Duration,
    ) -> Result<Arc<Self>, Error> {
        let issued = authority
            .issue_server(hosts, lifetime)
            .map_err(Error::Issue)?;
        Ok(Arc::new(Self {
            not_after: issued.not_after.into(),
            current: ArcSwap::from_pointee(certified(issued)?),
        }))
    }

    fn replace(
        &self,
        authority: &Authority,
        hosts: &[String],
        lifetime: Duration,
    ) -> Result<(), Error> {
        let issued = authority
            .issue_server(hosts, lifetime)
            .map_err(Error::Issue)?;
        self.not_after
            .store(issued.not_after, std::sync::atomic::Ordering::Relaxed);
        self.current.store(Arc::new(certified(issued)?));
        Ok(())
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn certified(issued: Issued) -> Result<CertifiedKey, Error> {
    let chain = issued.chain.into_iter().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.key.to_vec()));
    CertifiedKey::from_der(chain, key, &provider()).map_err(Error::Certificate)
}

/// Renews the server certificate when a third of its life is left, until stopped.
pub async fn renew(
    certificate: Arc<ServerCertificate>,
    authority: Arc<Authority>,
    hosts: Vec<String>,
    lifetime: Duration,
    stop: CancellationToken,
) {
    loop {
        let left = clock::until_unix(
            certificate
                .not_after
                .load(std::sync::atomic::Ordering::Relaxed),
        );
        // At most a day at a time: timers do not count while a machine sleeps.
        let pause = left
            .saturating_sub(lifetime / 3)
            .clamp(Duration::from_secs(1), Duration::from_secs(86_400));
        if stop
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_none()
        {
            return;
        }
        let left = clock::until_unix(
            certificate
                .not_after
                .load(std::sync::atomic::Ordering::Relaxed),
        );
        if left > lifetime / 3 {
            continue;
        }
        match certificate.replace(&authority, &hosts, lifetime) {
            Ok(()) => tracing::info!("renewed the server certificate"),
            Err(error) => {
                tracing::error!(error = %Chain(&error), "failed to renew the server certificate")
            }
        }
    }
}
