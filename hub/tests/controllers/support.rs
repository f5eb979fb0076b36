//! A registry with controllers, clusters without machines, and waiting.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use koinon_api::{
    ManagedCluster, ManagedClusterSetBinding, ManifestWork, ManifestWorkReplicaSet, Placement,
    PlacementDecision,
    labels::{condition, finalizer},
    meta::{Truth, new_condition, set_condition},
};
use koinon_hub::{
    clock,
    controllers::{self, Controllers, Reports, Selection},
    leader,
    metrics::Metrics,
    registry::{Client, Preconditions, Registry},
    resources::{self, Settings},
};
use koinon_store::{Beat, Store, testing::TestPostgres};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// One replica of a hub, as far as controllers need one.
pub(crate) struct Hub {
    pub(crate) client: Client,
    pub(crate) store: Store,
    _tasks: Arc<DropGuard>,
}

impl Hub {
    pub(crate) async fn open(postgres: &TestPostgres) -> Self {
        let (store, tasks) = Store::open(postgres.config())
            .await
            .expect("the store opens");
        let stop = CancellationToken::new();
        tokio::spawn(tasks.run(stop.clone()));
        let settings = Settings {
            ca_sha256: [7; 32],
            work_limit: 1 << 20,
            takes_secrets: true,
        };
        let registry = Registry::new(store.clone(), resources::all(&settings));
        registry
            .seed()
            .await
            .expect("the default namespace is created");
        Self {
            client: Client::new(registry),
            store,
            _tasks: Arc::new(stop.drop_guard()),
        }
    }

    /// Starts the controllers that `selection` names.
    pub(crate) fn lead(&self, name: &str, selection: &str) -> Leader {
        let selection =
            Selection::parse(selection, &controllers::names()).expect("the names exist");
        let controllers = Controllers::new(selection, &Metrics::default());
        let reports = controllers.reports();
        let stop = CancellationToken::new();
        let election = self.store.election(name);
        let task = tokio::spawn(leader::lead(
            election,
            self.client.clone(),
            controllers,
            stop.clone(),
        ));
        Leader {
            reports,
            stop,
            task: Some(task),
        }
    }

    pub(crate) async fn create<K>(&self, object: Value)
    where
        K: kube::Resource<DynamicType = ()> + serde::Serialize + DeserializeOwned + Clone,
    {
        let object: K = serde_json::from_value(object).expect("the fixture is well-formed");
        self.client
            .create(&object)
            .await
            .expect("the object is created");
    }

    /// An accepted cluster with a namespace, that is available and enrolled unless said otherwise.
    pub(crate) async fn cluster(&self, name: &str, lease_seconds: i32) {
        self.create::<ManagedCluster>(json!({
            "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
            "metadata": { "name": name },
            "spec": { "hubAcceptsClient": true, "leaseDurationSeconds": lease_seconds },
        }))
        .await;
        let identity = koinon_store::Identity {
            cluster: name.to_owned(),
            cluster_uid: Uuid::new_v4().to_string(),
            public_key_sha256: [1; 32],
            agent_id: "a1".to_owned(),
        };
        self.store
            .identities()
            .claim(&identity)
            .await
            .expect("the identity is free");
        self.report(name, Truth::True).await;
    }

    /// What an agent says of its cluster.
    pub(crate) async fn report(&self, name: &str, available: Truth) {
        let update = |cluster: &mut ManagedCluster| {
            let new = new_condition(
                condition::CLUSTER_AVAILABLE,
                available,
                "Test",
                "",
                clock::now(),
            );
            set_condition(&mut cluster.status.get_or_insert_default().conditions, new)
        };
        self.client
            .modify_status::<ManagedCluster>("", name, update)
            .await
            .expect("the cluster exists");
    }

