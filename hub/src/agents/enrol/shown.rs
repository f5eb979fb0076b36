//! An enrolment as users see it: a `CertificateSigningRequest` with OCM's name, labels and signer.
//!
//! ```text
//!   first call of a key ─► request (Pending) ─► kubectl certificate approve ─► the cluster is accepted (controller `csr`) ─► issued
//!                                          └──► kubectl certificate deny ────► this key gets nothing
//!   accepted otherwise ──────────────────────────────────────────────────────► approved by the hub, issued
//! ```
//!
//! It shows and decides, and no certificate is made from it: what is issued has the hub's own words and the key that was proven.

use k8s_openapi::{
    ByteString,
    api::certificates::v1::{
        CertificateSigningRequest, CertificateSigningRequestCondition,
        CertificateSigningRequestSpec, CertificateSigningRequestStatus,
    },
    apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
};
use koinon_api::{
    ManagedCluster,
    labels::{annotation, label, well_known},
};
use koinon_machinery::Reason;
use koinon_store::Stored;
use kube::{Resource as _, core::ObjectMeta};

use super::{error::Error, uid};
use crate::{
    agents::{Agents, token::Applicant},
    auth::User,
    clock, pki,
};

/// The characters of a name's end, as Kubernetes generates them.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX: usize = 5;
/// Names that are tried for a key; more are taken only by somebody who looks for such keys.
const NAMES: u8 = 4;
/// Requests of one cluster that may be there at once, as OCM's agent counts them, without those that were denied: these stay, and
/// must not shut the cluster out.
const MOST: usize = 10;

/// What was decided about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Pending,
    Approved,
    Denied,
}

/// Reads what was decided.
pub(super) fn decision(request: &CertificateSigningRequest) -> Decision {
    let conditions = request
        .status
        .iter()
        .filter_map(|status| status.conditions.as_deref())
        .flatten();
    let mut decision = Decision::Pending;
    for condition in conditions {
        match condition.type_.as_str() {
            "Denied" => return Decision::Denied,
            "Approved" => decision = Decision::Approved,
            _ => {}
        }
    }
    decision
}

