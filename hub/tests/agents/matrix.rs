//! Every method of the agents' port as everybody (P6). The methods are those of the descriptor: a new one without a row fails here.

use std::{collections::BTreeSet, time::Duration};

use koinon_api::ManagedCluster;
use koinon_hub::pki::{Authority, Enrolled, Material, approve};
use koinon_proto::v1::{
    Hello, PullRequest, RenewRequest, WorkRef, agent_message::Body as Say,
    hub_message::Body as Hear, session_client::SessionClient,
};
use prost::Message as _;
use rcgen::KeyPair;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, transport::Channel};

use crate::support::{Applicant, Credentials, Hub, PATIENCE, csr, work};

/// Who calls.
struct Identity {
    name: &'static str,
    certificate: Option<Credentials>,
    bearer: Option<String>,
    /// What a method answers that takes an agent's certificate.
    opens: Opens,
}

/// What a certificate opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opens {
    /// The cluster of this name, and nothing of another.
    Cluster(&'static str),
    /// Nothing, and the answer says so.
    Refused(Code),
    /// Not even the port.
    NoConnection,
}

/// What a call came to: the cluster whose things were shown, or changed, if any.
type Came = Result<Option<String>, Status>;

const ENROL: &str = "koinon.agent.v1.Enrolment/Enrol";
const ATTACH: &str = "koinon.agent.v1.Session/Attach";
const PULL: &str = "koinon.agent.v1.Session/Pull";
const RENEW: &str = "koinon.agent.v1.Session/Renew";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_opens_to_everybody_what_is_his_and_nothing_else() {
    let hub = Hub::start().await;
    let identities = identities(&hub).await;
    for cluster in ["east", "west"] {
        hub.client
            .create(&work(cluster, "the-work", cluster))
            .await
            .unwrap();
    }
    let accepted = |hub: &Hub| {
        ["east", "west", "denied", "former"].map(|name| hub.cluster(name).spec.hub_accepts_client)
    };
    let before = accepted(&hub);
    for method in methods() {
        for identity in &identities {
            let what = format!("{method} as {}", identity.name);
            let came = tokio::time::timeout(PATIENCE, call(&hub, &method, identity));
            let came = came.await.unwrap_or_else(|_| panic!("{what}: no answer"));
            let wanted = match identity.opens {
                // Whoever enrols shows a token; this one is none, and nothing else counts.
                Opens::Cluster(_) | Opens::Refused(_) if method == ENROL => {
                    Opens::Refused(Code::Unauthenticated)
                }
                opens => opens,
            };
            match (wanted, came) {
                (Opens::Cluster(own), Ok(shown)) => {
                    assert_eq!(shown.as_deref(), Some(own), "{what}")
                }
                (Opens::Refused(code), Err(status)) => assert_eq!(status.code(), code, "{what}"),
                (Opens::NoConnection, Err(status)) => {
                    let by_hub = matches!(
                        status.code(),
                        Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented
                    );
                    assert!(!by_hub, "{what}: {status}");
                }
                (wanted, came) => panic!("{what}: {came:?} instead of {wanted:?}"),
            }
        }
    }
    assert_eq!(accepted(&hub), before);
    assert!(
        hub.client
            .get::<ManagedCluster>("", "stranger")
            .unwrap()
            .is_none(),
        "nobody has enrolled it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_method_is_nothing_to_anybody() {
    let hub = Hub::start().await;
    let east = hub.member("east").await;
    for certificate in [None, Some(&east)] {
        for path in [
            "/koinon.agent.v1.Session/Drop",
            "/koinon.agent.v1.Enrolment/Attach",
            "/koinon.agent.v1.Admin/Accept",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ] {
            let mut raw = tonic::client::Grpc::new(hub.connect(certificate).await);
            raw.ready().await.unwrap();
            let codec = tonic_prost::ProstCodec::<PullRequest, PullRequest>::default();
            let path = http::uri::PathAndQuery::from_static(path);
            let asked = raw.unary(Request::new(PullRequest::default()), path.clone(), codec);
            assert_eq!(
                asked.await.unwrap_err().code(),
                Code::Unimplemented,
                "{path}"
            );
        }
    }
}

/// `package.Service/Method` of all that the contract has.
fn methods() -> BTreeSet<String> {
    let files = prost_types::FileDescriptorSet::decode(koinon_proto::DESCRIPTOR).unwrap();
    let all: BTreeSet<String> = files
        .file
        .iter()
        .flat_map(|file| {
            file.service.iter().flat_map(|service| {
                service.method.iter().map(|method| {
                    format!("{}.{}/{}", file.package(), service.name(), method.name())
                })
            })
        })
        .collect();
    assert!(all.contains(ATTACH), "{all:?}");
    all
}

async fn identities(hub: &Hub) -> Vec<Identity> {
    let identity = |name, certificate, opens| Identity {
        name,
        certificate,
        bearer: None,
        opens,
    };
    let nobody = Opens::Refused(Code::Unauthenticated);
    let shut_out = Opens::Refused(Code::PermissionDenied);
    let (east, west) = (hub.member("east").await, hub.member("west").await);
    let (denied, deleted) = (hub.member("denied").await, hub.member("deleted").await);
    let former = hub.member("former").await;
    hub.deny("denied").await;
    hub.let_go("deleted").await;
    // Another cluster has its name by now.
    hub.let_go("former").await;
    hub.accept("former").await;
    let admin = hub.admin();
    let mut bearer = identity("who shows a token", None, nobody);
    bearer.bearer = Some(hub.token("bearer", |spec| spec.auto_accept = true).await);
    let foreign = foreign(hub, "east");
    vec![
        identity("nobody", None, nobody),
        bearer,
        identity("a user", Some(admin), nobody),
        identity(
            "an agent of another hub",
            Some(foreign),
            Opens::NoConnection,
        ),
        identity("a cluster that is not accepted", Some(denied), shut_out),
        identity("a deleted cluster", Some(deleted), shut_out),
        identity(
            "a deleted cluster whose name is taken",
            Some(former),
            shut_out,
        ),
        identity("another cluster", Some(west), Opens::Cluster("west")),
        identity("the cluster", Some(east), Opens::Cluster("east")),
    ]
}

/// A certificate for a cluster of `hub`, uid and all, from another authority.
fn foreign(hub: &Hub, cluster: &str) -> Credentials {
    let authority = Authority::load(&Material::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let uid = hub.cluster(cluster).metadata.uid.unwrap();
    let agent = Enrolled {
        subject: approve::Subject {
            cluster: cluster.to_owned(),
            agent: "a1".to_owned(),
        },
        uid: uid.parse().unwrap(),
    };
    let proven = approve::approve(&csr(&key, |_| {}), &agent.subject).unwrap();
    let issued = authority.issue_agent(&agent, &proven, Duration::from_secs(3600));
    Credentials {
        uid: format!("uid-of-{cluster}"),
        chain: issued.unwrap().chain.into_iter().map(Into::into).collect(),
        key: key.serialize_der(),
    }
}

/// Calls a method as whoever it is, with what would get most out of it.
async fn call(hub: &Hub, method: &str, identity: &Identity) -> Came {
    let channel = hub.try_connect(identity.certificate.as_ref()).await;
    let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
    match method {
        ENROL => enrol(channel, identity).await,
        ATTACH => attach(hub, channel, identity).await,
        PULL => pull(hub, channel, identity).await,
        RENEW => renew(channel, identity).await,
        other => panic!("{other} has no row: say here what it opens to whom"),
    }
}

fn request<T>(identity: &Identity, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(bearer) = &identity.bearer {
        let value = format!("Bearer {bearer}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

async fn enrol(channel: Channel, identity: &Identity) -> Came {
    let mut calls = koinon_proto::v1::enrolment_client::EnrolmentClient::new(channel);
    let asked = Applicant::new("stranger").request("no token");
    calls.enrol(request(identity, asked)).await?;
    Ok(None)
}

async fn attach(hub: &Hub, channel: Channel, identity: &Identity) -> Came {
    let mut calls = SessionClient::new(channel);
    let (say, said) = tokio::sync::mpsc::channel(4);
    let uid = identity.certificate.as_ref().map(|held| held.uid.clone());
    let hello = Hello {
        agent_version: "test".to_owned(),
        cluster_uid: uid.unwrap_or_else(|| "uid-of-east".to_owned()),
        features: vec![koinon_proto::BODIES.to_owned()],
        ..Hello::default()
    };
    let hello = koinon_proto::v1::AgentMessage {
        body: Some(Say::Hello(hello)),
    };
    say.send(hello).await.unwrap();
    let answer = calls.attach(request(identity, ReceiverStream::new(said)));
    let mut hear = answer.await?.into_inner();
    let mut digests = BTreeSet::new();
    while digests.is_empty() {
        let message = hear.message().await?.expect("the session lasts");
        if let Some(Hear::Notices(notices)) = message.body {
            digests.extend(notices.notices.into_iter().map(|notice| notice.digest));
        }
    }
    // The works of the two differ in what they hold.
    let whose = |cluster: &&str| digests.contains(&hub.digest(cluster, "the-work"));
    let shown: Vec<&str> = ["east", "west"].into_iter().filter(whose).collect();
    assert_eq!((digests.len(), shown.len()), (1, 1), "it has one work");
    Ok(Some(shown[0].to_owned()))
}

async fn pull(hub: &Hub, channel: Channel, identity: &Identity) -> Came {
    let mut calls = SessionClient::new(channel);
    let mut shown = None;
    // Both by what only their own agents know.
    for cluster in ["east", "west"] {
        let known: koinon_api::ManifestWork = hub.client.get(cluster, "the-work").unwrap().unwrap();
        let asked = WorkRef {
            name: "the-work".to_owned(),
            uid: known.metadata.uid.unwrap(),
            digest: hub.digest(cluster, "the-work"),
        };
        let asked = PullRequest { works: vec![asked] };
        let mut chunks = calls.pull(request(identity, asked)).await?.into_inner();
        let mut data = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            data.extend_from_slice(&chunk.data);
        }
        if !data.is_empty() {
            assert!(
                shown.replace(cluster.to_owned()).is_none(),
                "both are shown"
            );
        }
    }
    Ok(shown)
}

async fn renew(channel: Channel, identity: &Identity) -> Came {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    let mut calls = SessionClient::new(channel);
    let csr = csr(&KeyPair::generate().unwrap(), |_| {});
    let asked = RenewRequest {
        csr_der: csr.into(),
    };
    let issued = calls.renew(request(identity, asked)).await?.into_inner();
    let (_, leaf) = X509Certificate::from_der(&issued.chain_der[0]).unwrap();
    let name = leaf.subject().iter_common_name().next().unwrap();
    let cluster = name.as_str().unwrap().split(':').nth(2).unwrap();
    Ok(Some(cluster.to_owned()))
}
