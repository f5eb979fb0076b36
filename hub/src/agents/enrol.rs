//! Enrolment: a join token and a key become an identity.

mod error;
mod object;
mod shown;
mod standing;

use std::{sync::Arc, time::Duration};

use koinon_api::{
    JoinToken, ManagedCluster,
    names::{AgentId, ClusterName},
    token::TokenText,
};
use koinon_machinery::Reason;
use koinon_proto::v1::{
    EnrolPending, EnrolRequest, EnrolResponse, Issued, enrol_response::Outcome,
};
use koinon_store::{Claim, Identity};
use tonic::Status;

pub(super) use self::standing::{Standing, is_taken_in, standing, uid};
use self::{
    error::Error,
    object::{accept, make, uid_of, unmake},
    shown::Decision,
    standing::is_let_go,
};
use super::{
    Agents, resource,
    token::{self, Admission, Applicant, Refusal},
    trail::{Call, Trail},
};
use crate::{
    auth::User,
    clock,
    pki::{
        Enrolled,
        approve::{ProvenKey, Subject, approve},
    },
    telemetry::Chain,
    tls::{Peer, network},
};

/// Enrolments worked on at once.
pub(super) const CONCURRENT: usize = 64;
/// How long one waits for its turn.
const TURN: Duration = Duration::from_secs(10);
/// How often a race for a token's last use is run again.
const ATTEMPTS: usize = 5;
/// Longest UID taken; Kubernetes' have 36 characters.
const MOST_UID: usize = 128;
/// How long an enrolment waits for the hub's own bookkeeping.
const SETTLING: Duration = Duration::from_secs(1);
/// When the agent asks again: soon if only the hub's own bookkeeping is missing, later if a person is.
const RETRY_SOON_MS: u32 = 250;
const RETRY_MS: u32 = 3000;

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
    let network = network(peer.address.ip());
    // Who it is is known once the token is found good.
    let mut trail = Trail::note(agents, peer, User::anonymous(), &cluster, Call::Enrol);
    let mut stage = Stage::Asking;
    let result = if agents.0.failures.admits(&network) {
        admit(agents, request, &mut trail, &mut stage).await
    } else {
        Err(Error::Throttled)
    };
    match result {
        Ok(response) => {
            let issued = matches!(response.outcome, Some(Outcome::Issued(_)));
            metrics.enrolment(if issued { "issued" } else { "pending" });
            match stage {
                _ if issued => trail.done(201),
                Stage::Spent => trail.done(202),
                // An agent that waits asks again and again.
                Stage::Asking => trail.nothing(),
            }
            Ok(response)
        }
        Err(error) => {
            metrics.enrolment(error.outcome());
            if error.is_suspicious() {
                agents.0.failures.count(network);
            }
            tracing::warn!(peer = %peer.address, cluster, outcome = error.outcome(), error = %Chain(&error), "enrolment refused");
            let status = Status::from(&error);
            match stage {
                Stage::Spent => trail.failed(&status),
                Stage::Asking => trail.refused(&status),
            }
            Err(status)
        }
    }
}

/// How far an enrolment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has changed by this call.
    Asking,
    /// It has begun to: a use of the token is spent, or about to be.
    Spent,
}