/// Finds the request of a key, or makes it.
pub(super) async fn find_or_make(
    agents: &Agents,
    cluster: &ManagedCluster,
    applicant: &Applicant,
    token: &str,
    csr_der: &[u8],
) -> Result<CertificateSigningRequest, Error> {
    let client = &agents.0.client;
    for attempt in 0..NAMES {
        let name = name(&applicant.cluster, &applicant.key, attempt);
        if let Some(found) = client.get::<CertificateSigningRequest>("", &name)? {
            if is_about(&found, applicant, cluster) {
                return Ok(found);
            }
            continue;
        }
        refuse_too_many(agents, &applicant.cluster)?;
        let request = make(agents, name, cluster, applicant, token, csr_der);
        match client.create(&request).await {
            Ok(made) => return Ok(made),
            // Another call of this agent, on this replica or another, was faster.
            Err(error) if error.reason == Reason::AlreadyExists => {
                agents.store().fresh().await?;
                let name = request.metadata.name.unwrap_or_default();
                let found = client.get::<CertificateSigningRequest>("", &name)?;
                if let Some(found) = found.filter(|found| is_about(found, applicant, cluster)) {
                    return Ok(found);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Busy)
}

/// Notes on a request that its certificate was issued, and by whose decision.
pub(super) async fn issued(
    agents: &Agents,
    request: &CertificateSigningRequest,
    chain: &[Vec<u8>],
) -> Result<(), Error> {
    let name = request.metadata.name.as_deref().unwrap_or_default();
    let text: String = chain
        .iter()
        .map(|der| pki::pem("CERTIFICATE", der))
        .collect();
    let note = |request: &mut CertificateSigningRequest| {
        let is_pending = decision(request) == Decision::Pending;
        let status: &mut CertificateSigningRequestStatus = request.status.get_or_insert_default();
        if is_pending {
            status.conditions.get_or_insert_default().push(approval());
        }
        status.certificate = Some(ByteString(text.clone().into_bytes()));
        true
    };
    let client = &agents.0.client;
    client
        .modify_status::<CertificateSigningRequest>("", name, note)
        .await?;
    Ok(())
}

fn approval() -> CertificateSigningRequestCondition {
    let now = Time(clock::now());
    CertificateSigningRequestCondition {
        type_: "Approved".to_owned(),
        status: "True".to_owned(),
        reason: Some("ClusterAccepted".to_owned()),
        message: Some("The hub accepts the cluster.".to_owned()),
        last_update_time: Some(now.clone()),
        last_transition_time: Some(now),
    }
}

/// `<cluster>-` and five characters that the key determines, so that an agent that asks again finds its request.
fn name(cluster: &str, key: &str, attempt: u8) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest([key.as_bytes(), &[attempt]].concat());
    let suffix: String = digest
        .iter()
        .take(SUFFIX)
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
        .collect();
    format!("{cluster}-{suffix}")
}

fn is_about(
    request: &CertificateSigningRequest,
    applicant: &Applicant,
    cluster: &ManagedCluster,
) -> bool {
    let annotations = request.metadata.annotations.as_ref();
    let key = annotations.and_then(|all| all.get(annotation::PUBLIC_KEY));
    let owners = request.metadata.owner_references.iter().flatten();
    key == Some(&applicant.key)
        && owners
            .into_iter()
            .any(|owner| Some(&owner.uid) == cluster.metadata.uid.as_ref())
}

fn refuse_too_many(agents: &Agents, cluster: &str) -> Result<(), Error> {
    let snapshot = agents
        .store()
        .snapshot("certificatesigningrequests.certificates.k8s.io");
    let prefix = format!("{cluster}-");
    let of_cluster = snapshot
        .after("", &prefix)
        .take_while(|stored| stored.key.name.starts_with(&prefix))
        .filter(|stored| {
            let of = stored.labels.get(label::CLUSTER_NAME);
            of.is_some_and(|of| of == cluster) && !is_denied(stored)
        });
    if of_cluster.count() >= MOST {
        return Err(Error::TooMany(cluster.to_owned()));
    }
    Ok(())
}

fn is_denied(stored: &Stored) -> bool {
    let status = serde_json::from_slice(&stored.status).ok().flatten();
    let request = CertificateSigningRequest {
        status,
        ..CertificateSigningRequest::default()
    };
    decision(&request) == Decision::Denied
}

fn make(
    agents: &Agents,
    name: String,
    cluster: &ManagedCluster,
    applicant: &Applicant,
    token: &str,
    csr_der: &[u8],
) -> CertificateSigningRequest {
    // It goes with its cluster.
    let owner = OwnerReference {
        api_version: ManagedCluster::api_version(&()).into_owned(),
        kind: ManagedCluster::kind(&()).into_owned(),
        name: applicant.cluster.clone(),
        uid: uid(cluster).map(|uid| uid.to_string()).unwrap_or_default(),
        ..OwnerReference::default()
    };
    let by = User::bootstrap(token);
    let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let lifetime = agents.0.settings.certificate_ttl.as_secs();
    CertificateSigningRequest {
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some([(label::CLUSTER_NAME.to_owned(), applicant.cluster.clone())].into()),
            annotations: Some([(annotation::PUBLIC_KEY.to_owned(), applicant.key.clone())].into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: CertificateSigningRequestSpec {
            request: ByteString(pki::pem("CERTIFICATE REQUEST", csr_der).into_bytes()),
            signer_name: well_known::CLIENT_SIGNER.to_owned(),
            usages: Some(texts(&[
                "digital signature",
                "key encipherment",
                "client auth",
            ])),
            expiration_seconds: i32::try_from(lifetime).ok(),
            username: Some(by.name),
            groups: Some(by.groups),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_request_has_a_name_of_its_own_that_a_label_can_hold() {
        let one = name("east", "k1", 0);
        assert_eq!(one, name("east", "k1", 0));
        assert_ne!(one, name("east", "k2", 0));
        assert_ne!(one, name("east", "k1", 1));
        let (cluster, suffix) = one.split_once('-').unwrap();
        assert_eq!((cluster, suffix.len()), ("east", SUFFIX));
        assert!(suffix.bytes().all(|byte| ALPHABET.contains(&byte)));
    }

    #[test]
    fn a_denial_outweighs_everything() {
        let of = |kinds: &[&str]| {
            let conditions = kinds
                .iter()
                .map(|&kind| CertificateSigningRequestCondition {
                    type_: kind.to_owned(),
                    ..approval()
                });
            decision(&CertificateSigningRequest {
                status: Some(CertificateSigningRequestStatus {
                    conditions: Some(conditions.collect()),
                    certificate: None,
                }),
                ..CertificateSigningRequest::default()
            })
        };
        assert_eq!(of(&[]), Decision::Pending);
        assert_eq!(of(&["Approved", "Other"]), Decision::Approved);
        assert_eq!(of(&["Approved", "Denied"]), Decision::Denied);
    }
}
