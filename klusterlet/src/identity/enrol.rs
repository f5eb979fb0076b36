//! From a join token to a certificate.

use std::{path::PathBuf, sync::Arc, time::Duration};

use koinon_api::token::TokenText;
use koinon_proto::v1::{EnrolRequest, enrol_response::Outcome, enrolment_client::EnrolmentClient};
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tonic::Code;
use tracing::{info, warn};

use super::{Identity, IdentityStore, Stored, Validity, csr, fingerprint, pinned};
use crate::{
    backoff::Backoff,
    clock,
    hub::{self, HubAddress},
    telemetry::Chain,
};

/// Longest wait for one answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the join token comes from; a file is read again for each attempt, so that a new token helps at once.
#[derive(Debug, Clone)]
pub enum TokenSource {
    /// A file, such as a mounted Secret.
    File(PathBuf),
    /// The value itself.
    Value(SecretString),
}

impl TokenSource {
    async fn read(&self) -> Result<SecretString, Error> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::File(path) => tokio::fs::read_to_string(path)
                .await
                .map(SecretString::from)
                .map_err(|source| Error::TokenFile {
                    path: path.clone(),
                    source,
                }),
        }
    }
}

/// Why an attempt to enrol failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(
        "there is neither an identity nor a join token; give --bootstrap-token-file or KOINON_BOOTSTRAP_TOKEN"
    )]
    NoToken,
    #[error("cannot read the join token from {}", path.display())]
    TokenFile {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the join token is malformed")]
    Token(#[from] koinon_api::token::TokenError),
    #[error("the member refused the identity")]
    Member(#[from] crate::cluster::Error),
    #[error("the hub cannot be reached")]
    Dial(#[from] hub::DialError),
    #[error("the hub did not answer in time")]
    Timeout,
    #[error("the hub refused the enrolment ({}): {}", .0.code(), .0.message())]
    Refused(tonic::Status),
    #[error("the hub cannot enrol now ({}): {}", .0.code(), .0.message())]
    Later(tonic::Status),
    #[error("the hub issued an unusable certificate")]
    Unusable,
    #[error("no key can be made")]
    Key(#[source] anyhow::Error),
}

impl Error {
    /// An admin has to act first; asking often does not help.
    const fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::NoToken | Self::TokenFile { .. } | Self::Token(_) | Self::Refused(_)
        )
    }
}

/// What an attempt led to.
enum Progress {
    Issued(Stored),
    Pending { message: String, wait: Duration },
}

/// Enrols this cluster.
#[derive(Debug)]
pub struct Enroller {
    /// Where the identity is kept.
    pub store: IdentityStore,
    /// The join token, if there is one.
    pub token: Option<TokenSource>,
    /// The hub.
    pub address: HubAddress,
    /// Name that the cluster asks for.
    pub cluster_name: String,
    /// UID of its `kube-system` namespace.
    pub cluster_uid: String,
    /// Name of this agent.
    pub agent_id: String,
}

impl Enroller {
    /// Returns a usable identity: the stored one, or a new one however long that takes.
    pub async fn identity(&self) -> Stored {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        let mut lasting = Backoff::new(Duration::from_secs(10), Duration::from_secs(300));
        let mut told = String::new();
        loop {
            let wait = match self.attempt().await {
                Ok(Progress::Issued(stored)) => return stored,
                Ok(Progress::Pending { message, wait }) => {
                    if told != message {
                        info!(cluster = %self.cluster_name, reason = %message, "waiting for the hub to accept this cluster");
                        told = message;
                    }
                    backoff.reset();
                    lasting.reset();
                    wait.mul_f64(rand::random_range(0.8..1.2))
                }
                Err(error) => {
                    let wait = if error.is_lasting() {
                        lasting.next_delay()
                    } else {
                        backoff.next_delay()
                    };
                    warn!(cluster = %self.cluster_name, error = %Chain(&error), retry_in = ?wait, "enrolment failed");
                    told.clear();
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Returns the stored identity if it is complete, for this cluster and still good.
    ///
    /// # Errors
    /// Fails when the member cannot be read.
    pub async fn stored(&self) -> crate::cluster::Result<Option<Stored>> {
        let stored = self.store.load().await?;
        Ok(stored.filter(|s| {
            let good = Validity::of(&s.identity.chain).is_some_and(|v| !v.is_over(clock::unix()));
            s.is_issued()
                && good
                && s.cluster_name == self.cluster_name
                && s.agent_id == self.agent_id
        }))
    }

    async fn attempt(&self) -> Result<Progress, Error> {
        if let Some(stored) = self.stored().await? {
            return Ok(Progress::Issued(stored));
        }
        let token = Token::read(self.token.as_ref().ok_or(Error::NoToken)?).await?;
        let stored = self.prepare(&self.store, &token).await?;
        let progress = self.ask(&token, stored).await?;
        if let Progress::Issued(issued) = &progress {
            self.store.save(issued).await?;
        }
        Ok(progress)
    }

    /// Asks the hub for a certificate for a key that is stored.
    async fn ask(&self, token: &Token, stored: Stored) -> Result<Progress, Error> {
        let request = EnrolRequest {
            token: token.text.expose_secret().to_owned(),
            cluster_name: self.cluster_name.clone(),
            cluster_uid: self.cluster_uid.clone(),
            agent_id: self.agent_id.clone(),
            csr_der: csr::request(&stored.identity.key, &self.cluster_name, &self.agent_id)
                .map_err(Error::Key)?
                .into(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let tls = pinned::config(token.parsed.ca_sha256).map_err(Error::Key)?;
        let channel = hub::dial(&self.address, Arc::new(tls)).await?;
        let answer =
            tokio::time::timeout(CALL_TIMEOUT, EnrolmentClient::new(channel).enrol(request))
                .await
                .map_err(|_| Error::Timeout)?;
        match answer.map_err(classify)?.into_inner().outcome {
            Some(Outcome::Issued(issued)) => {
                let issued = Stored {
                    identity: Identity {
                        chain: issued
                            .chain_der
                            .into_iter()
                            .map(|der| CertificateDer::from(der.to_vec()))
                            .collect(),
                        trust: issued
                            .trust_bundle_der
                            .into_iter()
                            .map(|der| CertificateDer::from(der.to_vec()))
                            .collect(),
                        ..stored.identity
                    },
                    ..stored
                };
                if !issued.is_issued()
                    || Validity::of(&issued.identity.chain).is_none()
                    || hub::session_config(&issued.identity).is_err()
                {
                    return Err(Error::Unusable);
                }
                info!(cluster = %self.cluster_name, ca = %fingerprint(&issued.identity.trust[0]), "enrolled");
                Ok(Progress::Issued(issued))
            }
            Some(Outcome::Pending(pending)) => Ok(Progress::Pending {
                message: pending.message,
                wait: Duration::from_millis(u64::from(pending.retry_after_ms.clamp(100, 60_000))),
            }),
            None => Err(Error::Unusable),
        }
    }

    /// Makes sure that the key is stored before it is used, so that a restart repeats the same enrolment.
    async fn prepare(&self, store: &IdentityStore, token: &Token) -> Result<Stored, Error> {
        let hub_hash = token.hub_hash();
        if let Some(stored) = store.load().await?
            && stored.cluster_name == self.cluster_name
            && stored.agent_id == self.agent_id
            && stored.identity.hub_hash == hub_hash
            && (stored.token_sha256 == Some(token.sha256()) || !store.is_next())
        {
            return Ok(Stored {
                token_sha256: Some(token.sha256()),
                ..stored
            });
        }
        let identity = Identity {
            key: csr::new_key().map_err(Error::Key)?,
            chain: Vec::new(),
            trust: Vec::new(),
            hub_hash,
        };
        let stored = Stored {
            cluster_name: self.cluster_name.clone(),
            agent_id: self.agent_id.clone(),
            token_sha256: Some(token.sha256()),
            identity,
        };
        store.save(&stored).await?;
        Ok(stored)
    }

    /// Joins the hub anew that has deleted the cluster of the identity in use: only with another join token than the one that
    /// this identity came from, for what an admin deleted must not come back by itself. Until a new identity was issued the
    /// old one stays.
    pub async fn join_anew(&self, former: &Stored) -> Anew {
        match self.try_join_anew(former).await {
            Ok(anew) => anew,
            Err(error) => {
                warn!(cluster = %self.cluster_name, error = %Chain(&error), "the cluster cannot join anew");
                Anew::Waits("it cannot join anew: see the line before")
            }
        }
    }

    async fn try_join_anew(&self, former: &Stored) -> Result<Anew, Error> {
        let Some(source) = &self.token else {
            return Ok(Anew::Waits("there is no join token"));
        };
        let token = Token::read(source).await?;
        if former
            .token_sha256
            .as_ref()
            .is_none_or(|used| *used == token.sha256())
        {
            return Ok(Anew::Waits(
                "the join token is the one that it joined with before",
            ));
        }
        if token.hub_hash() != former.identity.hub_hash {
            return Ok(Anew::Waits(
                "the join token is of another hub; to join that one, delete the Secret hub-identity and start the agent again",
            ));
        }
        let next = self.store.next();
        let stored = self.prepare(&next, &token).await?;
        Ok(match self.ask(&token, stored).await? {
            Progress::Issued(stored) => {
                self.store.save(&stored).await?;
                next.remove().await?;
                Anew::Joined(Box::new(stored))
            }
            Progress::Pending { .. } => Anew::Waits("the hub has to accept it"),
        })
    }
}

/// What came of an attempt to join anew.
#[derive(Debug)]
pub enum Anew {
    /// There is another identity.
    Joined(Box<Stored>),
    /// There is none yet, and why.
    Waits(&'static str),
}

/// A join token that was read.
struct Token {
    text: SecretString,
    parsed: TokenText,
}

impl Token {
    async fn read(source: &TokenSource) -> Result<Self, Error> {
        let text = source.read().await?;
        let text = text.expose_secret().trim();
        Ok(Self {
            parsed: text.parse()?,
            text: text.into(),
        })
    }

    fn hub_hash(&self) -> String {
        hex(&self.parsed.ca_sha256)
    }

    /// Tells tokens apart without telling them.
    fn sha256(&self) -> String {
        hex(&Sha256::digest(self.text.expose_secret()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn classify(status: tonic::Status) -> Error {
    match status.code() {
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::AlreadyExists
        | Code::InvalidArgument => Error::Refused(status),
        _ => Error::Later(status),
    }
}
