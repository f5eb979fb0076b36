//! Clients of the hub and of member clusters: every call has a deadline, none is repeated behind the caller's back.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::version::Info;
use kube::{
    Api, Client, Config, Error as KubeError, Resource,
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;

use crate::{
    args::HubArgs,
    error::{Error, Result},
};

/// An API server, the hub's or a member's.
#[derive(Clone)]
pub(crate) struct Server {
    client: Client,
    /// What it is called in messages, with its address.
    name: String,
    timeout: Duration,
}

impl Server {
    /// Prepares to talk to the hub; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// There is no kubeconfig, or it cannot be used.
    pub(crate) async fn hub(args: &HubArgs) -> Result<Self> {
        Self::open(
            "the hub",
            args.kubeconfig.as_deref(),
            args.context.clone(),
            args.request_timeout,
        )
        .await
        .map_err(|error| {
            error.next(
                "name the hub's kubeconfig with --kubeconfig or $KUBECONFIG;\n\
                 the hub writes one at its first start: admin.kubeconfig in its data folder",
            )
        })
    }

    /// Prepares to talk to a member cluster.
    ///
    /// # Errors
    ///
    /// The kubeconfig cannot be used.
    pub(crate) async fn member(
        kubeconfig: &Path,
        context: Option<String>,
        timeout: Duration,
    ) -> Result<Self> {
        Self::open("the member cluster", Some(kubeconfig), context, timeout).await
    }

    async fn open(
        who: &str,
        file: Option<&Path>,
        context: Option<String>,
        timeout: Duration,
    ) -> Result<Self> {
        let unusable = |error| {
            Error::caused(
                format!("cannot use the kubeconfig of {who}{}", named(file)),
                error,
            )
        };
        let kubeconfig = match file {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        }
        .map_err(unusable)?;
        let options = KubeConfigOptions {
            context,
            ..KubeConfigOptions::default()
        };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(unusable)?;
        config.connect_timeout = Some(timeout.min(Duration::from_secs(10)));
        config.read_timeout = Some(timeout);
        config.write_timeout = Some(timeout);
        // kube would repeat a refused call for minutes.
        config.default_retry = false;
        let name = format!("{who} at {}", config.cluster_url);
        let client = Client::try_from(config).map_err(|error| {
            Error::caused(
                format!("cannot use the kubeconfig of {who}{}", named(file)),
                error,
            )
        })?;
        Ok(Self {
            client,
            name,
            timeout,
        })
    }

    /// Names the server, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the interface of a kind, over all namespaces.
    pub(crate) fn all<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    /// Returns the interface of a kind in a namespace.
    pub(crate) fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Returns the client itself.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Lists all objects of a kind.
    ///
    /// # Errors
    ///
    /// The server does not answer in time, or refuses.
    pub(crate) async fn list<K>(&self, api: &Api<K>) -> Result<Vec<K>>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let what = format!("cannot list {}", K::plural(&()));
        Ok(self
            .call(&what, api.list(&kube::api::ListParams::default()))
            .await?
            .items)
    }

    /// Gets what a path says.
    ///
    /// # Errors
    ///
    /// The path is none, or the server does not answer in time, or refuses.
    pub(crate) async fn read(&self, what: &str, path: &str) -> Result<serde_json::Value> {
        let request = http::Request::get(path)
            .body(Vec::new())
            .map_err(|error| Error::caused(format!("{what}: a name is not valid"), error))?;
        self.call(what, self.client.request(request)).await
    }

    /// Asks for the server's version.
    ///
    /// # Errors
    ///
    /// The server does not answer in time, or refuses.
    pub(crate) async fn version(&self) -> Result<Info> {
        self.call("cannot read the version", self.client.apiserver_version())
            .await
    }

    /// Makes one call within the deadline and puts its failure into words.
    ///
    /// # Errors
    ///
    /// The server does not answer in time, or refuses.
    pub(crate) async fn call<T>(
        &self,
        what: &str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.explain(what, error)),
            Err(_) => Err(Error::failed(format!(
                "{what}: {} did not answer within {:?}",
                self.name, self.timeout
            ))
            .next("see whether it is running and reachable; --request-timeout sets the limit")),
        }
    }

    fn explain(&self, what: &str, error: KubeError) -> Error {
        match error {
            KubeError::Api(status) => {
                let failed = Error::failed(format!("{what}: {}", status.message));
                match status.code {
                    401 => failed.next(format!(
                        "{} does not know the identity in the kubeconfig",
                        self.name
                    )),
                    403 => failed.next(format!(
                        "the identity in the kubeconfig may not do that on {}",
                        self.name
                    )),
                    503 => failed.next(format!(
                        "{} is there but its registry is not; try again",
                        self.name
                    )),
                    _ => failed,
                }
            }
            KubeError::Service(cause) => Error::Failed {
                what: format!("{what}: {} cannot be reached", self.name),
                next: Some("see whether it is running and reachable from here".to_owned()),
                source: Some(cause),
            },
            other => Error::caused(format!("{what} from {}", self.name), other),
        }
    }
}

fn named(file: Option<&Path>) -> String {
    file.map(PathBuf::from)
        .map(|path| format!(" ({})", path.display()))
        .unwrap_or_default()
}

/// Turns "not found" into `None`.
///
/// # Errors
///
/// Any other refusal is passed on.
pub(crate) fn found<T>(result: kube::Result<T>) -> kube::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(KubeError::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
