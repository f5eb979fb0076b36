//! Enrolment: a join token and a key become an identity.

use std::{sync::Arc, time::Duration};

use koinon_api::{
    JoinToken, ManagedCluster,
    cluster::ManagedClusterSpec,
    labels::{annotation, condition, reason},
    meta,
    names::{AgentId, ClusterName},
    token::TokenText,
};
use koinon_machinery::{ApiError, Reason};
use koinon_proto::v1::{
    EnrolPending, EnrolRequest, EnrolResponse, Issued, enrol_response::Outcome,
};
use koinon_store::{Claim, Identity};
use kube::core::ObjectMeta;
use tonic::Status;

use super::{
    Agents,
    token::{self, Admission, Applicant, Refusal},
};
use crate::{
    clock,
    pki::{
        self,
        approve::{self, ProvenKey, Subject, approve},
    },
    telemetry::Chain,
    tls::Peer,
};

/// Enrolments worked on at once.
pub(super) const CONCURRENT: usize = 64;
/// How long one waits for its turn.
const TURN: Duration = Duration::from_secs(10);
/// How often a race for a token's last use is run again.
const ATTEMPTS: usize = 5;
/// Longest UID taken; Kubernetes' have 36 characters.
const MOST_UID: usize = 128;
/// When the agent asks again: soon if only the hub's own bookkeeping is missing, later if a person is.
const RETRY_SOON_MS: u32 = 250;
const RETRY_MS: u32 = 3000;

/// Why an enrolment gets no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{0}")]
    Malformed(String),
    #[error(transparent)]
    Request(#[from] approve::Refusal),
    #[error(transparent)]
    Token(#[from] Refusal),
    #[error("the name {0:?} belongs to another cluster")]
    Taken(String),
    #[error("the cluster {0:?} was denied by an admin of the hub")]
    Denied(String),
    #[error("too many attempts failed; try again later")]
    Throttled,
    #[error("the hub is busy; try again later")]
    Busy,
    #[error("the registry does not answer; try again later")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the hub could not carry out the enrolment")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The outcome as metrics name it.
    fn outcome(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Request(_) => "csr_refused",
            Self::Token(refusal) => refusal.as_str(),
            Self::Taken(_) => "name_taken",
            Self::Denied(_) => "denied",
            Self::Throttled => "throttled",
            Self::Busy => "busy",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
        }
    }

    /// Whether it counts against the peer.
    fn is_suspicious(&self) -> bool {
        matches!(
            self,
            Self::Malformed(_) | Self::Request(_) | Self::Token(_) | Self::Taken(_)
        )
    }
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        match error.reason {
            Reason::ServiceUnavailable => Self::Unavailable(error.message.into()),
            _ => Self::Internal(error.message.into()),
        }
    }
}

