//! Replaces the certificate before it ends.

use std::sync::Arc;

use arc_swap::ArcSwap;
use koinon_proto::v1::{Issued, RenewRequest};
use rustls::{ClientConfig, pki_types::CertificateDer};

use super::{Identity, IdentityStore, Stored, Validity, csr};
use crate::{clock, hub};

/// The identity in use. A connection takes what is current when it is opened; open ones are left alone, so a renewal
/// causes no reconnect.
#[derive(Debug, Clone)]
pub struct SharedIdentity {
    stored: Arc<ArcSwap<Stored>>,
    tls: Arc<ArcSwap<ClientConfig>>,
}

impl SharedIdentity {
    /// Puts an identity to use.
    ///
    /// # Errors
    /// Fails when key and certificate do not fit.
    pub fn new(stored: Stored) -> anyhow::Result<Self> {
        let tls = hub::session_config(&stored.identity)?;
        Ok(Self {
            stored: Arc::new(ArcSwap::from_pointee(stored)),
            tls: Arc::new(ArcSwap::from_pointee(tls)),
        })
    }

    /// Returns the current TLS configuration.
    #[must_use]
    pub fn tls(&self) -> Arc<ClientConfig> {
        self.tls.load_full()
    }

    /// Returns the current identity.
    #[must_use]
    pub fn current(&self) -> Arc<Stored> {
        self.stored.load_full()
    }

    /// Returns when the current certificate is good.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        Validity::of(&self.stored.load().identity.chain)
    }

    /// Replaces the identity.
    ///
    /// # Errors
    /// Fails, and changes nothing, when key and certificate do not fit.
    pub fn replace(&self, stored: Stored) -> anyhow::Result<()> {
        let tls = hub::session_config(&stored.identity)?;
        self.stored.store(Arc::new(stored));
        self.tls.store(Arc::new(tls));
        Ok(())
    }
}

/// Renews the certificate over an open session.
#[derive(Debug)]
pub struct Renewer {
    /// Where the identity is kept.
    pub store: IdentityStore,
    /// The identity in use.
    pub shared: SharedIdentity,
    /// Spread of this agent, in `[0, 1]`.
    pub share: f64,
}

impl Renewer {
    /// Returns how long to wait before renewing.
    #[must_use]
    pub fn due_in(&self) -> std::time::Duration {
        self.shared
            .validity()
            .map_or(std::time::Duration::ZERO, |v| {
                v.renew_in(clock::unix(), self.share)
            })
    }

    /// Asks for a certificate for a new key, stores both, then uses them.
    ///
    /// # Errors
    /// Fails when hub or member refuse; the current identity stays.
    pub async fn renew(&self, mut puller: hub::Puller) -> anyhow::Result<()> {
        let current = self.shared.stored.load_full();
        let key = csr::new_key()?;
        let csr = csr::request(&key, &current.cluster_name, &current.agent_id)?;
        let issued = puller
            .renew(RenewRequest {
                csr_der: csr.into(),
            })
            .await?;
        let identity = Identity {
            key,
            chain: certificates(&issued.chain_der),
            trust: trust(&issued, &current.identity),
            hub_hash: current.identity.hub_hash.clone(),
        };
        let renewed = Stored {
            identity,
            ..Stored::clone(&current)
        };
        // Proves that key and certificate fit before the old pair is given up.
        hub::session_config(&renewed.identity)?;
        self.store.save(&renewed).await?;
        self.shared.replace(renewed)
    }

    /// Stores a new trust bundle.
    ///
    /// # Errors
    /// Fails when the bundle is empty or unusable, or the member refuses it; the current one stays.
    pub async fn trust(&self, certificates_der: &[bytes::Bytes]) -> anyhow::Result<()> {
        let current = self.shared.stored.load_full();
        let trust = certificates(certificates_der);
        if trust.is_empty() || trust == current.identity.trust {
            return Ok(());
        }
        let mut renewed = Stored::clone(&current);
        renewed.identity.trust = trust;
        hub::session_config(&renewed.identity)?;
        self.store.save(&renewed).await?;
        self.shared.replace(renewed)
    }
}

fn certificates(list: &[bytes::Bytes]) -> Vec<CertificateDer<'static>> {
    list.iter()
        .map(|der| CertificateDer::from(der.to_vec()))
        .collect()
}

fn trust(issued: &Issued, current: &Identity) -> Vec<CertificateDer<'static>> {
    if issued.trust_bundle_der.is_empty() {
        current.trust.clone()
    } else {
        certificates(&issued.trust_bundle_der)
    }
}
