//! Enrolment and renewal: who gets a certificate, and who does not.

use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest as Csr, CertificateSigningRequestCondition as Condition,
};
use koinon_api::{JoinToken, ManagedCluster};
use koinon_proto::v1::{
    EnrolRequest, PullRequest, RenewRequest, WorkRef, enrol_response::Outcome,
    session_client::SessionClient,
};
use rcgen::{BasicConstraints, DnType, IsCa, KeyPair, SanType};
use tonic::Code;

use crate::support::{Agent, Applicant, Hub, csr};

pub(crate) fn uses_left(hub: &Hub, token: &str) -> u32 {
    hub.client
        .get::<JoinToken>("", token)
        .unwrap()
        .unwrap()
        .status
        .unwrap()
        .uses_left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enrolment_waits_for_an_admin_and_spends_one_use() {
    let hub = Hub::start().await;
    let token = hub.token("t", |spec| spec.uses = 3).await;
    let east = Applicant::new("east");
    for _ in 0..3 {
        let answer = hub.enrol(east.request(&token)).await.unwrap();
        assert!(
            matches!(answer.outcome, Some(Outcome::Pending(_))),
            "{answer:?}"
        );
    }
    assert!(!hub.cluster("east").spec.hub_accepts_client);
    hub.accept("east").await;
    let answer = hub.enrol(east.request(&token)).await.unwrap();
    let Some(Outcome::Issued(issued)) = answer.outcome else {
        panic!("{answer:?}")
    };
    assert_eq!(
        issued.trust_bundle_der[0][..],
        hub.authority.certificate()[..]
    );
    assert_eq!(uses_left(&hub, "t"), 2, "one enrolment is one use");
    assert!(
        Agent::attach(&hub, &east.credentials(&issued), &[])
            .await
            .is_ok()
    );
    assert_eq!(hub.metric("enrolments_total{outcome=\"issued\"}"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_may_carry_acceptance_but_not_against_an_admin() {
    let hub = Hub::start().await;
    let token = hub.token("t", |spec| spec.auto_accept = true).await;
    let east = Applicant::new("east");
    let answer = hub.enrol(east.request(&token)).await.unwrap();
    assert!(
        matches!(answer.outcome, Some(Outcome::Pending(_))),
        "the hub is still preparing"
    );
    assert!(hub.cluster("east").spec.hub_accepts_client);
    hub.accept("east").await;
    assert!(matches!(
        hub.enrol(east.request(&token)).await.unwrap().outcome,
        Some(Outcome::Issued(_))
    ));
    hub.deny("east").await;
    let denied = hub.enrol(east.request(&token)).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert!(!hub.cluster("east").spec.hub_accepts_client);
}

/// A fleet is often rolled out with one token: nobody is turned away for asking at the same moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_with_one_token_is_admitted_whole_and_no_further() {
    const HERD: u32 = 48;
    let hub = Hub::start().await;
    let token = hub.token("t", |spec| spec.uses = HERD).await;
    let names: Vec<String> = (0..=HERD).map(|n| format!("c{n}")).collect();
    let applicants: Vec<Applicant> = names.iter().map(|name| Applicant::new(name)).collect();
    let answers = applicants.iter().map(|who| hub.enrol(who.request(&token)));
    let answers = futures::future::join_all(answers).await;
    let refused: Vec<_> = answers.iter().filter_map(|a| a.as_ref().err()).collect();
    assert_eq!(refused.len(), 1, "one use too few: {refused:?}");
    assert_eq!(refused[0].code(), Code::Unauthenticated);
    assert_eq!(uses_left(&hub, "t"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_token_admits_nobody_and_changes_nothing() {
    let hub = Hub::start().await;
    let good = hub.token("good", |_| {}).await;
    let other = hub
        .token("other", |spec| spec.cluster_name = Some("west".to_owned()))
        .await;
    let revoked = hub.token("revoked", |_| {}).await;
    hub.client
        .delete::<JoinToken>("", "revoked", Default::default())
        .await
        .unwrap();
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    let expiring = hub.token("expiring", |spec| spec.expires_at.0 = soon).await;
    crate::support::eventually("the token expires", async || jiff::Timestamp::now() > soon).await;

    let parts: Vec<&str> = good.split('.').collect();
    let forged = format!("koinon.good.{}.{}", "A".repeat(43), parts[3]);
    let other_hub = format!("koinon.good.{}.{}", parts[2], "ab".repeat(32));
    let unknown = good.replace("koinon.good", "koinon.nobody");
    for (name, token) in [
        ("forged", &forged),
        ("for another hub", &other_hub),
        ("unknown", &unknown),
        ("expired", &expiring),
        ("for another cluster", &other),
        ("revoked", &revoked),
        ("garbage", &"garbage".to_owned()),
        ("empty", &String::new()),
    ] {
        let status = hub
            .enrol(Applicant::new("east").request(token))
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{name}: {status}");
    }
    assert!(
        hub.client
            .get::<ManagedCluster>("", "east")
            .unwrap()
            .is_none()
    );
    assert_eq!(uses_left(&hub, "good"), 1);

    hub.enrol(Applicant::new("east").request(&good))
        .await
        .unwrap();
    let used_up = hub
        .enrol(Applicant::new("north").request(&good))
        .await
        .unwrap_err();
    assert_eq!(used_up.code(), Code::Unauthenticated);
    assert!(
        hub.client
            .get::<ManagedCluster>("", "north")
            .unwrap()
            .is_none()
    );
    assert_eq!(hub.metric("enrolments_total{outcome=\"token_expired\"}"), 1);
    assert_eq!(hub.metric("enrolments_total{outcome=\"token_used_up\"}"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_cluster_under_a_taken_name_is_refused_and_spends_nothing() {
    let hub = Hub::start().await;
    hub.member("east").await;
    let token = hub.token("t", |_| {}).await;
    let impostor = Applicant {
        uid: "another-uid".to_owned(),
        ..Applicant::new("east")
    };
    let status = hub.enrol(impostor.request(&token)).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert_eq!(uses_left(&hub, "t"), 1);
    // The cluster itself may come back with a new key.
    let answer = hub
        .enrol(Applicant::new("east").request(&token))
        .await
        .unwrap();
    assert!(matches!(answer.outcome, Some(Outcome::Issued(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_renews_all_the_time_is_stopped_and_others_are_not() {
    let hub = Hub::start().await;
    let (east, west) = (hub.member("east").await, hub.member("west").await);
    let key = KeyPair::generate().unwrap();
    let request = || RenewRequest {
        csr_der: csr(&key, |_| {}).into(),
    };
    let mut calls = SessionClient::new(hub.connect(Some(&east)).await);
    let refused = loop {
        if let Err(refused) = calls.renew(request()).await {
            break refused;
        }
        let issued = hub.store.identities().certificates("east").await.unwrap();
        assert!(issued.len() < 50, "nothing stops it");
    };
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let mut calls = SessionClient::new(hub.connect(Some(&west)).await);
    calls.renew(request()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_are_refused() {
    let hub = Hub::start().await;
    let token = hub.token("t", |_| {}).await;
    let good = Applicant::new("east").request(&token);
    let key = KeyPair::generate().unwrap();
    let ca = csr(&key, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)
    });
    let masters = csr(&key, |params| {
        params
            .distinguished_name
            .push(DnType::OrganizationName, "system:masters")
    });
    let server = csr(&key, |params| {
        params
            .subject_alt_names
            .push(SanType::DnsName("hub".try_into().unwrap()))
    });
    let with = |change: &dyn Fn(&mut EnrolRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    for (name, request) in [
        (
            "cluster name",
            with(&|r| r.cluster_name = "East".to_owned()),
        ),
        ("no cluster name", with(&|r| r.cluster_name = String::new())),
        (
            "path in a name",
            with(&|r| r.cluster_name = "a/agent/b".to_owned()),
        ),
        ("agent id", with(&|r| r.agent_id = "a:b".to_owned())),
        ("uid", with(&|r| r.cluster_uid = String::new())),
        ("long uid", with(&|r| r.cluster_uid = "u".repeat(1000))),
        ("no csr", with(&|r| r.csr_der = Vec::new().into())),
        ("csr garbage", with(&|r| r.csr_der = vec![0x30; 64].into())),
        (
            "asks for an authority",
            with(&|r| r.csr_der = ca.clone().into()),
        ),
        (
            "asks for a group",
            with(&|r| r.csr_der = masters.clone().into()),
        ),
        (
            "asks for a server's name",
            with(&|r| r.csr_der = server.clone().into()),
        ),
    ] {
        let status = hub.enrol(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{name}: {status}");
    }
    assert_eq!(uses_left(&hub, "t"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fails_too_often_has_to_wait() {
    let hub = Hub::start().await;
    let mut last = None;
    for _ in 0..40 {
        let status = hub
            .enrol(Applicant::new("east").request("koinon.no.no.no"))
            .await
            .unwrap_err();
        last = Some(status.code());
        if last == Some(Code::ResourceExhausted) {
            break;
        }
    }
    assert_eq!(last, Some(Code::ResourceExhausted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_keeps_the_identity_and_needs_acceptance() {
    let hub = Hub::start().await;
    let east = hub.member("east").await;
    let mut calls = SessionClient::new(hub.connect(Some(&east)).await);
    let key = KeyPair::generate().unwrap();
    let renewed = calls
        .renew(RenewRequest {
            csr_der: csr(&key, |_| {}).into(),
        })
        .await
        .unwrap()
        .into_inner();
    let chain: Vec<_> = renewed
        .chain_der
        .iter()
        .map(|der| der.to_vec().into())
        .collect();
    let renewed = crate::support::Credentials {
        chain,
        key: key.serialize_der(),
        ..east.clone()
    };
    let (_agent, welcome) = Agent::welcomed(&hub, &renewed, &[]).await.unwrap();
    assert!(welcome.in_sync);

    let greedy = csr(&key, |params| {
        params
            .distinguished_name
            .push(DnType::CommonName, "system:open-cluster-management:west:a1");
    });
    let refused = calls
        .renew(RenewRequest {
            csr_der: greedy.into(),
        })
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    hub.deny("east").await;
    let denied = calls
        .renew(RenewRequest {
            csr_der: csr(&key, |_| {}).into(),
        })
        .await
        .unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
}

/// P6: a name outlives a cluster. Whoever still has the certificate of one that was deleted gets nothing of the next one's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_clusters_certificate_is_refused_at_every_door() {
    let hub = Hub::start().await;
    let former = hub.member("east").await;
    let (mut open, _) = Agent::welcomed(&hub, &former, &[]).await.unwrap();
    let token = hub.token("second", |_| {}).await;
    let second = Applicant {
        uid: "another-uid".to_owned(),
        ..Applicant::new("east")
    };

    // Deleted and made anew, so fast that no session sees it gone.
    hub.let_go("east").await;
    hub.accept("east").await;
    let end = open.end().await.unwrap();
    assert!(end.is_some_and(|reason| reason.contains("removed")));
    let answer = hub.enrol(second.request(&token)).await.unwrap();
    let Some(Outcome::Issued(issued)) = answer.outcome else {
        panic!("{answer:?}")
    };
    let present = second.credentials(&issued);
    let work = hub.work("east", "w").await;

    // It lies about whose it is: the hello is its own.
    let liar = crate::support::Credentials {
        uid: present.uid.clone(),
        ..former
    };
    for who in [&liar, &present] {
        let refused = |status: &tonic::Status| {
            assert_eq!(status.code(), Code::PermissionDenied, "{status}");
        };
        let is_former = std::ptr::eq(who, &raw const liar);
        let attached = Agent::welcomed(&hub, who, &[]).await;
        let mut calls = SessionClient::new(hub.connect(Some(who)).await);
        let pull = PullRequest {
            works: vec![WorkRef {
                name: "w".to_owned(),
                uid: work.metadata.uid.clone().unwrap(),
                digest: hub.digest("east", "w"),
            }],
        };
        let pulled = calls.pull(pull).await;
        let key = KeyPair::generate().unwrap();
        let renewal = RenewRequest {
            csr_der: csr(&key, |_| {}).into(),
        };
        let renewed = calls.renew(renewal).await;
        if is_former {
            refused(&attached.err().expect("no session"));
            refused(&pulled.expect_err("no works"));
            refused(&renewed.expect_err("no certificate"));
            continue;
        }
        attached.unwrap();
        let chunk = pulled.unwrap().into_inner().message().await.unwrap();
        assert!(!chunk.unwrap().gone);
        renewed.unwrap();
    }
    assert_eq!(
        hub.metric("agent_rejected_total{reason=\"former_identity\"}"),
        3
    );
}

/// The object of a cluster that was let go is still there for a moment, while its name is free already: a certificate that was
/// issued for it would be good for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_enrols_while_the_former_cluster_goes_waits_for_an_object_of_his_own() {
    let hub = Hub::start().await;
    hub.member("east").await;
    hub.hold("east").await;
    hub.let_go("east").await;
    let token = hub.token("second", |_| {}).await;
    let second = Applicant {
        uid: "another-uid".to_owned(),
        ..Applicant::new("east")
    };
    let answer = hub.enrol(second.request(&token)).await.unwrap();
    assert!(
        matches!(answer.outcome, Some(Outcome::Pending(_))),
        "{answer:?}"
    );
    hub.unhold("east").await;
    hub.accept("east").await;
    let answer = hub.enrol(second.request(&token)).await.unwrap();
    let Some(Outcome::Issued(issued)) = answer.outcome else {
        panic!("{answer:?}")
    };
    Agent::welcomed(&hub, &second.credentials(&issued), &[])
        .await
        .unwrap();
}

/// What users see of an enrolment, and that a denied key stays denied whatever becomes of the cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enrolment_shows_as_a_request_and_a_denied_one_gets_nothing() {
    let hub = Hub::start().await;
    let token = hub.token("t", |spec| spec.uses = 20).await;
    let east = Applicant::new("east");
    for _ in 0..2 {
        hub.enrol(east.request(&token)).await.unwrap();
    }
    let shown = |hub: &Hub| hub.client.list::<Csr>(None).unwrap();
    let [request] = &shown(&hub)[..] else {
        panic!("one request for a key: {:?}", shown(&hub))
    };
    let spec = &request.spec;
    assert_eq!(spec.signer_name, "kubernetes.io/kube-apiserver-client");
    assert_eq!(spec.username.as_deref(), Some("system:bootstrap:t"));
    let name = request.metadata.name.clone().unwrap();
    decide(&hub, &name, "Denied").await;
    hub.accept("east").await;
    let denied = hub.enrol(east.request(&token)).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);

    // A new key asks anew; accepted as a cluster, it needs no other word.
    let again = Applicant::new("east");
    let answer = hub.enrol(again.request(&token)).await.unwrap();
    assert!(matches!(answer.outcome, Some(Outcome::Issued(_))));
    let all = shown(&hub);
    let issued = all
        .iter()
        .find(|one| one.metadata.name.as_deref() != Some(&name));
    let status = issued.unwrap().status.as_ref().unwrap();
    assert_eq!(status.conditions.as_ref().unwrap()[0].type_, "Approved");
    let text = String::from_utf8(status.certificate.clone().unwrap().0).unwrap();
    assert!(text.starts_with("-----BEGIN CERTIFICATE-----"), "{text}");

    // Bounded: whoever has a token does not fill the registry with requests.
    let mut refused = None;
    for _ in 0..12 {
        let answer = hub.enrol(Applicant::new("east").request(&token)).await;
        refused = answer.err().map(|status| status.code());
    }
    assert_eq!(refused, Some(Code::ResourceExhausted));
    assert_eq!(
        shown(&hub).len(),
        11,
        "the denied one stays, and shuts nobody out"
    );
}

async fn decide(hub: &Hub, name: &str, kind: &str) {
    let decide = |request: &mut Csr| {
        let condition = Condition {
            type_: kind.to_owned(),
            status: "True".to_owned(),
            ..Condition::default()
        };
        let status = request.status.get_or_insert_default();
        status.conditions.get_or_insert_default().push(condition);
        true
    };
    hub.client
        .modify_status::<Csr>("", name, decide)
        .await
        .unwrap();
}
