//! What deletions take along, and what they leave.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use koinon_api::{
    ManagedCluster, ManifestWork, ManifestWorkReplicaSet, Placement, PlacementDecision,
};
use koinon_hub::{
    auth::User,
    registry::{DeleteOptions, Propagation, Writer},
};
use koinon_store::{Key, testing::TestPostgres};
use serde_json::json;

use crate::support::{Hub, eventually};

fn exists<K>(hub: &Hub, namespace: &str, name: &str) -> bool
where
    K: kube::Resource<DynamicType = ()> + serde::Serialize + serde::de::DeserializeOwned + Clone,
{
    hub.client.get::<K>(namespace, name).unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_leaves_after_its_works_and_its_name_is_free_again() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let leader = hub.lead("hub", "*,-lease");
    hub.cluster("east", 60).await;
    eventually("the namespace is made", || {
        exists::<Namespace>(&hub, "", "east")
    })
    .await;
    hub.namespace("apps").await;
    hub.workload("apps", None).await;
    eventually("the workload is placed", || {
        hub.works("apps") == [("east".to_owned(), false)]
    })
    .await;

    hub.delete::<ManagedCluster>("", "east").await;
    eventually("its work is to go", || {
        hub.works("apps") == [("east".to_owned(), true)]
    })
    .await;
    assert!(
        exists::<ManagedCluster>(&hub, "", "east"),
        "it waits for its agent"
    );
    assert!(
        hub.store.identities().get("east").await.unwrap().is_some(),
        "the agent can still connect"
    );
    hub.clean_up("east").await;
    eventually("the cluster is gone", || {
        !exists::<ManagedCluster>(&hub, "", "east")
    })
    .await;
    assert!(hub.store.identities().get("east").await.unwrap().is_none());
    assert!(
        exists::<Namespace>(&hub, "", "east"),
        "the namespace is kept"
    );
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn works_that_no_agent_will_clean_up_are_released() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let leader = hub.lead("hub", "*,-lease");
    hub.create::<Namespace>(
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "nobody" } }),
    )
    .await;
    let manifest = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" } });
    let work = json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
        "metadata": { "name": "web", "namespace": "nobody" }, "spec": { "workload": { "manifests": [manifest] } },
    });
    hub.create::<ManifestWork>(work).await;
    hub.delete::<ManifestWork>("nobody", "web").await;
    eventually("the work is gone", || {
        !exists::<ManifestWork>(&hub, "nobody", "web")
    })
    .await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_take_their_dependents_along() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let leader = hub.lead("hub", "*,-lease");
    hub.cluster("east", 60).await;
    hub.namespace("apps").await;
    hub.workload("apps", None).await;
    eventually("the workload is placed", || hub.works("apps").len() == 1).await;

    hub.delete::<Placement>("apps", "prod").await;
    eventually("the decisions are gone", || {
        hub.list::<PlacementDecision>(Some("apps")).is_empty()
    })
    .await;
    assert_eq!(
        hub.works("apps"),
        [("east".to_owned(), false)],
        "a lost placement takes no workload away (P3)"
    );

    hub.delete::<ManifestWorkReplicaSet>("apps", "web").await;
    eventually("its work is to go", || {
        hub.works("apps") == [("east".to_owned(), true)]
    })
    .await;
    eventually("the set is gone", || {
        !exists::<ManifestWorkReplicaSet>(&hub, "apps", "web")
    })
    .await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_emptied_before_it_goes() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let leader = hub.lead("hub", "*,-lease");
    hub.namespace("apps").await;
    for name in ["a", "b"] {
        let finalizers = if name == "b" {
            json!(["test/hold"])
        } else {
            json!([])
        };
        hub.create::<ConfigMap>(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "namespace": "apps", "finalizers": finalizers },
        }))
        .await;
    }
    hub.delete::<Namespace>("", "apps").await;
    eventually("what can go is gone", || {
        !exists::<ConfigMap>(&hub, "apps", "a")
    })
    .await;
    assert!(
        exists::<Namespace>(&hub, "", "apps"),
        "something is still inside"
    );
    let release = |map: &mut ConfigMap| {
        map.metadata.finalizers = None;
        true
    };
    hub.client
        .modify::<ConfigMap>("apps", "b", release)
        .await
        .unwrap();
    eventually("the namespace is gone", || {
        !exists::<Namespace>(&hub, "", "apps")
    })
    .await;
    leader.stop().await;
}

/// Deletes as `kubectl delete --cascade=…` does.
async fn cascade(hub: &Hub, key: &Key, propagation: Propagation) {
    let registry = hub.client.registry();
    let kind = registry.kinds().by_key(&key.resource).unwrap().clone();
    let options = DeleteOptions {
        propagation: Some(propagation),
        ..DeleteOptions::default()
    };
    let writer = Writer {
        user: User::hub(),
        epoch: None,
        manager: None,
    };
    registry
        .delete(&kind, key, &options, &writer)
        .await
        .unwrap();
}

fn config_map(name: &str, owner: Option<&ConfigMap>) -> serde_json::Value {
    let owners: Vec<_> = owner
        .iter()
        .map(|owner| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "name": owner.metadata.name, "uid": owner.metadata.uid,
                "blockOwnerDeletion": true,
            })
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "default", "ownerReferences": owners },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_may_wait_for_its_dependents_or_let_them_go() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let leader = hub.lead("hub", "gc");
    for owner in ["front", "orphaned"] {
        hub.create::<ConfigMap>(config_map(owner, None)).await;
        let object = hub
            .client
            .get::<ConfigMap>("default", owner)
            .unwrap()
            .unwrap();
        hub.create::<ConfigMap>(config_map(&format!("of-{owner}"), Some(&object)))
            .await;
    }
    let held = |map: &mut ConfigMap| {
        map.metadata.finalizers = Some(vec!["test/hold".to_owned()]);
        true
    };
    hub.client
        .modify::<ConfigMap>("default", "of-front", held)
        .await
        .unwrap();

    cascade(
        &hub,
        &Key::new("configmaps", "default", "front"),
        Propagation::Foreground,
    )
    .await;
    cascade(
        &hub,
        &Key::new("configmaps", "default", "orphaned"),
        Propagation::Orphan,
    )
    .await;
    let get = |name: &str| hub.client.get::<ConfigMap>("default", name).unwrap();
    eventually("the dependent is to go first", || {
        get("of-front").is_some_and(|map| map.metadata.deletion_timestamp.is_some())
    })
    .await;
    assert!(get("front").is_some(), "its owner waits for it");
    let release = |map: &mut ConfigMap| {
        map.metadata.finalizers = None;
        true
    };
    hub.client
        .modify::<ConfigMap>("default", "of-front", release)
        .await
        .unwrap();
    eventually("both are gone", || {
        get("front").is_none() && get("of-front").is_none()
    })
    .await;

    eventually("the other owner is gone", || get("orphaned").is_none()).await;
    let orphan = get("of-orphaned").expect("what was let go stays");
    assert!(
        orphan
            .metadata
            .owner_references
            .unwrap_or_default()
            .is_empty()
    );

    let ghost = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "front", "uid": "gone" });
    let mut stray = config_map("stray", None);
    stray["metadata"]["ownerReferences"] = json!([ghost]);
    hub.create::<ConfigMap>(stray).await;
    eventually("an object of an owner that never was goes", || {
        get("stray").is_none()
    })
    .await;
    leader.stop().await;
}