    /// A namespace whose placements may choose from the default set.
    pub(crate) async fn namespace(&self, name: &str) {
        self.create::<Namespace>(
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }),
        )
        .await;
        self.create::<ManagedClusterSetBinding>(json!({
            "apiVersion": "cluster.open-cluster-management.io/v1beta2", "kind": "ManagedClusterSetBinding",
            "metadata": { "name": "default", "namespace": name }, "spec": { "clusterSet": "default" },
        }))
        .await;
    }

    /// A placement for `clusters` clusters, and a replica set on it.
    pub(crate) async fn workload(&self, namespace: &str, clusters: Option<i32>) {
        self.create::<Placement>(json!({
            "apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "Placement",
            "metadata": { "name": "prod", "namespace": namespace }, "spec": { "numberOfClusters": clusters },
        }))
        .await;
        self.create::<ManifestWorkReplicaSet>(json!({
            "apiVersion": "work.open-cluster-management.io/v1alpha1", "kind": "ManifestWorkReplicaSet",
            "metadata": { "name": "web", "namespace": namespace },
            "spec": { "placementRefs": [{ "name": "prod" }], "manifestWorkTemplate": { "workload": { "manifests": [
                { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "web", "namespace": "default" } },
            ]}}},
        }))
        .await;
    }

    pub(crate) fn list<K>(&self, namespace: Option<&str>) -> Vec<K>
    where
        K: kube::Resource<DynamicType = ()> + serde::Serialize + DeserializeOwned + Clone,
    {
        self.client
            .list::<K>(namespace)
            .expect("the kind is served")
    }

    /// The clusters that a namespace's placement has, in order.
    pub(crate) fn decided(&self, namespace: &str) -> Vec<String> {
        let decisions = self.list::<PlacementDecision>(Some(namespace));
        let mut clusters: Vec<String> = decisions
            .into_iter()
            .filter_map(|decision| decision.status)
            .flat_map(|status| status.decisions)
            .map(|decision| decision.cluster_name)
            .collect();
        clusters.sort();
        clusters
    }

    /// Works of a namespace's replica set as `(cluster, deleting)`, in order.
    pub(crate) fn works(&self, namespace: &str) -> Vec<(String, bool)> {
        let owner = format!("{namespace}.web");
        let ours = |work: &ManifestWork| {
            let labels = work.metadata.labels.as_ref();
            labels.and_then(|labels| {
                labels.get("work.open-cluster-management.io/manifestworkreplicaset")
            }) == Some(&owner)
        };
        let works = self.list::<ManifestWork>(None).into_iter().filter(ours);
        works
            .map(|work| {
                (
                    work.metadata.namespace.unwrap_or_default(),
                    work.metadata.deletion_timestamp.is_some(),
                )
            })
            .collect()
    }

    /// Does what an agent does with tombstones: removes the objects, and then the finalizer.
    pub(crate) async fn clean_up(&self, cluster: &str) {
        for work in self.list::<ManifestWork>(Some(cluster)) {
            if work.metadata.deletion_timestamp.is_none() {
                continue;
            }
            let name = work.metadata.name.unwrap_or_default();
            let release = |work: &mut ManifestWork| {
                work.metadata
                    .finalizers
                    .get_or_insert_default()
                    .retain(|one| one != finalizer::MANIFEST_WORK);
                true
            };
            self.client
                .modify::<ManifestWork>(cluster, &name, release)
                .await
                .expect("the work is released");
        }
    }

    pub(crate) async fn delete<K>(&self, namespace: &str, name: &str)
    where
        K: kube::Resource<DynamicType = ()> + serde::Serialize + DeserializeOwned + Clone,
    {
        self.client
            .delete::<K>(namespace, name, Preconditions::default())
            .await
            .expect("the object is deleted");
    }

    pub(crate) fn taints(&self, cluster: &str) -> Vec<String> {
        let cluster = self
            .client
            .get::<ManagedCluster>("", cluster)
            .expect("readable")
            .expect("the cluster exists");
        cluster
            .spec
            .taints
            .into_iter()
            .map(|taint| taint.key)
            .collect()
    }

    pub(crate) async fn beat(&self, clusters: &[&str]) {
        let session = Uuid::nil();
        let beats: Vec<Beat> = clusters
            .iter()
            .map(|cluster| Beat {
                cluster: (*cluster).to_owned(),
                session,
            })
            .collect();
        self.store
            .heartbeats()
            .beat_many(&beats)
            .await
            .expect("the heartbeats are written");
    }
}

/// Controllers that run until this is dropped.
pub(crate) struct Leader {
    pub(crate) reports: Reports,
    stop: CancellationToken,
    task: Option<tokio::task::JoinHandle<anyhow::Result<()>>>,
}

impl Leader {
    /// Ends the controllers in order.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            task.await.expect("no panic").expect("the term ends well");
        }
    }

    /// Whether one of the controllers ran into an error.
    pub(crate) fn has_failed(&self) -> bool {
        self.reports
            .list()
            .values()
            .any(|line| line.last_error.is_some())
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_or(what, condition, String::new).await;
}

/// The same; `state` tells what there is instead.
pub(crate) async fn eventually_or(
    what: &str,
    mut condition: impl FnMut() -> bool,
    state: impl Fn() -> String,
) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "did not happen in time: {what} {}",
            state()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
