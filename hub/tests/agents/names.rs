//! Names of clusters that were deleted, or are somebody else's: who gets them by enrolling.

use k8s_openapi::api::core::v1::Namespace;
use koinon_api::{JoinToken, ManagedCluster, labels::label};
use koinon_proto::v1::enrol_response::Outcome;
use tonic::Code;

use crate::{
    enrolment::uses_left,
    support::{Applicant, Hub},
};

/// Whoever took an agent over keeps its key and its token: neither brings a cluster back that an admin deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_cluster_does_not_come_back_with_a_spent_or_expired_token() {
    let hub = Hub::start().await;
    let spent = hub.token("spent", |spec| spec.auto_accept = true).await;
    let expiring = hub.token("expiring", |spec| (spec.auto_accept, spec.uses) = (true, 5));
    let expiring = expiring.await;
    for (name, token) in [("east", &spent), ("west", &expiring)] {
        let applicant = Applicant::new(name);
        hub.enrol(applicant.request(token)).await.unwrap();
        hub.accept(name).await;
        let answer = hub.enrol(applicant.request(token)).await.unwrap();
        assert!(matches!(answer.outcome, Some(Outcome::Issued(_))));
        if name == "west" {
            let expire = |token: &mut JoinToken| {
                token.spec.expires_at.0 = jiff::Timestamp::now();
                true
            };
            let expired = hub.client.modify("", "expiring", expire).await;
            expired.unwrap();
        }
        let again = hub.enrol(applicant.request(token)).await.unwrap();
        assert!(
            matches!(again.outcome, Some(Outcome::Issued(_))),
            "a use outlasts its token while the cluster is there"
        );
        let client = &hub.client;
        client
            .delete::<ManagedCluster>("", name, Default::default())
            .await
            .unwrap();
        hub.free(name).await;
        let refused = hub.enrol(applicant.request(token)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{name}");
        assert!(client.get::<ManagedCluster>("", name).unwrap().is_none());

        // Made anew by an admin it is another object: the use was not spent on that one either.
        hub.accept(name).await;
        let refused = hub.enrol(applicant.request(token)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{name}");
        let fresh = hub.token(&format!("fresh-{name}"), |_| {}).await;
        let answer = hub.enrol(applicant.request(&fresh)).await.unwrap();
        assert!(matches!(answer.outcome, Some(Outcome::Issued(_))));
    }
}

/// The hub may die between any two writes of an enrolment: asking again goes on where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_use_that_was_spent_on_a_cluster_is_good_until_it_is_accepted() {
    let hub = Hub::start().await;
    let token = hub.token("t", |spec| spec.auto_accept = true).await;
    let east = Applicant::new("east");
    hub.enrol(east.request(&token)).await.unwrap();
    let undo = |cluster: &mut ManagedCluster| {
        cluster.spec.hub_accepts_client = false;
        cluster.metadata.annotations = None;
        true
    };
    let undone = hub.client.modify::<ManagedCluster>("", "east", undo).await;
    assert!(!undone.unwrap().spec.hub_accepts_client);
    hub.free("east").await;
    hub.enrol(east.request(&token)).await.unwrap();
    assert!(hub.cluster("east").spec.hub_accepts_client);
    assert_eq!(uses_left(&hub, "t"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_does_not_take_over_the_namespace_of_a_tenant() {
    let hub = Hub::start().await;
    let token = hub.token("t", |spec| spec.auto_accept = true).await;
    let mut shop = Namespace::default();
    shop.metadata.name = Some("shop".to_owned());
    hub.client.create(&shop).await.unwrap();
    let applicant = Applicant::new("shop");
    let refused = hub.enrol(applicant.request(&token)).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    let client = &hub.client;
    assert!(client.get::<ManagedCluster>("", "shop").unwrap().is_none());
    assert_eq!(uses_left(&hub, "t"), 1);
    // The namespace of a cluster that was there before says so.
    let label = |namespace: &mut Namespace| {
        let labels = namespace.metadata.labels.get_or_insert_default();
        labels.insert(label::CLUSTER_NAME.to_owned(), "shop".to_owned());
        true
    };
    client.modify::<Namespace>("", "shop", label).await.unwrap();
    hub.enrol(applicant.request(&token)).await.unwrap();
}