async fn admit(
    agents: &Agents,
    request: EnrolRequest,
    trail: &mut Trail,
    stage: &mut Stage,
) -> Result<EnrolResponse, Error> {
    let turn = tokio::time::timeout(TURN, agents.0.enrolments.acquire()).await;
    let _turn = turn.map_err(|_| Error::Busy)?.map_err(|_| Error::Busy)?;
    let (subject, mut applicant, key) = read(&request)?;
    let text: TokenText = request.token.parse().map_err(|_| Refusal::Unknown)?;
    // Another replica may have made the token, spent it or revoked it a moment ago.
    agents.store().fresh().await?;
    let client = &agents.0.client;
    let token = client.get::<JoinToken>("", text.name.as_str())?;
    let known = client.get::<ManagedCluster>("", &subject.cluster)?;
    applicant.object = known.as_ref().map(uid_of).unwrap_or_default();
    let ca = ca_sha256(agents);
    let admission = token::check(&text, token.as_ref(), &applicant, &ca, clock::now())?;
    let auto = token.is_some_and(|token| token.spec.auto_accept);
    trail.is_by(User::bootstrap(text.name.as_str()));
    trail
        .begin()
        .map_err(|full| Error::Unavailable(full.message().into()))?;
    refuse_taken(agents, &applicant).await?;
    if known.as_ref().is_some_and(is_let_go) {
        // A use is not spent on an object that is about to go.
        return Ok(being_removed());
    }
    if admission == Admission::New {
        *stage = Stage::Spent;
        // The object comes before the use, which is spent on it: whatever breaks off in between, asking again goes on.
        let made = match known {
            Some(_) => None,
            None => Some(make(agents, &mut applicant).await?),
        };
        if let Err(refused) = spend(agents, &text, &applicant, &ca).await {
            unmake(agents, made.flatten()).await;
            return Err(refused);
        }
    }
    claim(agents, &subject, &applicant, &key).await?;
    // The name may have been freed a moment ago, with the cluster that had it: its object is not to be taken for the new one's.
    agents.store().fresh().await?;
    let cluster = accept(agents, &applicant, auto).await?;
    let cluster = settled(agents, cluster).await;
    if is_let_go(&cluster) || uid_of(&cluster) != applicant.object {
        return Ok(being_removed());
    }
    if standing(&cluster) == Standing::Denied {
        return Err(Error::Denied(subject.cluster));
    }
    let name = text.name.as_str();
    let found = shown::find_or_make(agents, &cluster, &applicant, name, &request.csr_der).await?;
    let decision = shown::decision(&found);
    if decision == Decision::Denied {
        return Err(Error::RequestDenied(
            found.metadata.name.unwrap_or_default(),
        ));
    }
    match standing(&cluster) {
        Standing::Accepted => {
            let agent = enrolled(&subject, &cluster)?;
            let issued = issue(agents, &agent, &key).await?;
            let chain: Vec<_> = issued.chain_der.iter().map(|der| der.to_vec()).collect();
            if let Err(error) = shown::issued(agents, &found, &chain).await {
                // It is for people to see; the agent has its certificate.
                tracing::warn!(cluster = subject.cluster, error = %Chain(&error), "cannot note that a certificate was issued");
            }
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
        Standing::Waiting if decision == Decision::Approved => {
            Ok(pending("the hub is accepting the cluster", RETRY_SOON_MS))
        }
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

fn being_removed() -> EnrolResponse {
    pending(
        "the cluster that had this name is being removed from the hub",
        RETRY_SOON_MS,
    )
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
        object: String::new(),
    };
    Ok((subject, applicant, key))
}

fn ca_sha256(agents: &Agents) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(agents.0.authority.certificate()).into()
}

/// Waits for what the hub does for a cluster that it has accepted: a moment as a rule, and the agent would ask again only a good
/// while later. Returns the cluster as it is then, settled or not.
async fn settled(agents: &Agents, cluster: ManagedCluster) -> ManagedCluster {
    if standing(&cluster) != Standing::Settling {
        return cluster;
    }
    let name = cluster.metadata.name.clone().unwrap_or_default();
    let from = agents.store().snapshot(resource::CLUSTERS).revision();
    let wait = async {
        let mut watch = agents.store().watch(resource::CLUSTERS, from).ok()?;
        loop {
            let now = agents.0.client.get::<ManagedCluster>("", &name).ok()??;
            if standing(&now) != Standing::Settling {
                return Some(now);
            }
            watch.next().await.ok()?;
        }
    };
    let waited = tokio::time::timeout(SETTLING, wait).await;
    waited.ok().flatten().unwrap_or(cluster)
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
///
/// Within a replica one spends at a time: a herd of clusters with one token would otherwise lose most of its
/// writes to each other.
async fn spend(
    agents: &Agents,
    text: &TokenText,
    applicant: &Applicant,
    ca: &[u8; 32],
) -> Result<(), Error> {
    let client = &agents.0.client;
    let _turn = tokio::time::timeout(TURN, agents.0.spending.lock())
        .await
        .map_err(|_| Error::Busy)?;
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

/// The identity that an agent of `cluster` gets.
fn enrolled(subject: &Subject, cluster: &ManagedCluster) -> Result<Enrolled, Error> {
    let subject = subject.clone();
    match uid(cluster) {
        Some(uid) => Ok(Enrolled { subject, uid }),
        None => Err(Error::Internal("the cluster has no uid".into())),
    }
}

/// Signs a certificate for an agent and records it.
///
/// # Errors
///
/// If the cluster had too many of late; if it cannot be signed, or not recorded: an unrecorded certificate is not handed out.
pub(super) async fn issue(
    agents: &Agents,
    agent: &Enrolled,
    key: &ProvenKey,
) -> Result<Issued, Error> {
    // A signature and a row are little, and nothing else bounds how often a compromised agent asks.
    let cluster = &agent.subject.cluster;
    if !agents.0.issued.admits(cluster) {
        return Err(Error::TooManyCertificates(cluster.clone()));
    }
    agents.0.issued.count(cluster.clone());
    let authority: &Arc<_> = &agents.0.authority;
    let issued = authority.issue_agent(agent, key, agents.0.settings.certificate_ttl)?;
    let not_after = jiff::Timestamp::from_second(issued.not_after)
        .map_err(|error| Error::Internal(Box::new(error)))?;
    agents
        .store()
        .identities()
        .record_certificate(&issued.serial, &agent.subject.cluster, not_after)
        .await?;
    Ok(Issued {
        chain_der: issued.chain.into_iter().map(Into::into).collect(),
        trust_bundle_der: vec![authority.certificate().to_vec().into()],
    })
}
