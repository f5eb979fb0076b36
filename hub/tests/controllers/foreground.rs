//! Foreground deletion of more than two generations.

use k8s_openapi::api::core::v1::ConfigMap;
use koinon_hub::registry::Propagation;
use koinon_store::{Key, testing::TestPostgres};

use crate::{
    cleanup::{cascade, config_map},
    support::{Hub, eventually},
};

/// Deleted in the foreground, an owner waits for what is below its dependents as well.
#[tokio::test(flavor = "multi_thread")]
async fn grandchildren_go_before_their_grandparent() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let leader = hub.lead("hub", "gc");
    let get = |name: &str| hub.client.get::<ConfigMap>("default", name).unwrap();
    for (name, owner) in [
        ("top", None),
        ("middle", Some("top")),
        ("bottom", Some("middle")),
    ] {
        let owner = owner.and_then(get);
        hub.create::<ConfigMap>(config_map(name, owner.as_ref()))
            .await;
    }
    hold(&hub, "bottom", Some("test/hold")).await;
    cascade(
        &hub,
        &Key::new("configmaps", "default", "top"),
        Propagation::Foreground,
    )
    .await;
    eventually("the lowest is to go first", || {
        get("bottom").is_some_and(|map| map.metadata.deletion_timestamp.is_some())
    })
    .await;
    let middle = get("middle").expect("its owner waits for it").metadata;
    assert!(middle.deletion_timestamp.is_some());
    assert_eq!(
        middle.finalizers,
        Some(vec!["foregroundDeletion".to_owned()])
    );
    assert!(get("top").is_some());
    hold(&hub, "bottom", None).await;
    eventually("all are gone", || {
        ["top", "middle", "bottom"]
            .into_iter()
            .all(|name| get(name).is_none())
    })
    .await;
    leader.stop().await;
}

/// What waits for itself would wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn owners_of_each_other_do_not_wait_for_each_other() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let leader = hub.lead("hub", "gc");
    let get = |name: &str| hub.client.get::<ConfigMap>("default", name).unwrap();
    hub.create::<ConfigMap>(config_map("one", None)).await;
    hub.create::<ConfigMap>(config_map("other", get("one").as_ref()))
        .await;
    let other = get("other").unwrap();
    let closes = |map: &mut ConfigMap| {
        let reference = &config_map("", Some(&other))["metadata"]["ownerReferences"];
        map.metadata.owner_references = serde_json::from_value(reference.clone()).unwrap();
        true
    };
    hub.client
        .modify::<ConfigMap>("default", "one", closes)
        .await
        .unwrap();
    cascade(
        &hub,
        &Key::new("configmaps", "default", "one"),
        Propagation::Foreground,
    )
    .await;
    eventually("both are gone", || {
        get("one").is_none() && get("other").is_none()
    })
    .await;
    leader.stop().await;
}

/// Gives a config map this finalizer alone, beside the collector's own.
async fn hold(hub: &Hub, name: &str, finalizer: Option<&str>) {
    let change = |map: &mut ConfigMap| {
        let finalizers = map.metadata.finalizers.get_or_insert_default();
        finalizers.retain(|one| one != "test/hold");
        finalizers.extend(finalizer.map(str::to_owned));
        true
    };
    hub.client
        .modify::<ConfigMap>("default", name, change)
        .await
        .unwrap();
}
