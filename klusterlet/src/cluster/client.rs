mod call;

use std::{path::Path, sync::Arc, time::Duration};

use futures::Stream;
use http::Method;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    core::{DynamicObject, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, watcher},
    },
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use self::call::{escaped, request, selected, within};
use super::{Account, Resource, Result, dial, pace::Pace};
use crate::fence::Fence;

/// How long a watch stays open, and after how much silence a connection counts as broken: a watch has ended long before.
const WATCH_SECONDS: u32 = 60;
const SILENCE: Duration = Duration::from_secs(75);

/// Most requests in flight at once. Small clusters share two cores with us: a bound on concurrency
/// follows the server's own speed, which a fixed rate would not.
const MAX_IN_FLIGHT: usize = 16;

/// The same with all that takes no turn: watches that begin, pages of lists. No call that has its turn waits for these.
const MAX_OPENED: usize = 4 * MAX_IN_FLIGHT;

/// Objects per page of a list.
const PAGE: u32 = 500;

/// Name that the API server records for our writes.
pub const MANAGER: &str = "koinon-klusterlet";

/// Whether server-side apply takes fields from other managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Take them.
    Yes,
    /// Answer with a conflict.
    No,
}

/// What a delete call achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The object does not exist any more.
    Gone,
    /// Finalizers or a grace period keep it for now.
    Going,
}

