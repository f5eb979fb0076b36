//! What deletions take along, and what they leave.

use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use koinon_api::{
    ManagedCluster, ManifestWork, ManifestWorkReplicaSet, Placement, PlacementDecision,
};
use koinon_hub::registry::{DeleteOptions, Propagation, Writer};
use koinon_store::{Change, Draft, Key, testing::TestPostgres};
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
pub(crate) async fn cascade(hub: &Hub, key: &Key, propagation: Propagation) {
    let registry = hub.client.registry();
    let kind = registry.kinds().by_key(&key.resource).unwrap().clone();
    let options = DeleteOptions {
        propagation: Some(propagation),
        ..DeleteOptions::default()
    };
    let writer = Writer::hub();
    registry
        .delete(&kind, key, &options, &writer)
        .await
        .unwrap();
}

pub(crate) fn config_map(name: &str, owner: Option<&ConfigMap>) -> serde_json::Value {
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

fn owner(kind: &str, name: &str, uid: &str) -> serde_json::Value {
    json!({ "apiVersion": "v1", "kind": kind, "name": name, "uid": uid })
}

/// A reference that nobody can follow is no reason to delete anything: a slip in a cluster's metadata must not cost the
/// cluster.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_no_namespace_is_not_taken_along_by_what_would_have_to_be_in_one() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let nowhere = uuid::Uuid::new_v4().to_string();
    let owners = json!([
        owner("ConfigMap", "settings", &nowhere),
        owner("Namespace", "lost", &nowhere)
    ]);
    for (name, owners) in [("east", &owners), ("west", &json!([owners[1]]))] {
        hub.create::<ManagedCluster>(json!({
            "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
            "metadata": { "name": name, "ownerReferences": owners }, "spec": { "hubAcceptsClient": true },
        }))
        .await;
    }
    let leader = hub.lead("hub", "gc");
    eventually("what has lost its owner goes", || {
        !exists::<ManagedCluster>(&hub, "", "west")
    })
    .await;
    // East came first.
    let east = hub.client.get::<ManagedCluster>("", "east").unwrap();
    let east = east.expect("nobody can tell whether its owner is there");
    assert_eq!(east.metadata.deletion_timestamp, None);
    assert_eq!(east.metadata.owner_references.unwrap_or_default().len(), 2);
    leader.stop().await;
}

/// Between the look at an object and its deletion it may get another owner; whoever was told so must find it there.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_adopted_while_its_owner_goes_stays() {
    const DEPENDENTS: usize = 200;
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let leader = hub.lead("hub", "gc");
    for name in ["old", "new"] {
        hub.create::<ConfigMap>(config_map(name, None)).await;
    }
    let get = |name: &str| hub.client.get::<ConfigMap>("default", name).unwrap();
    let (old, new) = (get("old").unwrap(), get("new").unwrap());
    for i in 0..DEPENDENTS {
        hub.create::<ConfigMap>(config_map(&format!("d{i}"), Some(&old)))
            .await;
    }
    let adopt = async |i: usize| {
        let adopted = |map: &mut ConfigMap| {
            let owners: Vec<OwnerReference> = serde_json::from_value(json!([owner(
                "ConfigMap",
                "new",
                new.metadata.uid.as_deref().unwrap()
            )]))
            .unwrap();
            map.metadata
                .owner_references
                .get_or_insert_default()
                .extend(owners);
            true
        };
        let name = format!("d{i}");
        let done = hub.client.modify::<ConfigMap>("default", &name, adopted);
        done.await.is_ok().then_some(name)
    };
    let adoption = futures::future::join_all((0..DEPENDENTS).map(adopt));
    let ((), adopted) = tokio::join!(hub.delete::<ConfigMap>("default", "old"), adoption);
    let adopted: Vec<String> = adopted.into_iter().flatten().collect();
    eventually("nobody names the lost owner any more", || {
        let maps = hub.list::<ConfigMap>(Some("default"));
        let owners = maps
            .iter()
            .flat_map(|map| map.metadata.owner_references.iter().flatten());
        !owners.into_iter().any(|owner| owner.name == "old")
    })
    .await;
    for name in &adopted {
        assert!(get(name).is_some(), "{name} has another owner");
    }
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependent_of_two_stays_with_the_one_that_stays() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let leader = hub.lead("hub", "gc");
    for name in ["goes", "stays"] {
        hub.create::<ConfigMap>(config_map(name, None)).await;
    }
    let get = |name: &str| hub.client.get::<ConfigMap>("default", name).unwrap();
    let mut dependent = config_map("shared", get("goes").as_ref());
    let other = config_map("", get("stays").as_ref())["metadata"]["ownerReferences"][0].clone();
    dependent["metadata"]["ownerReferences"]
        .as_array_mut()
        .unwrap()
        .push(other);
    hub.create::<ConfigMap>(dependent).await;
    cascade(
        &hub,
        &Key::new("configmaps", "default", "goes"),
        Propagation::Foreground,
    )
    .await;
    eventually("its owner is gone", || get("goes").is_none()).await;
    let shared = get("shared").expect("the other owner holds it");
    let owners = shared.metadata.owner_references.unwrap_or_default();
    assert_eq!(owners.len(), 1);
    assert_eq!(owners[0].name, "stays");
    leader.stop().await;
}

/// Admitted while the namespace was there, and written after it was gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_in_a_namespace_after_its_end_does_not_stay() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let leader = hub.lead("hub", "namespace");
    hub.namespace("apps").await;
    hub.create::<ConfigMap>(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "model", "namespace": "apps" },
    }))
    .await;
    let model = hub
        .store
        .get(&Key::new("configmaps", "apps", "model"))
        .unwrap();
    hub.delete::<Namespace>("", "apps").await;
    eventually("the namespace is gone", || {
        !exists::<Namespace>(&hub, "", "apps")
    })
    .await;
    let late = |namespace: &str| Draft {
        key: Key::new("configmaps", namespace, "late"),
        uid: model.uid,
        generation: 0,
        labels: model.labels.clone(),
        metadata: model.metadata.clone(),
        body: model.body.clone(),
        status: model.status.clone(),
    };
    // Of a namespace that never was nothing is known, so what is in it is nobody's to delete.
    for namespace in ["never", "apps"] {
        let change = Change::Create(late(namespace));
        hub.store.write(change).await.unwrap();
    }
    eventually("the latecomer is gone", || {
        hub.store
            .get(&Key::new("configmaps", "apps", "late"))
            .is_none()
    })
    .await;
    assert!(
        hub.store
            .get(&Key::new("configmaps", "never", "late"))
            .is_some()
    );
    leader.stop().await;
}
