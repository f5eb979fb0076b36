//! What every hub has from the start: the namespace `default`, and Kubernetes' and our own roles.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use koinon_machinery::{ApiError, Object, Reason, Result};
use koinon_store::Key;

use super::{Kind, Options, Part, Registry, Writer, parts};
use crate::authz;

/// Objects looked after at a time: the writer lane makes a batch of them.
const CONCURRENT: usize = 64;

impl Registry {
    /// Creates what every hub has from the start, and adds to the default roles what this version gives them.
    ///
    /// What somebody has changed stays, as in Kubernetes: nothing is taken from a role or a binding, and one annotated
    /// `rbac.authorization.kubernetes.io/autoupdate: "false"` is left alone. A replica that comes later, or at the same
    /// time, finds nothing to do.
    ///
    /// # Errors
    ///
    /// `ServiceUnavailable` when the database is away.
    pub async fn seed(&self) -> Result<()> {
        let hub = Writer::hub();
        let mut namespace = Object::new("v1", "Namespace");
        namespace.set_name(crate::resources::DEFAULT_NAMESPACE);
        self.plant("namespaces", namespace, &hub).await?;
        stream::iter(authz::defaults())
            .map(|object| {
                let key = match object.kind() {
                    "ClusterRole" => "clusterroles.rbac.authorization.k8s.io",
                    _ => "clusterrolebindings.rbac.authorization.k8s.io",
                };
                self.plant(key, object, &hub)
            })
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await
    }

    /// Creates an object, or brings an existing one up to it.
    async fn plant(&self, key: &str, wanted: Object, hub: &Writer) -> Result<()> {
        let kind = self
            .kinds()
            .by_key(key)
            .ok_or_else(ApiError::no_such_resource)?;
        let key = Key::new(Arc::clone(&kind.key), "", wanted.name());
        if self.store().get(&key).is_none() {
            let made = self
                .create(kind, "", wanted.clone(), Options::default(), hub)
                .await;
            match made {
                Err(error) if error.reason == Reason::AlreadyExists => self.catch_up().await?,
                made => return made.map(drop),
            }
        }
        self.bring_up(kind, &key, &wanted, hub).await
    }

    async fn bring_up(&self, kind: &Kind, key: &Key, wanted: &Object, hub: &Writer) -> Result<()> {
        let Some(stored) = self.store().get(key) else {
            return Ok(());
        };
        if authz::brought_up(&parts::object(kind, &stored), wanted).is_none() {
            return Ok(());
        }
        let change =
            |old: &Object| Ok(authz::brought_up(old, wanted).unwrap_or_else(|| old.clone()));
        self.patch(kind, key, Part::Main, Options::default(), hub, change)
            .await
            .map(drop)
    }
}