/// A client of the member's API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// On whose behalf calls are made; the agent's own if absent. Watches are always the agent's.
    account: Option<Arc<Account>>,
    /// Without its consent nothing is written.
    fence: Option<Fence>,
    pace: Pace,
    /// To have a request in flight.
    turns: Arc<Semaphore>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// Reads a kubeconfig, or the in-cluster settings if there is none. Opens no connection.
    ///
    /// # Errors
    /// Fails when the file or the in-cluster settings are missing or malformed.
    pub async fn open(kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        let mut config = match kubeconfig {
            Some(path) => {
                Config::from_custom_kubeconfig(
                    Kubeconfig::read_from(path)?,
                    &KubeConfigOptions::default(),
                )
                .await?
            }
            None => Config::incluster()?,
        };
        // kube repeats refused calls for minutes by default; our own backoff knows better when.
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(10));
        config.read_timeout = Some(SILENCE);
        config.headers.push((
            http::header::USER_AGENT,
            http::HeaderValue::from_static(concat!(
                "koinon-klusterlet/",
                env!("CARGO_PKG_VERSION")
            )),
        ));
        let pace = Pace::default();
        Ok(Self {
            client: dial::client(config, MAX_OPENED, &pace)?,
            account: None,
            fence: None,
            pace,
            turns: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
        })
    }

    /// Returns a client that writes only while `fence` is held.
    #[must_use]
    pub fn behind(&self, fence: Fence) -> Self {
        Self {
            fence: Some(fence),
            ..self.clone()
        }
    }

    /// Returns a client that calls as a service account; the agent needs the right to impersonate it.
    #[must_use]
    pub fn acting_as(&self, account: &Account) -> Self {
        Self {
            account: Some(Arc::new(account.clone())),
            ..self.clone()
        }
    }

    /// Lets the server judge the creation of an object without making it.
    ///
    /// # Errors
    /// With what the creation would fail with.
    pub async fn create_dry(
        &self,
        resource: &Resource,
        namespace: &str,
        object: &Value,
    ) -> Result<()> {
        let path = format!(
            "{}?fieldManager={MANAGER}&dryRun=All",
            resource.path(namespace, None)
        );
        self.call(Method::POST, &path, Some(object), "application/json")
            .await
            .map(drop)
    }

    /// Asks the server to review something.
    ///
    /// # Errors
    /// Fails when the server does not answer.
    pub async fn review(&self, path: &str, review: &Value) -> Result<Value> {
        self.call(Method::POST, path, Some(review), "application/json")
            .await
    }

    /// Reads one object.
    ///
    /// # Errors
    /// A missing object is `None`; everything else that is not an object is an error, also that nobody serves its kind.
    pub async fn get(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>> {
        match self
            .call(Method::GET, &resource.path(namespace, Some(name)), None, "")
            .await
        {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_missing(name) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists objects with a label selector (empty for all), page by page.
    ///
    /// # Errors
    /// Fails as a whole; there are no partial lists.
    pub async fn list(
        &self,
        resource: &Resource,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<Value>> {
        let (mut items, mut token) = (Vec::new(), String::new());
        loop {
            let mut query = format!("?limit={PAGE}");
            if !selector.is_empty() {
                query.push_str("&labelSelector=");
                query.push_str(selector);
            }
            if !token.is_empty() {
                query.push_str("&continue=");
                query.push_str(&token);
            }
            let mut page = self
                .call(
                    Method::GET,
                    &(resource.path(namespace, None) + &query),
                    None,
                    "",
                )
                .await?;
            if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
                items.extend(more);
            }
            token = page
                .pointer("/metadata/continue")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            if token.is_empty() {
                return Ok(items);
            }
        }
    }

    /// Looks through the metadata of all objects of a resource, in one namespace or in all, for one that `is_it`; reads no
    /// further than that, and keeps one page at a time.
    ///
    /// # Errors
    /// Fails when a page cannot be read.
    pub async fn find_metadata(
        &self,
        resource: &Resource,
        namespace: &str,
        is_it: impl Fn(&Value) -> bool,
    ) -> Result<Option<Value>> {
        const METADATA: &str =
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        let mut token = String::new();
        loop {
            let path = format!(
                "{}?limit={PAGE}&continue={token}",
                resource.path(namespace, None)
            );
            let mut request = request(Method::GET, &path, Vec::new(), "")?;
            request.headers_mut().insert(
                http::header::ACCEPT,
                http::HeaderValue::from_static(METADATA),
            );
            let mut page = within(self.client.request::<Value>(request)).await?;
            let items = page.get_mut("items").and_then(Value::as_array_mut);
            if let Some(found) = items.and_then(|items| items.iter_mut().find(|one| is_it(one))) {
                return Ok(Some(found.take()));
            }
            token = page
                .pointer("/metadata/continue")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            if token.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Creates an object.
    ///
    /// # Errors
    /// Fails with `AlreadyExists` if there is one.
    pub async fn create(
        &self,
        resource: &Resource,
        namespace: &str,
        object: &Value,
    ) -> Result<Value> {
        let path = resource.path(namespace, None) + "?fieldManager=" + MANAGER;
        self.call(Method::POST, &path, Some(object), "application/json")
            .await
    }

    /// Replaces an object; its `resourceVersion`, if set, must be current.
    ///
    /// # Errors
    /// Fails with `Conflict` if it is not.
    pub async fn replace(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<Value> {
        let path = resource.path(namespace, Some(name)) + "?fieldManager=" + MANAGER;
        self.call(Method::PUT, &path, Some(object), "application/json")
            .await
    }

    /// Applies an object server-side.
    ///
    /// # Errors
    /// Fails with `Conflict` if another manager owns a field and `force` is [`Force::No`].
    pub async fn apply(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        object: &Value,
        manager: &str,
        force: Force,
    ) -> Result<Value> {
        // The name of a manager is the work's.
        let path = format!(
            "{}?fieldManager={}&force={}",
            resource.path(namespace, Some(name)),
            escaped(manager),
            force == Force::Yes
        );
        self.call(
            Method::PATCH,
            &path,
            Some(object),
            "application/apply-patch+yaml",
        )
        .await
    }

    /// Applies one of the agent's own objects, whoever changed it before.
    ///
    /// # Errors
    /// Fails when the server refuses it.
    pub async fn apply_own(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<Value> {
        self.apply(resource, namespace, name, object, MANAGER, Force::Yes)
            .await
    }

    /// Merges `patch` into an object, or into a subresource of it such as `status`.
    ///
    /// # Errors
    /// Fails with `Conflict` if the patch names a `resourceVersion` or `uid` that is not the current one.
    pub async fn merge(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: Option<&str>,
        patch: &Value,
    ) -> Result<Value> {
        let sub = subresource.map(|s| format!("/{s}")).unwrap_or_default();
        let path = format!(
            "{}{sub}?fieldManager={MANAGER}",
            resource.path(namespace, Some(name))
        );
        self.call(
            Method::PATCH,
            &path,
            Some(patch),
            "application/merge-patch+json",
        )
        .await
    }

    /// Deletes the object with this uid in the background; a missing object is a success.
    ///
    /// # Errors
    /// Fails with `Conflict` if the object has another uid.
    pub async fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
    ) -> Result<Deleted> {
        let preconditions = uid.map_or_else(|| json!({}), |uid| json!({"uid": uid}));
        self.delete_if(resource, namespace, name, &preconditions)
            .await
    }

    /// Deletes an object in the background if it still is what was seen: nobody made it his own in between.
    ///
    /// # Errors
    /// Fails with `Conflict` if it is another object by now, or was changed.
    pub async fn delete_seen(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        seen: &Value,
    ) -> Result<Deleted> {
        let metadata = |key: &str| seen.get("metadata").and_then(|m| m.get(key));
        let preconditions = json!({
            "uid": metadata("uid"), "resourceVersion": metadata("resourceVersion"),
        });
        self.delete_if(resource, namespace, name, &preconditions)
            .await
    }

    async fn delete_if(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        preconditions: &Value,
    ) -> Result<Deleted> {
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
            "preconditions": preconditions,
        });
        match self
            .call(
                Method::DELETE,
                &resource.path(namespace, Some(name)),
                Some(&options),
                "application/json",
            )
            .await
        {
            // The server answers with the object while something still holds it, with a bare status otherwise.
            Ok(answer) if answer.get("kind").and_then(Value::as_str) == Some("Status") => {
                Ok(Deleted::Gone)
            }
            Ok(_) => Ok(Deleted::Going),
            Err(error) if error.is_missing(name) => Ok(Deleted::Gone),
            Err(error) => Err(error),
        }
    }

    /// Reads a JSON document that is not an object, such as discovery.
    ///
    /// # Errors
    /// Fails when the server does not serve it.
    pub async fn document(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, None, "").await
    }

    /// Reads a text document such as `/livez`.
    ///
    /// # Errors
    /// Fails when the server answers anything but success.
    pub async fn text(&self, path: &str) -> Result<String> {
        let request = request(Method::GET, path, Vec::new(), "")?;
        within(self.client.request_text(request)).await
    }

    /// Watches the metadata of all objects of a resource, of those in one namespace, or of the one with a name, for ever; lists first and
    /// after every gap. RBAC takes the selector of a name for a name, so whoever may watch that one object may do it.
    pub fn watch_metadata(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> impl Stream<Item = watcher::Result<watcher::Event<PartialObjectMeta<DynamicObject>>>>
    + Send
    + use<> {
        let (client, resource) = (self.client.clone(), resource.api_resource());
        let api = match namespace {
            Some(namespace) => Api::<PartialObjectMeta<DynamicObject>>::namespaced_with(
                client, namespace, &resource,
            ),
            None => Api::all_with(client, &resource),
        };
        let mut config = watching();
        if let Some(name) = name {
            config = config.fields(&format!("metadata.name={}", selected(name)));
        }
        watcher(api, config).default_backoff()
    }

    /// Watches whole objects, for ever; lists first and after every gap.
    pub fn watch_objects(
        &self,
        resource: &Resource,
    ) -> impl Stream<Item = watcher::Result<watcher::Event<DynamicObject>>> + Send + use<> {
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &resource.api_resource());
        watcher(api, watching()).default_backoff()
    }
}

fn watching() -> watcher::Config {
    let config = watcher::Config::default().page_size(PAGE);
    config.timeout(WATCH_SECONDS)
}
