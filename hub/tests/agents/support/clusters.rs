//! What controllers and admins do to a cluster's object.

use super::*;

impl Hub {
    /// What the registration controller does when an admin accepts a cluster.
    pub(crate) async fn accept(&self, name: &str) {
        if self
            .client
            .get::<ManagedCluster>("", name)
            .unwrap()
            .is_none()
        {
            let spec = ManagedClusterSpec {
                lease_duration_seconds: 60,
                ..Default::default()
            };
            self.client
                .create(&ManagedCluster::new(name, spec))
                .await
                .unwrap();
        }
        let accept = |cluster: &mut ManagedCluster| {
            cluster.spec.hub_accepts_client = true;
            true
        };
        self.client
            .modify::<ManagedCluster>("", name, accept)
            .await
            .unwrap();
        let settle = |cluster: &mut ManagedCluster| {
            let condition = new_condition(
                condition::HUB_ACCEPTED,
                Truth::True,
                reason::hub_accepted::ACCEPTED,
                "Accepted by hub cluster admin",
                jiff::Timestamp::now(),
            );
            set_condition(
                &mut cluster.status.get_or_insert_default().conditions,
                condition,
            )
        };
        self.client
            .modify_status::<ManagedCluster>("", name, settle)
            .await
            .unwrap();
        if self.client.get::<Namespace>("", name).unwrap().is_none() {
            let metadata = ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            };
            self.client
                .create(&Namespace {
                    metadata,
                    ..Namespace::default()
                })
                .await
                .unwrap();
        }
    }

    /// What deleting a cluster comes to once its works are gone: no identity, and no object unless somebody holds it.
    pub(crate) async fn let_go(&self, name: &str) {
        self.client
            .delete::<ManagedCluster>("", name, Default::default())
            .await
            .unwrap();
        if self
            .client
            .get::<ManagedCluster>("", name)
            .unwrap()
            .is_some()
        {
            let show = |cluster: &mut ManagedCluster| {
                let gone = new_condition(
                    condition::DELETING,
                    Truth::True,
                    reason::deleting::NO_RESOURCE,
                    "",
                    jiff::Timestamp::now(),
                );
                set_condition(&mut cluster.status.get_or_insert_default().conditions, gone)
            };
            self.client
                .modify_status::<ManagedCluster>("", name, show)
                .await
                .unwrap();
        }
        self.free(name).await;
    }

    /// Frees the name of a cluster, as the controllers do for one that is gone or has taken leave.
    pub(crate) async fn free(&self, name: &str) {
        let object = self.client.get::<ManagedCluster>("", name).unwrap();
        let uid = object.and_then(|object| object.metadata.uid?.parse().ok());
        let clusters = "managedclusters.cluster.open-cluster-management.io";
        let identities = self.store.identities();
        let released = identities.release(clusters, name, uid, None).await;
        assert_eq!(released.unwrap(), Release::Freed);
    }

    /// Puts a finalizer on a cluster.
    pub(crate) async fn hold(&self, name: &str) {
        self.finalize(name, vec!["test/hold".to_owned()]).await;
    }

    pub(crate) async fn unhold(&self, name: &str) {
        self.finalize(name, Vec::new()).await;
    }

    async fn finalize(&self, name: &str, finalizers: Vec<String>) {
        let change = |cluster: &mut ManagedCluster| {
            cluster.metadata.finalizers = Some(finalizers.clone());
            true
        };
        self.client
            .modify::<ManagedCluster>("", name, change)
            .await
            .unwrap();
    }
}