impl From<koinon_store::Unavailable> for Error {
    fn from(error: koinon_store::Unavailable) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl From<pki::Error> for Error {
    fn from(error: pki::Error) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<&Error> for Status {
    fn from(error: &Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Malformed(_) | Error::Request(_) => Self::invalid_argument(message),
            // One answer for all: who has no good token learns nothing of the tokens there are.
            Error::Token(_) => Self::unauthenticated(
                "the join token is unknown, expired, used up, or for another name",
            ),
            Error::Taken(_) => Self::already_exists(message),
            Error::Denied(_) => Self::permission_denied(message),
            Error::Throttled | Error::Busy => Self::resource_exhausted(message),
            Error::Unavailable(_) => Self::unavailable(message),
            Error::Internal(_) => Self::internal(message),
        }
    }
}

/// Answers an enrolment, counts it and logs what went wrong; never its secrets.
///
/// # Errors
///
/// As the protocol's definition says.
pub(super) async fn enrol(
    agents: &Agents,
    peer: &Peer,
    request: EnrolRequest,
) -> Result<EnrolResponse, Status> {
    let metrics = &agents.0.metrics;
    let cluster: String = request.cluster_name.chars().take(64).collect();
    let result = if agents.0.throttle.admits(peer.address.ip()) {
        admit(agents, request).await
    } else {
        Err(Error::Throttled)
    };
    match result {
        Ok(response) => {
            metrics.enrolment(match response.outcome {
                Some(Outcome::Issued(_)) => "issued",
                _ => "pending",
            });
            Ok(response)
        }
        Err(error) => {
            metrics.enrolment(error.outcome());
            if error.is_suspicious() {
                agents.0.throttle.failed(peer.address.ip());
            }
            tracing::warn!(peer = %peer.address, cluster, outcome = error.outcome(), error = %Chain(&error), "enrolment refused");
            Err(Status::from(&error))
        }
    }
}

async fn admit(agents: &Agents, request: EnrolRequest) -> Result<EnrolResponse, Error> {
    let turn = tokio::time::timeout(TURN, agents.0.enrolments.acquire()).await;
    let _turn = turn.map_err(|_| Error::Busy)?.map_err(|_| Error::Busy)?;
    let (subject, applicant, key) = read(&request)?;
    let text: TokenText = request.token.parse().map_err(|_| Refusal::Unknown)?;
    // Another replica may have made the token, spent it or revoked it a moment ago.
    agents.store().fresh().await?;
    let token = agents.0.client.get::<JoinToken>("", text.name.as_str())?;
    let ca = ca_sha256(agents);
    let admission = token::check(&text, token.as_ref(), &applicant, &ca, clock::now())?;
    let auto = token.is_some_and(|token| token.spec.auto_accept);
    refuse_taken(agents, &applicant).await?;
    if admission == Admission::New {
        spend(agents, &text, &applicant, &ca).await?;
    }
    claim(agents, &subject, &applicant, &key).await?;
    let cluster = ensure_cluster(
        agents,
        &subject.cluster,
        auto && admission == Admission::New,
        auto,
    )
    .await?;
    match standing(&cluster) {
        Standing::Accepted => {
            let issued = issue(agents, &subject, &key).await?;
            tracing::info!(
                cluster = subject.cluster,
                agent = subject.agent,
                version = request.agent_version,
                "cluster enrolled"
            );
            Ok(EnrolResponse {
                outcome: Some(Outcome::Issued(issued)),
            })
        }
        Standing::Denied => Err(Error::Denied(subject.cluster)),
        Standing::Waiting => Ok(pending(
            "an admin of the hub has to accept the cluster",
            RETRY_MS,
        )),
        Standing::Settling => Ok(pending(
            "the hub is preparing for the cluster",
            RETRY_SOON_MS,
        )),
    }
}

fn pending(message: &str, retry_after_ms: u32) -> EnrolResponse {
    EnrolResponse {
        outcome: Some(Outcome::Pending(EnrolPending {
            message: message.to_owned(),
            retry_after_ms,
        })),
    }
}

fn read(request: &EnrolRequest) -> Result<(Subject, Applicant, ProvenKey), Error> {
    let malformed = |error: koinon_api::names::Error| Error::Malformed(error.to_string());
    let cluster = ClusterName::parse(request.cluster_name.as_str()).map_err(malformed)?;
    let agent = AgentId::parse(request.agent_id.as_str()).map_err(malformed)?;
    let uid = &request.cluster_uid;
    if uid.is_empty() || uid.len() > MOST_UID || !uid.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::Malformed(
            "the cluster's UID is empty, too long, or not a UID".to_owned(),
        ));
    }
    let subject = Subject {
        cluster: cluster.to_string(),
        agent: agent.to_string(),
    };
    let key = approve(&request.csr_der, &subject)?;
    let applicant = Applicant {
        cluster: cluster.to_string(),
        cluster_uid: uid.clone(),
        key: key.fingerprint(),
    };
    Ok((subject, applicant, key))
}

fn ca_sha256(agents: &Agents) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(agents.0.authority.certificate()).into()
}

/// Refuses a name that another cluster has, before a use is spent on it.
async fn refuse_taken(agents: &Agents, applicant: &Applicant) -> Result<(), Error> {
    match agents.store().identities().get(&applicant.cluster).await? {
        Some(bound) if bound.cluster_uid != applicant.cluster_uid => {
            Err(Error::Taken(applicant.cluster.clone()))
        }
        _ => Ok(()),
    }
}

