//! The typed in-process client of controllers and agents.

use std::{fmt, sync::Arc};

use koinon_machinery::{ApiError, Object, Reason, Result};
use koinon_store::{Epoch, Key, Store};
use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    ATTEMPTS, DeleteOptions, Kind, Options, Part, Preconditions, Registry, Saved, State, Writer,
    change::Written, ownership::Owners, parts,
};
use crate::{audit::Audit, auth::User};

/// Reads from the cache and writes through the same rules as users do. Cheap to clone.
///
/// A cluster-scoped object has the namespace `""`.
#[derive(Clone)]
pub struct Client {
    registry: Registry,
    writer: Writer,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("writer", &self.writer)
            .finish_non_exhaustive()
    }
}

/// A type that the client can read and write.
pub trait Typed: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone {}

impl<K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone> Typed for K {}

impl Client {
    /// A client that writes as the hub itself.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            writer: Writer::hub(),
        }
    }

    /// The same client, whose writes count only while `epoch` leads (P5).
    #[must_use]
    pub fn with_epoch(&self, epoch: Epoch) -> Self {
        let writer = Writer {
            epoch: Some(epoch),
            ..self.writer.clone()
        };
        Self {
            registry: self.registry.clone(),
            writer,
        }
    }

    /// The same client, which writes as the controller `name` and has its writes recorded.
    #[must_use]
    pub fn as_controller(&self, name: &str, audit: Option<&Audit>) -> Self {
        let writer = Writer {
            user: User::controller(name),
            audit: audit.cloned(),
            ..self.writer.clone()
        };
        Self {
            registry: self.registry.clone(),
            writer,
        }
    }

    /// Who writes, for writes without a type.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The store below, for what is no object and for watches.
    pub fn store(&self) -> &Store {
        self.registry.store()
    }

    /// The untyped write path.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// An object as the cache has it.
    ///
    /// # Errors
    ///
    /// `InternalError` when the object does not read as a `K`, or `K` is not served.
    pub fn get<K: Typed>(&self, namespace: &str, name: &str) -> Result<Option<K>> {
        let kind = self.kind::<K>()?;
        let key = Key::new(Arc::clone(&kind.key), namespace, name);
        self.store()
            .get(&key)
            .map(|stored| parts::object(&kind, &stored).into_typed())
            .transpose()
    }

    /// All objects of a kind as the cache has them, in one namespace or in all; in key order.
    ///
    /// # Errors
    ///
    /// As for [`Client::get`].
    pub fn list<K: Typed>(&self, namespace: Option<&str>) -> Result<Vec<K>> {
        let kind = self.kind::<K>()?;
        let snapshot = self.store().snapshot(&kind.key);
        let typed = |stored: &Arc<koinon_store::Stored>| parts::object(&kind, stored).into_typed();
        match namespace {
            Some(namespace) => snapshot.namespace(namespace).map(typed).collect(),
            None => snapshot.iter().map(typed).collect(),
        }
    }

    /// Creates an object; `metadata.generateName` works.
    ///
    /// # Errors
    ///
    /// Any refusal of a create.
    pub async fn create<K: Typed>(&self, object: &K) -> Result<K> {
        let kind = self.kind::<K>()?;
        let saved = self.make(&kind, object, Part::Main).await?;
        saved.state.into_object(&kind).into_typed()
    }

    /// Creates an object together with its status: one write, and nobody sees it without.
    ///
    /// # Errors
    ///
    /// Any refusal of a create.
    pub async fn create_whole<K: Typed>(&self, object: &K) -> Result<()> {
        let kind = self.kind::<K>()?;
        self.make(&kind, object, Part::Whole).await.map(drop)
    }

    /// Replaces everything but the status, if `metadata.resourceVersion` is current.
    ///
    /// # Errors
    ///
    /// Any refusal of an update.
    pub async fn update<K: Typed>(&self, object: &K) -> Result<K> {
        self.replaced(object, Part::Main).await
    }

    /// Replaces the status, if `metadata.resourceVersion` is current.
    ///
    /// # Errors
    ///
    /// Any refusal of an update.
    pub async fn update_status<K: Typed>(&self, object: &K) -> Result<K> {
        self.replaced(object, Part::Status).await
    }

    /// Changes everything but the status by `change`, which says whether it changed anything.
    ///
    /// Repeats on the newer state when another write came first; writes nothing when nothing changed. Returns the
    /// object as it is now.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Conflict` after five lost races, or any refusal of an update.
    pub async fn modify<K: Typed>(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnMut(&mut K) -> bool + Send,
    ) -> Result<K> {
        self.changed(namespace, name, Part::Main, change).await
    }

    /// Changes the status by `change`, as [`Client::modify`] changes the rest.
    ///
    /// # Errors
    ///
    /// As for [`Client::modify`].
    pub async fn modify_status<K: Typed>(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnMut(&mut K) -> bool + Send,
    ) -> Result<K> {
        self.changed(namespace, name, Part::Status, change).await
    }

    /// Changes an object and its status by `change` in one write, as [`Client::modify`] changes all but the status.
    ///
    /// # Errors
    ///
    /// As for [`Client::modify`].
    pub async fn modify_whole<K: Typed>(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnMut(&mut K) -> bool + Send,
    ) -> Result<()> {
        let kind = self.kind::<K>()?;
        self.change(&kind, namespace, name, Part::Whole, change)
            .await
            .map(drop)
    }

    /// Deletes an object, or marks it as being deleted when it has finalizers.
    ///
    /// # Errors
    ///
    /// `NotFound`, or `Conflict` when a precondition does not hold.
    pub async fn delete<K: Typed>(
        &self,
        namespace: &str,
        name: &str,
        preconditions: Preconditions,
    ) -> Result<()> {
        let kind = self.kind::<K>()?;
        let key = Key::new(Arc::clone(&kind.key), namespace, name);
        let options = DeleteOptions {
            preconditions,
            ..DeleteOptions::default()
        };
        self.registry
            .delete(&kind, &key, &options, &self.writer)
            .await
            .map(drop)
    }

    async fn make<K: Typed>(&self, kind: &Kind, object: &K, part: Part) -> Result<Saved> {
        let object = Object::from_typed(object)?;
        let namespace = object.namespace().to_owned();
        let written = Written {
            part,
            owners: Owners::Record,
        };
        self.registry
            .create_as(
                kind,
                &namespace,
                object,
                Options::default(),
                &self.writer,
                written,
            )
            .await
    }

    async fn replaced<K: Typed>(&self, object: &K, part: Part) -> Result<K> {
        let kind = self.kind::<K>()?;
        let saved = self.replace(&kind, object, part).await?;
        saved.state.into_object(&kind).into_typed()
    }

    async fn replace<K: Typed>(&self, kind: &Kind, object: &K, part: Part) -> Result<Saved> {
        let object = Object::from_typed(object)?;
        let key = Key::new(Arc::clone(&kind.key), object.namespace(), object.name());
        self.registry
            .update(kind, &key, object, part, Options::default(), &self.writer)
            .await
    }

    async fn changed<K: Typed>(
        &self,
        namespace: &str,
        name: &str,
        part: Part,
        change: impl FnMut(&mut K) -> bool + Send,
    ) -> Result<K> {
        let kind = self.kind::<K>()?;
        let state = self.change(&kind, namespace, name, part, change).await?;
        state.into_object(&kind).into_typed()
    }

    async fn change<K: Typed>(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        part: Part,
        mut change: impl FnMut(&mut K) -> bool + Send,
    ) -> Result<State> {
        let key = Key::new(Arc::clone(&kind.key), namespace, name);
        for attempt in 0..ATTEMPTS {
            let stored = self.registry.current(kind, &key).await?;
            let mut object: K = parts::object(kind, &stored).into_typed()?;
            if !change(&mut object) {
                // Nothing is written, so nothing else tells that the cache was behind another replica.
                if attempt == 0 && self.registry.has_moved(&stored).await? {
                    continue;
                }
                return Ok(State::Stored(stored));
            }
            match self.replace(kind, &object, part).await {
                Err(error) if error.reason == Reason::Conflict => {
                    self.registry.renew(&stored).await?;
                }
                done => return done.map(|saved| saved.state),
            }
        }
        Err(ApiError::conflict(&kind.info, name))
    }

    fn kind<K: Typed>(&self) -> Result<Arc<Kind>> {
        let (group, plural) = (K::group(&()), K::plural(&()));
        let key = if group.is_empty() {
            plural.into_owned()
        } else {
            format!("{plural}.{group}")
        };
        let kind = self.registry.kinds().by_key(&key).map(Arc::clone);
        kind.ok_or_else(|| ApiError::internal(format!("{key} is not served")))
    }
}
