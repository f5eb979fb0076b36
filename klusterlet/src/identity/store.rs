use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use super::{Identity, pem};
use crate::cluster::{Cluster, Result, known};

/// Name of the Secret, and of the one in which another identity is made while this one is still in use.
pub const SECRET: &str = "hub-identity";
const NEXT: &str = "hub-identity-next";

/// What the Secret holds; without a chain, an enrolment is under way.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Cluster name that it is for.
    pub cluster_name: String,
    /// Agent name that it is for.
    pub agent_id: String,
    /// Hex SHA-256 of the join token that it was asked for with.
    pub token_sha256: Option<String>,
    /// Key, certificate and trust; both lists are empty before the certificate is issued.
    pub identity: Identity,
}

impl Stored {
    /// Says whether a certificate was issued.
    #[must_use]
    pub fn is_issued(&self) -> bool {
        !self.identity.chain.is_empty() && !self.identity.trust.is_empty()
    }
}

/// Keeps the identity in the member.
#[derive(Debug, Clone)]
pub struct IdentityStore {
    cluster: Cluster,
    namespace: String,
    secret: &'static str,
}

impl IdentityStore {
    /// Creates a store; nothing is read yet.
    #[must_use]
    pub fn new(cluster: Cluster, namespace: String) -> Self {
        Self {
            cluster,
            namespace,
            secret: SECRET,
        }
    }

    /// Returns where another identity is made while this one is still in use.
    #[must_use]
    pub fn next(&self) -> Self {
        Self {
            secret: NEXT,
            ..self.clone()
        }
    }

    /// Whether this is where another identity is made.
    #[must_use]
    pub fn is_next(&self) -> bool {
        self.secret == NEXT
    }

    /// Forgets the identity.
    ///
    /// # Errors
    /// Fails when the member refuses it.
    pub async fn remove(&self) -> Result<()> {
        let (resource, namespace) = (&known::SECRETS, &self.namespace);
        let removed = self.cluster.delete(resource, namespace, self.secret, None);
        removed.await.map(drop)
    }

    /// Reads the identity; a damaged one is as good as none.
    ///
    /// # Errors
    /// Fails when the member cannot be read.
    pub async fn load(&self) -> Result<Option<Stored>> {
        Ok(self
            .cluster
            .get(&known::SECRETS, &self.namespace, self.secret)
            .await?
            .and_then(|secret| parse(&secret)))
    }

    /// Writes the identity in one step.
    ///
    /// # Errors
    /// Fails when the member refuses it.
    pub async fn save(&self, stored: &Stored) -> Result<()> {
        let certificates = |list: &[CertificateDer<'_>]| {
            list.iter()
                .map(|c| pem::encode("CERTIFICATE", c))
                .collect::<String>()
        };
        let texts = BTreeMap::from([
            (
                "tls.key",
                pem::encode("PRIVATE KEY", stored.identity.key.secret_pkcs8_der()),
            ),
            ("tls.crt", certificates(&stored.identity.chain)),
            ("ca.crt", certificates(&stored.identity.trust)),
            ("hub-hash", stored.identity.hub_hash.clone()),
            ("cluster-name", stored.cluster_name.clone()),
            ("agent-name", stored.agent_id.clone()),
        ]);
        let token = stored
            .token_sha256
            .clone()
            .map(|hash| ("token-sha256", hash));
        let data: BTreeMap<_, _> = texts
            .into_iter()
            .chain(token)
            .map(|(key, text)| (key, STANDARD.encode(text)))
            .collect();
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": self.secret, "namespace": self.namespace},
            "data": data,
        });
        match self
            .cluster
            .replace(&known::SECRETS, &self.namespace, self.secret, &object)
            .await
        {
            Err(error) if error.is_not_found() => self
                .cluster
                .create(&known::SECRETS, &self.namespace, &object)
                .await
                .map(|_| ()),
            other => other.map(|_| ()),
        }
    }
}

fn parse(secret: &Value) -> Option<Stored> {
    let text = |key: &str| {
        let data = secret.get("data")?.get(key)?.as_str()?;
        String::from_utf8(STANDARD.decode(data).ok()?).ok()
    };
    let certificates = |key: &str| {
        Some(
            pem::decode("CERTIFICATE", &text(key)?)?
                .into_iter()
                .map(CertificateDer::from)
                .collect(),
        )
    };
    let key = pem::decode("PRIVATE KEY", &text("tls.key")?)?
        .into_iter()
        .next()?;
    Some(Stored {
        cluster_name: text("cluster-name")?,
        agent_id: text("agent-name")?,
        token_sha256: text("token-sha256"),
        identity: Identity {
            key: PrivatePkcs8KeyDer::from(key),
            chain: certificates("tls.crt").unwrap_or_default(),
            trust: certificates("ca.crt").unwrap_or_default(),
            hub_hash: text("hub-hash")?,
        },
    })
}