/// Spends a use; of two who race for the last one, the compare-and-swap lets one win.
async fn spend(
    agents: &Agents,
    text: &TokenText,
    applicant: &Applicant,
    ca: &[u8; 32],
) -> Result<(), Error> {
    let client = &agents.0.client;
    for _ in 0..ATTEMPTS {
        let mut token = client
            .get::<JoinToken>("", text.name.as_str())?
            .ok_or(Refusal::Unknown)?;
        if token::check(text, Some(&token), applicant, ca, clock::now())? == Admission::Known {
            return Ok(());
        }
        token::spend(&mut token, applicant, clock::now()).ok_or(Refusal::UsedUp)?;
        match client.update_status(&token).await {
            Ok(_) => return Ok(()),
            Err(error) if error.reason == Reason::Conflict => {
                agents.store().fresh().await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Busy)
}

/// Binds the name to the cluster.
async fn claim(
    agents: &Agents,
    subject: &Subject,
    applicant: &Applicant,
    key: &ProvenKey,
) -> Result<(), Error> {
    use sha2::Digest as _;
    let identity = Identity {
        cluster: applicant.cluster.clone(),
        cluster_uid: applicant.cluster_uid.clone(),
        public_key_sha256: sha2::Sha256::digest(key.der()).into(),
        agent_id: subject.agent.clone(),
    };
    match agents.store().identities().claim(&identity).await? {
        Claim::Claimed | Claim::Same => Ok(()),
        Claim::TakenBy(_) => Err(Error::Taken(applicant.cluster.clone())),
    }
}

/// Makes the `ManagedCluster` if it is missing, and accepts it where the token says so.
///
/// As in OCM a cluster is accepted automatically once: an admin's later denial stays.
async fn ensure_cluster(
    agents: &Agents,
    name: &str,
    accept: bool,
    auto: bool,
) -> Result<ManagedCluster, Error> {
    let client = &agents.0.client;
    if client.get::<ManagedCluster>("", name)?.is_none() {
        match client.create(&new_cluster(name, auto)).await {
            Ok(cluster) => return Ok(cluster),
            Err(error) if error.reason == Reason::AlreadyExists => {
                agents.store().fresh().await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let change = |cluster: &mut ManagedCluster| accept && accept_once(cluster);
    Ok(client.modify::<ManagedCluster>("", name, change).await?)
}

fn new_cluster(name: &str, auto: bool) -> ManagedCluster {
    let spec = ManagedClusterSpec {
        lease_duration_seconds: 60,
        ..ManagedClusterSpec::default()
    };
    let mut cluster = ManagedCluster {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    };
    if auto {
        accept_once(&mut cluster);
    }
    cluster
}

fn accept_once(cluster: &mut ManagedCluster) -> bool {
    let annotations = cluster.metadata.annotations.get_or_insert_default();
    if annotations.contains_key(annotation::AUTO_ACCEPTED_ON)
        || standing_is_denied(cluster.status.as_ref())
    {
        return false;
    }
    annotations.insert(
        annotation::AUTO_ACCEPTED_ON.to_owned(),
        clock::now().to_string(),
    );
    cluster.spec.hub_accepts_client = true;
    true
}

/// Where a cluster stands with the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Accepted, and the hub is ready for it.
    Accepted,
    /// Accepted; the hub has not made its namespace yet.
    Settling,
    /// Nobody has decided.
    Waiting,
    /// Accepted once, and not any more.
    Denied,
}

/// Reads where a cluster stands.
pub(super) fn standing(cluster: &ManagedCluster) -> Standing {
    let status = cluster.status.as_ref();
    if cluster.spec.hub_accepts_client {
        let ready =
            status.is_some_and(|status| meta::is_true(&status.conditions, condition::HUB_ACCEPTED));
        return if ready {
            Standing::Accepted
        } else {
            Standing::Settling
        };
    }
    let was_accepted =
        status.is_some_and(|status| meta::is_true(&status.conditions, condition::HUB_ACCEPTED));
    if was_accepted || standing_is_denied(status) {
        Standing::Denied
    } else {
        Standing::Waiting
    }
}

fn standing_is_denied(status: Option<&koinon_api::cluster::ManagedClusterStatus>) -> bool {
    let accepted =
        status.and_then(|status| meta::condition(&status.conditions, condition::HUB_ACCEPTED));
    accepted.is_some_and(|accepted| accepted.reason == reason::hub_accepted::DENIED)
}

/// Signs a certificate for an agent and records it.
///
/// # Errors
///
/// If it cannot be signed, or not recorded: an unrecorded certificate is not handed out.
pub(super) async fn issue(
    agents: &Agents,
    subject: &Subject,
    key: &ProvenKey,
) -> Result<Issued, Error> {
    let authority: &Arc<_> = &agents.0.authority;
    let issued = authority.issue_agent(subject, key, agents.0.settings.certificate_ttl)?;
    let not_after = jiff::Timestamp::from_second(issued.not_after)
        .map_err(|error| Error::Internal(Box::new(error)))?;
    agents
        .store()
        .identities()
        .record_certificate(&issued.serial, &subject.cluster, not_after)
        .await?;
    Ok(Issued {
        chain_der: issued.chain.into_iter().map(Into::into).collect(),
        trust_bundle_der: vec![authority.certificate().to_vec().into()],
    })
}

#[cfg(test)]
mod tests {
    use koinon_api::meta::{Truth, new_condition};

    use super::*;

    fn cluster(accepts: bool, condition: Option<(Truth, &str)>) -> ManagedCluster {
        let mut cluster = new_cluster("east", false);
        cluster.spec.hub_accepts_client = accepts;
        cluster.status =
            condition.map(
                |(truth, reason)| koinon_api::cluster::ManagedClusterStatus {
                    conditions: vec![new_condition(
                        condition::HUB_ACCEPTED,
                        truth,
                        reason,
                        "",
                        clock::now(),
                    )],
                    ..Default::default()
                },
            );
        cluster
    }

    #[test]
    fn a_cluster_stands_where_spec_and_condition_say() {
        let accepted = Some((Truth::True, reason::hub_accepted::ACCEPTED));
        let denied = Some((Truth::False, reason::hub_accepted::DENIED));
        let cases = [
            (false, None, Standing::Waiting),
            (true, None, Standing::Settling),
            (true, accepted, Standing::Accepted),
            (false, accepted, Standing::Denied),
            (false, denied, Standing::Denied),
            (true, denied, Standing::Settling),
        ];
        for (accepts, condition, want) in cases {
            assert_eq!(
                standing(&cluster(accepts, condition)),
                want,
                "{accepts} {condition:?}"
            );
        }
    }

    #[test]
    fn a_cluster_is_accepted_automatically_once_and_never_against_an_admin() {
        let mut fresh = cluster(false, None);
        assert!(accept_once(&mut fresh) && fresh.spec.hub_accepts_client);
        fresh.spec.hub_accepts_client = false;
        assert!(!accept_once(&mut fresh), "an admin's denial stays");
        let mut denied = cluster(false, Some((Truth::False, reason::hub_accepted::DENIED)));
        assert!(!accept_once(&mut denied));
    }
}
